# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""A page from a template: one file that loads nothing, and in which nothing runs but what we wrote."""

from __future__ import annotations

import base64
import hashlib
import json
from functools import cache
from typing import Any, Final

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from kbtf_ci import __version__
from kbtf_ci.infra.text import printable

_TEMPLATES: Final = "templates"
# What would end the element that holds the data, or begin a comment in it.
_IN_SCRIPT: Final = str.maketrans({"<": "\\u003c", ">": "\\u003e", "&": "\\u0026"})


def render(template: str, **values: Any) -> str:
    """Return a page; text in ``values`` is written as text, whatever is in it.

    The page's Content-Security-Policy lets nothing be loaded, and runs the one script by its digest.
    """
    style, script = _source("page.css"), _source("table.js")
    page = _environment().get_template(template)
    return page.render(values, style=style, script=script, policy=_policy(style, script), version=__version__)


def as_data(values: Any) -> Markup:
    """Return JSON for the inside of a script element."""
    text = json.dumps(values, separators=(",", ":")).translate(_IN_SCRIPT)
    return Markup(text)  # noqa: S704 - nothing in it ends the element


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("kbtf_ci.report.html", _TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=_finalize,
    )
    environment.filters["shortened"] = _shortened
    return environment


def _finalize(value: Any) -> Any:
    """Write controls and overrides of direction in text so that they can be seen."""
    return printable(value) if isinstance(value, str) and not isinstance(value, Markup) else value


def _shortened(text: str, most: int) -> str:
    return text if len(text) <= most else f"{text[: most - 1]}…"


@cache
def _source(name: str) -> Markup:
    """Return one of our own files as it stands."""
    loader = _environment().loader
    assert loader is not None
    return Markup("\n" + loader.get_source(_environment(), name)[0])  # noqa: S704


def _policy(style: str, script: str) -> str:
    return (
        f"default-src 'none'; style-src '{_digest(style)}'; script-src '{_digest(script)}'; "
        "base-uri 'none'; form-action 'none'"
    )


def _digest(text: str) -> str:
    return f"sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}"
