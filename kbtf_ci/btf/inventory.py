"""The list of modules that the guest is held to, read from the files themselves."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path

from kbtf_ci.btf.elf import read_module
from kbtf_ci.errors import BuildError, InfrastructureError, UsageError
from kbtf_ci.modules import Module


def inventory(tree: Path, skipped_btf: Mapping[str, str] | None = None) -> tuple[Module, ...]:
    """Return every ``.ko`` below ``tree``, sorted by file.

    ``skipped_btf`` maps files to kbuild's reason for giving them no BTF. Raises UsageError when there is
    none, when one is not an ELF file, or when two have one name (the kernel would load only one).
    """
    reasons = skipped_btf or {}
    by_name: dict[str, Module] = {}
    for path in sorted(tree.rglob("*.ko")):
        file = str(path.relative_to(tree))
        module = read_module(path, file)
        if module.name in by_name:
            raise UsageError(
                f"{tree}: {file} and {by_name[module.name].file} are both module '{module.name}'"
            )
        by_name[module.name] = (
            replace(module, no_btf_reason=reasons.get(file, "")) if file in reasons else module
        )
    if not by_name:
        raise UsageError(f"{tree}: no .ko file in it")
    return tuple(sorted(by_name.values(), key=lambda module: module.file))


def require(names: Iterable[str], modules: Iterable[Module]) -> None:
    """Raise BuildError when a module that the profile requires was not built."""
    built = {module.name for module in modules}
    missing = [name for name in names if name not in built]
    if missing:
        raise BuildError(
            f"the profile requires modules that were not built: {', '.join(missing)}",
            hint="switch their symbols on as =m, or take them off the profile's require list",
        )


def check_unaltered(modules: Iterable[Module], stripped: Path) -> None:
    """Raise InfrastructureError when the stripped copy of a module has another ``.BTF`` than the module."""
    for module in modules:
        copy = read_module(stripped / module.file, module.file)
        if (copy.btf_sha256, copy.base_bytes) != (module.btf_sha256, module.base_bytes):
            raise InfrastructureError(f"{stripped / module.file}: stripping altered its .BTF")
