# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""The engine's API as this package uses it: one address, and one way its failures come out."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import requests
import urllib3.exceptions
from docker import APIClient
from docker.errors import APIError, DockerException, NotFound

from kbtf_ci.errors import EngineError

# Creating a container waits for the disk, which a parallel kernel build keeps busy.
_TIMEOUT_S = 120
_REFUSED_S = 10.0
_AGAIN_S = 0.1


@dataclass(frozen=True)
class Address:
    """Where an engine answers: a ``unix://`` URL and the API version agreed with it."""

    url: str
    api_version: str

    def open(self, timeout_s: int = _TIMEOUT_S) -> APIClient:
        """Return a client of its own; none is shared between threads.

        A client that was interrupted in the middle of an answer is of no use any more, least of all for
        cleaning up.
        """
        return APIClient(base_url=self.url, version=self.api_version, timeout=timeout_s)


@contextmanager
def engine_errors(doing: str) -> Iterator[None]:
    """Turn whatever the SDK and the libraries below it raise into one EngineError: "cannot <doing>: why"."""
    try:
        yield
    except (DockerException, requests.RequestException, urllib3.exceptions.HTTPError, OSError) as error:
        raise EngineError(f"cannot {doing}: {explain(error)}") from error


def explain(error: Exception) -> str:
    """Return the engine's own reason in one line, or that it was lost."""
    if isinstance(error, APIError):
        return " ".join(str(error.explanation or error).split())
    return f"the container engine was lost or does not answer ({type(error).__name__})"


def remove_container(client: APIClient, container: str) -> None:
    """Kill and remove a container, which need not be there. Raises APIError when that is refused for long.

    Podman refuses for a moment: it finds what it is to kill ended ("container state improper: stopped").
    """
    deadline = time.monotonic() + _REFUSED_S
    while True:
        try:
            client.remove_container(container, force=True, v=True)
        except NotFound:
            return
        except APIError:
            if time.monotonic() > deadline:
                raise
            time.sleep(_AGAIN_S)
        else:
            return


def follow(answer: Iterable[Mapping[str, Any]], on_line: Callable[[str], None]) -> str:
    """Pass each line of a streamed answer on; return the engine's complaint at its end, "" for none.

    Engines send a failure inside a stream whose HTTP status said success.
    """
    for part in answer:
        if complaint := part.get("error"):
            return " ".join(str(complaint).split())
        for line in str(part.get("stream") or part.get("status") or "").splitlines():
            on_line(line)
    return ""
