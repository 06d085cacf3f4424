# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""A certificate for TLS on loopback, of an authority of its own."""

from __future__ import annotations

import datetime
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

_LIFE = datetime.timedelta(days=1)


def certificates(folder: Path) -> tuple[Path, Path, Path]:
    """Write and return the files of an authority, of a certificate of its, and of that one's key; all PEM."""
    authority, own = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))
    signer = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "authority")])
    holder = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    made = {
        "ca.pem": _signed(signer, authority, signer, authority, ca=True).public_bytes(_PEM),
        "cert.pem": _signed(holder, own, signer, authority, ca=False).public_bytes(_PEM),
        "key.pem": own.private_bytes(_PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()),
    }
    for name, data in made.items():
        (folder / name).write_bytes(data)
    return folder / "ca.pem", folder / "cert.pem", folder / "key.pem"


_PEM = serialization.Encoding.PEM


def _signed(
    holder: x509.Name,
    key: ec.EllipticCurvePrivateKey,
    signer: x509.Name,
    authority: ec.EllipticCurvePrivateKey,
    *,
    ca: bool,
) -> x509.Certificate:
    now = datetime.datetime.now(datetime.UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(holder)
        .issuer_name(signer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _LIFE)
        .not_valid_after(now + _LIFE)
        .add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=True)
        .sign(authority, hashes.SHA256())
    )
