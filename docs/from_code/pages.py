# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""``<!-- from the code: NAME -->`` in a page is filled when the page is read; none of it is committed."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Final

from docs.from_code import cases, commands, messages, profiles, schemas, words

_PLACE: Final = re.compile(r"^<!-- from the code: (?P<name>[a-z-]+) -->$", re.MULTILINE)

PLACES: Final[dict[str, Callable[[], Iterator[str]]]] = {
    "cases": cases.page,
    "checks": messages.checks,
    "classes": messages.classes,
    "commands": commands.page,
    "exit-codes": words.exit_codes,
    "findings": words.findings,
    "fragments": profiles.fragments,
    "load-modes": words.load_modes,
    "messages": messages.messages,
    "outcomes": words.outcomes,
    "profile-keys": profiles.keys,
    "profiles": profiles.profiles,
    "schemas": schemas.page,
}


def filled(page: str) -> str:
    """Return a page with every place filled. Raises KeyError for one that nothing is known of."""
    return _PLACE.sub(lambda match: "\n".join(PLACES[match["name"]]()).strip("\n"), page)


def places(page: str) -> list[str]:
    """Return the names of the places in a page."""
    return [match["name"] for match in _PLACE.finditer(page)]
