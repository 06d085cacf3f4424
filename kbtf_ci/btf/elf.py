"""What the .ko file itself says: its name, its dependencies, and its BTF sections."""

from __future__ import annotations

import hashlib
from pathlib import Path

from elftools.common.exceptions import ELFError
from elftools.elf.elffile import ELFFile

from kbtf_ci.errors import UsageError
from kbtf_ci.modules import Module

_SECTIONS = (".BTF", ".BTF.base", ".modinfo")


def read_module(path: Path, file: str) -> Module:
    """Return the inventory's entry for the module at ``path``, known as ``file`` below its tree.

    Where a section name occurs twice the first one counts, as for the kernel (kernel/module/main.c,
    find_any_sec()). Raises UsageError when it is not an ELF file that can be read.
    """
    try:
        sections = _sections(path)
    except OSError as error:
        raise UsageError(f"{path}: cannot be read: {error.strerror}") from error
    except (ELFError, ValueError, KeyError, AttributeError) as error:
        # pyelftools lets construct's and its own lookups' errors through for some broken files.
        raise UsageError(f"{path}: not a readable ELF file: {error}") from error
    info = _modinfo(sections.get(".modinfo", b""))
    btf = sections.get(".BTF", b"")
    depends = info.get("depends", "")
    return Module(
        name=info.get("name") or Path(file).name.removesuffix(".ko").replace("-", "_"),
        file=file,
        btf_bytes=len(btf),
        btf_sha256=hashlib.sha256(btf).hexdigest() if btf else "",
        base_bytes=len(sections.get(".BTF.base", b"")),
        depends=tuple(name.replace("-", "_") for name in depends.split(",") if name),
    )


def _sections(path: Path) -> dict[str, bytes]:
    found: dict[str, bytes] = {}
    with path.open("rb") as stream:
        for section in ELFFile(stream).iter_sections():
            if section.name in _SECTIONS and section.name not in found:
                found[section.name] = section.data()
    return found


def _modinfo(data: bytes) -> dict[str, str]:
    """Split ``key=value`` strings, NUL between them; of a repeated key the first counts (get_modinfo())."""
    entries: dict[str, str] = {}
    for text in data.decode(errors="replace").split("\0"):
        key, separator, value = text.partition("=")
        if separator:
            entries.setdefault(key, value)
    return entries
