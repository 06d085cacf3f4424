# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

from __future__ import annotations

import hashlib
import shutil
from pathlib import Path

import pytest

from kbtf_ci.errors import BuildError, InfrastructureError, UsageError
from kbtf_ci.objfile.depmod import KEPT_CONFIGURATION, read_preference
from kbtf_ci.objfile.elf import read_module
from kbtf_ci.objfile.inventory import check_unaltered, inventory, require
from tests.support.elf import make_elf, make_module
from tests.support.images import PACKERS


def put(folder: Path, **files: bytes) -> Path:
    for name, data in files.items():
        path = folder / "kernel" / f"{name}.ko"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    return folder


def test_a_module_is_read_from_its_file(tmp_path: Path) -> None:
    put(tmp_path, alpha=make_module("alpha_x", b"BTF!", depends="be-ta,gamma"))
    (module,) = inventory(tmp_path).modules
    assert (module.name, module.file, module.depends) == ("alpha_x", "kernel/alpha.ko", ("be_ta", "gamma"))
    assert (module.btf_bytes, module.btf_sha256) == (4, hashlib.sha256(b"BTF!").hexdigest())


@pytest.mark.parametrize("kind", ["xz", "zstd", "gzip"])
def test_compressed_modules_are_found_by_all_their_names(tmp_path: Path, kind: str) -> None:
    suffix = {"xz": ".xz", "zstd": ".zst", "gzip": ".gz"}[kind]
    put(tmp_path, alpha=make_module("alpha", b"BTF!"), beta=make_module("beta"))
    (tmp_path / "kernel" / "alpha.ko").rename(tmp_path / "alpha")
    (tmp_path / "kernel" / f"alpha.ko{suffix}").write_bytes(PACKERS[kind]((tmp_path / "alpha").read_bytes()))
    (tmp_path / "kernel" / "alpha.ko.sig").write_bytes(b"no module")
    alpha, beta = inventory(tmp_path).modules
    assert (alpha.name, alpha.stored, alpha.btf_bytes) == ("alpha", f"kernel/alpha.ko{suffix}", 4)
    assert alpha.file == "kernel/alpha.ko"
    assert beta.file == "kernel/beta.ko"


def test_of_a_module_and_its_compressed_copy_one_is_taken(tmp_path: Path) -> None:
    put(tmp_path, one=make_module("same"))
    (tmp_path / "kernel" / "one.ko.xz").write_bytes(PACKERS["xz"](make_module("same")))
    listed = inventory(tmp_path)
    assert [module.stored for module in listed.modules] == ["kernel/one.ko"]
    assert [one.module.stored for one in listed.overridden] == ["kernel/one.ko.xz"]


def test_broken_modules_stand_among_the_others_with_their_faults(tmp_path: Path) -> None:
    put(tmp_path, **{f"m{number:03}": make_module(f"m{number:03}") for number in range(200)})
    put(tmp_path, **{"m-250": b"broken", "m150": b""})
    (tmp_path / "kernel" / "gone.ko").symlink_to("nowhere")
    faults = {module.name: module.fault for module in inventory(tmp_path).modules if module.fault}
    assert faults == {
        "m_250": "not a readable ELF file: no ELF magic",
        "m150": "not a readable ELF file: it is empty",
        "gone": "cannot be read: No such file or directory",
    }


def test_the_first_of_two_sections_counts(tmp_path: Path) -> None:
    (tmp_path / "x.ko").write_bytes(make_elf([(".BTF", b"one"), (".BTF", b"three")]))
    assert read_module(tmp_path / "x.ko", "x.ko").btf_bytes == 3


def test_without_modinfo_the_file_names_the_module(tmp_path: Path) -> None:
    (tmp_path / "snd-pcm.ko").write_bytes(make_elf([(".BTF.base", b"12345")]))
    module = read_module(tmp_path / "snd-pcm.ko", "snd-pcm.ko")
    assert (module.name, module.has_btf, module.base_bytes) == ("snd_pcm", False, 5)


def test_kbuilds_reason_goes_to_its_module(tmp_path: Path) -> None:
    put(tmp_path, alpha=make_module("alpha", None), beta=make_module("beta"))
    alpha, beta = inventory(tmp_path, {"kernel/alpha.ko": "Skipping"}).modules
    assert (alpha.no_btf_reason, beta.no_btf_reason) == ("Skipping", "")


@pytest.mark.parametrize("data", [b"", b"\x7fELF", b"not ELF at all", make_module("x")[:-70]])
def test_a_file_that_is_no_elf_is_named(tmp_path: Path, data: bytes) -> None:
    (module,) = inventory(put(tmp_path, broken=data)).modules
    assert (module.name, module.has_btf) == ("broken", False)
    assert module.fault.startswith("not a readable ELF file")


def tree_with_dkms(root: Path) -> Path:
    tree = root / "lib/modules/6.12.3"
    put(tree, one=make_module("same"), two=make_module("other"))
    (tree / "updates/dkms").mkdir(parents=True)
    (tree / "updates/dkms/one.ko").write_bytes(make_module("same", b"newer"))
    return tree


def taken(tree: Path) -> dict[str, str]:
    return {module.name: module.file for module in inventory(tree).modules}


def test_dkms_goes_before_the_kernels_own_as_for_depmod(tmp_path: Path) -> None:
    tree = tree_with_dkms(tmp_path)
    assert taken(tree) == {"same": "updates/dkms/one.ko", "other": "kernel/two.ko"}
    (loser,) = inventory(tree).overridden
    assert (loser.module.file, loser.by.file) == ("kernel/one.ko", "updates/dkms/one.ko")


def test_modules_dep_decides_before_all_else(tmp_path: Path) -> None:
    tree = tree_with_dkms(tmp_path)
    (tree / "modules.dep").write_text("kernel/one.ko.xz: kernel/two.ko.xz\nkernel/two.ko.xz:\n")
    assert taken(tree)["same"] == "kernel/one.ko"


@pytest.mark.parametrize(
    ("line", "file"),
    [
        ("search built-in updates", "kernel/one.ko"),
        ("search extra updates/dkms built-in  # as the distribution has it", "updates/dkms/one.ko"),
        ("override same 6.12.* kernel", "kernel/one.ko"),
        ("override same 6.11.* kernel", "updates/dkms/one.ko"),
        ("override other * kernel", "updates/dkms/one.ko"),
    ],
)
def test_depmods_configuration_decides_where_there_is_no_modules_dep(
    tmp_path: Path, line: str, file: str
) -> None:
    tree = tree_with_dkms(tmp_path)
    (tmp_path / "etc/depmod.d").mkdir(parents=True)
    (tmp_path / "etc/depmod.d/own.conf").write_text(f"{line}\n")
    assert taken(tree)["same"] == file
    kept = tmp_path / "run"
    shutil.copytree(tree, kept)
    (kept / KEPT_CONFIGURATION).write_text(read_preference(tree).configuration())
    assert taken(kept)["same"] == file


def test_no_module_at_all_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"no \.ko file"):
        inventory(tmp_path)


def test_required_modules_must_be_there() -> None:
    built = ["fs/xfs/xfs.ko", "crypto/sha3-generic.ko"]
    require(["xfs", "sha3_generic"], built)
    with pytest.raises(BuildError, match="not built: i915, drm"):
        require(["i915", "xfs", "drm"], built)


def test_an_altered_copy_is_caught(tmp_path: Path) -> None:
    modules = inventory(put(tmp_path / "a", x=make_module("x", b"BTF"))).modules
    check_unaltered(modules, put(tmp_path / "same", x=make_module("x", b"BTF", depends="other")))
    with pytest.raises(InfrastructureError, match=r"x.ko: stripping altered its .BTF"):
        check_unaltered(modules, put(tmp_path / "b", x=make_module("x", b"BTG")))
