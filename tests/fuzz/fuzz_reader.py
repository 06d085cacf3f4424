# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""Coverage-guided fuzzing of everything that reads bytes: modules, kernels and BTF.

``make fuzz-reader`` runs it, from small files of every kind on; libFuzzer's own options follow the corpus
folder. Only UsageError, in one line, may come out; any other exception, a timeout or too much memory ends
the run with the input kept.
"""

from __future__ import annotations

import sys
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["kbtf_ci"]):
    from kbtf_ci.btf.format.reader import Btf
    from kbtf_ci.errors import UsageError
    from kbtf_ci.objfile.files import parse_kernel, parse_module
from tests.support import images
from tests.support import sketch as sk

_NAME = Path("input")


def main() -> None:
    """Write the seeds into the corpus folder that the first argument names, and fuzz from them."""
    corpus = Path(sys.argv[1])
    corpus.mkdir(parents=True, exist_ok=True)
    for number, seed in enumerate(_seeds()):
        (corpus / f"seed-{number:03}").write_bytes(seed)
    atheris.Setup(sys.argv, _one_input)
    atheris.Fuzz()


def _one_input(data: bytes) -> None:
    target = _TARGETS[data[0] % len(_TARGETS)] if data else parse_module
    try:
        target(data[1:], _NAME)
    except UsageError as error:
        if "\n" in error.message or not error.message:
            raise AssertionError(f"not one line: {error.message!r}") from error


def _whole(data: bytes, _path: Path) -> None:
    _look_at(Btf.parse(data))


def _split(data: bytes, _path: Path) -> None:
    _look_at(Btf.parse(data, _BASE))


def _look_at(btf: Btf) -> None:
    kinds = btf.kinds
    for type_id in [*range(min(btf.nr_types, 50)), btf.nr_types - 1]:
        list(btf.find(btf.name(type_id), kinds[type_id]))


_TARGETS = (parse_module, parse_kernel, _whole, _split)


def _btf(first_id: int = 1, str_base: int = 0) -> bytes:
    """Return BTF with a type of every kind."""
    sketch = sk.Sketch(first_id, str_base)
    if not str_base:
        sketch.string("")
    name = sketch.string("name")
    number = sketch.add(sk.INT, name, 4, 32)
    for kind in (sk.PTR, *sk.MODIFIERS, sk.FWD, sk.FLOAT):
        sketch.add(kind, 0 if kind in (sk.PTR, sk.VOLATILE, sk.CONST, sk.RESTRICT) else name, number)
    sketch.add(sk.ARRAY, 0, 0, number, number, 3)
    for kind in (sk.STRUCT, sk.UNION, sk.ENUM64, sk.DATASEC):
        sketch.add(kind, name, 4, name, number, 0, vlen=1)
    sketch.add(sk.ENUM, name, 4, name, 1, vlen=1)
    prototype = sketch.add(sk.FUNC_PROTO, 0, number, name, number, vlen=1)
    sketch.add(sk.FUNC, name, prototype)
    sketch.add(sk.VAR, name, number, 1)
    sketch.add(sk.DECL_TAG, name, number, 0)
    return sketch.bytes()


_BASE = Btf.parse(_btf())


def _seeds() -> list[bytes]:
    base = _btf()
    split = _btf(_BASE.nr_types, _BASE.names.end)
    modules = [images.module(bits=bits, order=order, btf=split) for bits in (32, 64) for order in "<>"]
    kernel = images.vmlinux(base)
    packers = list(images.PACKERS.values())
    flats = [images.flat(data, head=500, tail=64) for data in (base, sk.turned(base))]
    return [
        *(b"\0" + module for module in modules),
        *(b"\0" + pack(modules[2]) for pack in packers),
        *(b"\1" + one for one in (kernel, base, images.vmlinux(base, bits=32, order=">"))),
        *(b"\1" + images.bzimage(pack(kernel)) for pack in packers),
        *(b"\1MZ" + pack(kernel) for pack in packers),
        *(b"\1" + flat for flat in flats),
        *(b"\1MZ" + pack(flats[0]) for pack in packers),
        *(b"\1" + images.pe({".linux": inside}) for inside in (kernel, images.zboot(packers[0](flats[0])))),
        b"\2" + base,
        b"\2" + sk.turned(base),
        b"\3" + split,
    ]


if __name__ == "__main__":
    main()
