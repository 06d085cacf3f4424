# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""Cases made with real tools: what these are asked for, and what becomes of what they leave."""

from __future__ import annotations

import pytest

from kbtf_ci.btf.cases.case import (
    Altered,
    AlteredBtf,
    AlteredFile,
    AlteredVmlinux,
    NotBuilt,
    NotThereError,
)
from kbtf_ci.btf.cases.catalogue import named
from kbtf_ci.btf.cases.workshop import Output, Vmlinux
from kbtf_ci.btf.format.reader import Btf
from tests.support.healthy import healthy, module, split, vmlinux
from tests.support.workshop import Call, PlayedShop

SKIPPING = "Skipping BTF generation for /files/m.ko due to unavailability of vmlinux"


def built(name: str, shop: PlayedShop) -> Altered | NotBuilt:
    (case,) = named([name])
    assert case.build
    return case.build(healthy(), shop)


def makes(call: Call) -> Output:
    """Make a module of the one that Kbuild names, as make does."""
    name = call.files["Kbuild"].decode().split()[-1].removesuffix(".o")
    assert f"{name}.c" in call.files
    return Output(0, ("  LD [M] m.ko", SKIPPING), {f"{name}.ko": module(name, split(vmlinux()).bytes())})


def fails(call: Call) -> Output:
    """Make the healthy module alone: the one of whose files and variables nothing is odd."""
    odd = call.variables or call.vmlinux is not Vmlinux.WHOLE
    return Output(2, ("make: *** Error 126",)) if odd else makes(call)


@pytest.mark.parametrize(
    ("name", "argv"),
    [
        ("strip-debug", ("strip", "--strip-debug", "m.ko")),
        ("strip-unneeded", ("strip", "--strip-unneeded", "m.ko")),
        (
            "objcopy-removes-btf",
            ("objcopy", "--remove-section", ".BTF", "--remove-section", ".BTF.base", "m.ko"),
        ),
    ],
)
def test_the_section_that_a_tool_leaves_is_what_is_loaded(name: str, argv: tuple[str, ...]) -> None:
    left = module("m", b"left")
    seen = []

    def tools(words: object, files: object) -> Output:
        seen.append((words, files))
        return Output(0, (), {"m.ko": left})

    assert built(name, PlayedShop(tools=tools)) == AlteredBtf(b"left")
    assert seen == [(argv, {"m.ko": healthy().file})]


def test_a_tool_that_refuses_the_module_is_no_word_of_the_kernels() -> None:
    shop = PlayedShop(tools=lambda *_: Output(1, ("strip: m.ko: file format not recognized",)))
    with pytest.raises(NotThereError, match=r"strip does not take its module: strip: m\.ko: file format"):
        built("strip-everything", shop)


@pytest.mark.parametrize(
    ("name", "vmlinux_seen", "source"),
    [
        ("vmlinux-not-at-hand", Vmlinux.ABSENT, b"kbtf_ci_answer"),
        ("subdirectory-rebuilt", Vmlinux.WHOLE, b"drivers/net/dummy.c"),
    ],
)
def test_a_module_built_outside_is_loaded_whole_beside_one_of_which_nothing_is_odd(
    name: str, vmlinux_seen: Vmlinux, source: bytes
) -> None:
    shop = PlayedShop(make=makes)
    made = built(name, shop)
    assert isinstance(made, AlteredFile)
    assert (made.name, made.control_name) == (name.replace("-", "_"), "built_outside")
    assert made.build[-1] == SKIPPING
    odd, even = shop.calls
    assert (odd.vmlinux, even.vmlinux) == (vmlinux_seen, Vmlinux.WHOLE)
    assert source in odd.files[f"{made.name}.c"]
    assert b"kbtf_ci_answer" in even.files["built_outside.c"]


def test_another_builds_vmlinux_has_more_names_than_a_module_has_bytes() -> None:
    shop = PlayedShop(make=makes)
    assert isinstance(built("headers-of-another-build", shop), AlteredFile)
    other, _ = shop.calls
    assert other.variables == ("MODULE_PAHOLE_FLAGS=",)
    assert isinstance(other.vmlinux, bytes)
    before, after = healthy().vmlinux, Btf.parse(other.vmlinux)
    assert after.nr_types == before.nr_types + 2000
    assert len(after.strings.data) > len(before.strings.data) + 100_000
    assert after.name(after.nr_types - 1) == f"kbtf_ci_{999:0100}"


@pytest.mark.parametrize("name", ["headers-vmlinux-cut", "pahole-overridden"])
def test_a_build_that_is_to_fail_has_its_lines_kept_and_may_not_succeed(name: str) -> None:
    shop = PlayedShop(make=fails)
    assert built(name, shop) == NotBuilt(("make: *** Error 126",))
    with pytest.raises(NotThereError, match="make builds the module all the same"):
        built(name, PlayedShop(make=makes))
    with pytest.raises(NotThereError, match=r"make does not build it: make: \*\*\* Error 126"):
        built(name, PlayedShop(make=lambda _: Output(2, ("make: *** Error 126",))))
    odd = shop.calls[-1]
    assert (odd.vmlinux, odd.variables) in (
        (Vmlinux.CUT, ()),
        (Vmlinux.WHOLE, ("PAHOLE=/files/pahole.sh",)),
    )
    assert ("pahole.sh" in odd.files) == bool(odd.variables)


def test_a_relink_adds_a_function_whose_name_takes_the_room_of_the_first_own_one() -> None:
    seen = []

    def relink(name: str, addition: str) -> Output:
        seen.append((name, addition))
        return Output(0, ("  LD vmlinux",), {f"{name}.ko": module(name, b"new")})

    made = built("image-before-relink", PlayedShop(relink=relink))
    assert made == AlteredBtf(b"new", build=("  LD vmlinux",))
    ((name, addition),) = seen
    assert name == healthy().name
    # "own_struct" has ten letters: the function's name and its NUL take as many bytes.
    assert addition == "\nint kbtf_ci_x(void);\nint kbtf_ci_x(void) { return 1; }\n"


@pytest.mark.parametrize(
    ("second", "made"),
    [
        (b"abc", "this pahole writes the same bytes with -j8 and without"),
        (b"abcd", "this pahole writes BTF of another length with -j8"),
        (b"bca", ""),
    ],
)
def test_two_encodings_are_a_case_where_their_order_alone_differs(second: bytes, made: str) -> None:
    shop = PlayedShop(btf={(): b"abc", ("--btf_features=-reproducible_build", "-j8"): second})
    if made:
        with pytest.raises(NotThereError, match=made):
            built("encoded-in-parallel", shop)
    else:
        assert built("encoded-in-parallel", shop) == AlteredVmlinux(second)


def test_without_a_build_such_a_case_says_so() -> None:
    for name in ("image-before-relink", "vmlinux-not-at-hand", "headers-vmlinux-cut"):
        with pytest.raises(NotThereError, match="no build at hand"):
            built(name, PlayedShop())
