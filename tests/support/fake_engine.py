# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""An engine that makes and removes containers by name only, each when it is told to."""

from __future__ import annotations

import json
import select
import socketserver
import threading
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from types import TracebackType
from typing import Any
from urllib.parse import parse_qs, urlsplit


class FakeEngine:
    """Listens on a Unix socket at ``path``.

    A request for a container sets ``asked`` and waits for ``answer``. As Docker does, it makes none for a
    client that has hung up by then. ``log`` tells what came of each request, ``containers`` are there now.
    So many requests to remove one as ``refusals`` says are refused, as Podman does for a moment.
    """

    def __init__(self, path: Path) -> None:
        self.url = f"unix://{path}"
        self.asked = threading.Event()
        self.answer = threading.Event()
        self.log: list[str] = []
        self.containers: set[str] = set()
        self.refusals = 0
        engine = self

        class Handler(_Handler):
            def __init__(self, *args: Any) -> None:
                self.engine = engine
                super().__init__(*args)

        self._server = socketserver.ThreadingUnixStreamServer(str(path), Handler)
        self._server.daemon_threads = True

    def __enter__(self) -> FakeEngine:
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.answer.set()
        self._server.shutdown()
        self._server.server_close()


class _Handler(BaseHTTPRequestHandler):
    engine: FakeEngine

    def do_POST(self) -> None:
        address = urlsplit(self.path)
        self.rfile.read(int(self.headers["Content-Length"]))
        if not address.path.endswith("/containers/create"):
            self._say(404, {"message": "no such request"})
            return
        (name,) = parse_qs(address.query)["name"]
        self.engine.asked.set()
        self.engine.answer.wait()
        if self._hung_up():
            self.engine.log.append("nobody waits")
            return
        self.engine.containers.add(name)
        self.engine.log.append("made")
        self._say(201, {"Id": name, "Warnings": []})

    def do_DELETE(self) -> None:
        name = urlsplit(self.path).path.rpartition("/")[2]
        if self.engine.refusals:
            self.engine.refusals -= 1
            self.engine.log.append("refused")
            self._say(500, {"message": "container state improper: stopped"})
        elif name in self.engine.containers:
            self.engine.containers.remove(name)
            self.engine.log.append("removed")
            self._say(204, None)
        else:
            self.engine.log.append("nothing to remove")
            self._say(404, {"message": "no such container"})

    def _hung_up(self) -> bool:
        # Nothing follows a request that has no answer yet, but its connection's end.
        return bool(select.select([self.connection], [], [], 0)[0])

    def _say(self, status: int, answer: object) -> None:
        body = b"" if answer is None else json.dumps(answer).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def address_string(self) -> str:
        return "client"

    def log_message(self, *args: object) -> None:
        """Say nothing: the log is the test's to read."""
