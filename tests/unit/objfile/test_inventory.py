# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

import hashlib

import pytest

from kbtf_ci.errors import BuildError, InfrastructureError, UsageError
from kbtf_ci.objfile.elf import read_module
from kbtf_ci.objfile.inventory import check_unaltered, inventory, require
from tests.support.elf import make_elf, make_module
from tests.support.images import PACKERS


def put(folder, **files):
    for name, data in files.items():
        path = folder / "kernel" / f"{name}.ko"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    return folder


def test_a_module_is_read_from_its_file(tmp_path):
    put(tmp_path, alpha=make_module("alpha_x", b"BTF!", depends="be-ta,gamma"))
    (module,) = inventory(tmp_path)
    assert (module.name, module.file, module.depends) == ("alpha_x", "kernel/alpha.ko", ("be_ta", "gamma"))
    assert (module.btf_bytes, module.btf_sha256) == (4, hashlib.sha256(b"BTF!").hexdigest())


@pytest.mark.parametrize("kind", ["xz", "zstd", "gzip"])
def test_compressed_modules_are_found_by_all_their_names(tmp_path, kind):
    suffix = {"xz": ".xz", "zstd": ".zst", "gzip": ".gz"}[kind]
    put(tmp_path, alpha=make_module("alpha", b"BTF!"), beta=make_module("beta"))
    (tmp_path / "kernel" / "alpha.ko").rename(tmp_path / "alpha")
    (tmp_path / "kernel" / f"alpha.ko{suffix}").write_bytes(PACKERS[kind]((tmp_path / "alpha").read_bytes()))
    (tmp_path / "kernel" / "alpha.ko.sig").write_bytes(b"no module")
    alpha, beta = inventory(tmp_path)
    assert (alpha.name, alpha.file, alpha.btf_bytes) == ("alpha", f"kernel/alpha.ko{suffix}", 4)
    assert beta.file == "kernel/beta.ko"


def test_a_module_and_its_compressed_copy_are_two_of_one_name(tmp_path):
    put(tmp_path, one=make_module("same"))
    (tmp_path / "kernel" / "one.ko.xz").write_bytes(PACKERS["xz"](make_module("same")))
    with pytest.raises(UsageError, match=r"one.ko.xz and kernel/one.ko are both module 'same'"):
        inventory(tmp_path)


def test_of_many_broken_modules_the_first_is_named(tmp_path):
    put(tmp_path, **{f"m{number:03}": make_module(f"m{number}") for number in range(200)})
    put(tmp_path, m050=b"broken", m150=b"broken")
    with pytest.raises(UsageError, match=r"m050.ko: not a readable ELF file"):
        inventory(tmp_path)


def test_the_first_of_two_sections_counts(tmp_path):
    (tmp_path / "x.ko").write_bytes(make_elf([(".BTF", b"one"), (".BTF", b"three")]))
    assert read_module(tmp_path / "x.ko", "x.ko").btf_bytes == 3


def test_without_modinfo_the_file_names_the_module(tmp_path):
    (tmp_path / "snd-pcm.ko").write_bytes(make_elf([(".BTF.base", b"12345")]))
    module = read_module(tmp_path / "snd-pcm.ko", "snd-pcm.ko")
    assert (module.name, module.has_btf, module.base_bytes) == ("snd_pcm", False, 5)


def test_kbuilds_reason_goes_to_its_module(tmp_path):
    put(tmp_path, alpha=make_module("alpha", None), beta=make_module("beta"))
    alpha, beta = inventory(tmp_path, {"kernel/alpha.ko": "Skipping"})
    assert (alpha.no_btf_reason, beta.no_btf_reason) == ("Skipping", "")


@pytest.mark.parametrize("data", [b"", b"\x7fELF", b"not ELF at all", make_module("x")[:-70]])
def test_a_file_that_is_no_elf_is_named(tmp_path, data):
    put(tmp_path, broken=data)
    with pytest.raises(UsageError, match=r"broken.ko: not a readable ELF file"):
        inventory(tmp_path)


def test_two_modules_of_one_name_are_refused(tmp_path):
    put(tmp_path, one=make_module("same"), two=make_module("same"))
    with pytest.raises(UsageError, match=r"two.ko and kernel/one.ko are both module 'same'"):
        inventory(tmp_path)


def test_no_module_at_all_is_refused(tmp_path):
    with pytest.raises(UsageError, match=r"no \.ko file"):
        inventory(tmp_path)


def test_required_modules_must_be_there(tmp_path):
    modules = inventory(put(tmp_path, xfs=make_module("xfs")))
    require(["xfs"], modules)
    with pytest.raises(BuildError, match="not built: i915, drm"):
        require(["i915", "xfs", "drm"], modules)


def test_an_altered_copy_is_caught(tmp_path):
    modules = inventory(put(tmp_path / "a", x=make_module("x", b"BTF")))
    check_unaltered(modules, put(tmp_path / "same", x=make_module("x", b"BTF", depends="other")))
    with pytest.raises(InfrastructureError, match=r"x.ko: stripping altered its .BTF"):
        check_unaltered(modules, put(tmp_path / "b", x=make_module("x", b"BTG")))
