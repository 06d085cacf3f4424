# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""The two keys of one run: the host's to log in with, the guest's to be known by."""

from __future__ import annotations

import os
import struct
from dataclasses import dataclass, field
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)


@dataclass(frozen=True)
class GuestKeys:
    """Public keys as lines of ``authorized_keys``; ``client`` in OpenSSH's format, ``host`` in dropbear's."""

    client: bytes = field(repr=False)
    client_public: str
    host: bytes = field(repr=False)
    host_public: str

    @classmethod
    def generate(cls) -> GuestKeys:
        """Return two new ed25519 keys."""
        client, host = Ed25519PrivateKey.generate(), Ed25519PrivateKey.generate()
        return cls(
            client.private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption()),
            _public_line(client),
            _dropbear(host),
            _public_line(host),
        )

    def write_client(self, path: Path) -> None:
        """Write the client's private key for the user's own ssh, readable by the user alone."""
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            os.fchmod(descriptor, 0o600)
            file.write(self.client)


def _public_line(key: Ed25519PrivateKey) -> str:
    return key.public_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH).decode()


def _dropbear(key: Ed25519PrivateKey) -> bytes:
    """Return dropbear's own format: src/ed25519.c, buf_put_ed25519_priv_key()."""
    seed = key.private_bytes(Encoding.Raw, PrivateFormat.Raw, NoEncryption())
    public = key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
    return _string(b"ssh-ed25519") + _string(seed + public)


def _string(data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + data
