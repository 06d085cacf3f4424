# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""What is wrong with a document that does not fit its model, in a line."""

from __future__ import annotations

from collections.abc import Collection

from pydantic import ValidationError


def first_fault(error: ValidationError, passed_over: Collection[str] = ()) -> str:
    """Return the first fault with its key and text; parts of the key's path may be passed over."""
    fault = error.errors(include_url=False, include_context=False)[0]
    key = ".".join(str(part) for part in fault["loc"] if part not in passed_over)
    found = fault["input"]
    words = f"{fault['msg']}, not {found[:60]!r}" if isinstance(found, str) else fault["msg"]
    return f"key '{key}': {words}" if key else words
