#!/usr/bin/env python3
# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later
"""A dockerd that only says who it is: it takes dockerd's options, listens where told, and keeps a pidfile."""

from __future__ import annotations

import argparse
import json
import os
import socketserver
from http.server import BaseHTTPRequestHandler
from pathlib import Path


class Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        about = {"ApiVersion": "1.41", "Version": "0-fake", "Components": [{"Name": "Engine"}]}
        body = json.dumps(about).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def address_string(self) -> str:
        return "client"


def main() -> None:
    parser = argparse.ArgumentParser()
    for option in ("--host", "--data-root", "--exec-root", "--pidfile", "--group"):
        parser.add_argument(option, required=True)
    options = parser.parse_args()
    pidfile = Path(options.pidfile)
    if pidfile.exists():
        raise SystemExit(f"pid file found, ensure docker is not running or delete {pidfile}")
    pidfile.write_text(str(os.getpid()))
    socket = Path(options.host.removeprefix("unix://"))
    socket.unlink(missing_ok=True)
    socketserver.ThreadingUnixStreamServer(str(socket), Handler).serve_forever()


main()
