# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""The classes of failure known in the field: what each is, the way out, what tells it from others."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True)
class Class:
    """One class, by its number in the catalogue of failures."""

    number: int
    name: str
    way_out: str
    tells_apart: str


_BOTH: Final = "kbtf-ci check --vmlinux /boot/vmlinuz-$(uname -r) /lib/modules/$(uname -r)/kernel"
_ONE_BUILD: Final = (
    "Install the kernel image and the modules of one build and reboot into it (reinstall both packages, make "
    "the "
    "initramfs again). Whoever builds packages: a new ABI name for every rebuild."
)
_REMOVE: Final = "For one module, for now: objcopy -R .BTF -R .BTF.base FILE.ko, then sign it again."

_ALL: Final = (
    Class(
        1,
        "module and vmlinux come from two builds of one version",
        f"{_ONE_BUILD} {_REMOVE}",
        f"{_BOTH} names the shift, in types and string bytes, and whether the installed image has it too; "
        f"then compare "
        "the packages' versions and build times, and what was booted with what is installed.",
    ),
    Class(
        2,
        "stale modules in the initramfs or image",
        "Make the initramfs again after the modules are installed; build images from a clean folder.",
        "Unpack the initramfs (unmkinitramfs, lsinitrd) and compare its modules with those in /lib/modules: "
        "the same "
        "module that is refused early loads later.",
    ),
    Class(
        3,
        "vmlinux was linked again after the bootable image was made",
        "Build image and modules in one go (make all), or make the image again after the modules.",
        "Compare the .BTF of the image that was booted with that of the build tree's vmlinux: the modules "
        "fit the tree.",
    ),
    Class(
        4,
        "out-of-tree module encoded against another vmlinux",
        "Build it against this very kernel's vmlinux: a link from "
        "build/vmlinux to /sys/kernel/btf/vmlinux, never a copy; or, from Linux 6.11 and pahole 1.28 on, "
        "with a distilled "
        f"base. {_REMOVE}",
        "kbtf-ci check --vmlinux /lib/modules/$(uname -r)/build/vmlinux FILE.ko, and the same with "
        "/sys/kernel/btf/vmlinux: it fits only the former.",
    ),
    Class(
        5,
        "the module was built without BTF, for want of a vmlinux",
        "Nothing needs to be done: it loads, and has no "
        "types. Whoever wants them installs the headers' vmlinux, or links build/vmlinux to "
        "/sys/kernel/btf/vmlinux.",
        "readelf -S FILE.ko shows no .BTF; the build said 'Skipping BTF generation'.",
    ),
    Class(
        6,
        "resolve_btfids or pahole is missing where the module is built",
        "Install dwarves, and build "
        "tools/bpf/resolve_btfids in the headers; or take build/vmlinux away again, and the module is built "
        "without BTF.",
        "ls build/tools/bpf/resolve_btfids/resolve_btfids; command -v pahole",
    ),
    Class(
        7,
        "pahole or libbpf is too old for this BTF",
        "Build with the pahole that the kernel was built with "
        "(CONFIG_PAHOLE_VERSION), and read it with a libbpf of that age.",
        "pahole --version against CONFIG_PAHOLE_VERSION in the kernel's configuration; ENUM64 (kind 19) "
        "wants 1.24.",
    ),
    Class(
        8,
        "pahole does not suit this kernel: vmlinux's own BTF is not valid for it",
        "The pahole that this kernel's "
        "scripts/Makefile.btf (before 6.9 scripts/pahole-flags.sh) knows, or a stable release with the flags "
        "backported.",
        "kbtf-ci check --vmlinux VMLINUX FILE.ko names the rule that vmlinux breaks; pahole --version.",
    ),
    Class(
        9,
        "struct module differs: the module was configured without pahole, so without BTF of modules",
        "Install the "
        "pahole that the kernel was built with before the module is configured, and leave "
        "include/config/auto.conf alone.",
        "The size of .gnu.linkonce.this_module (readelf -S) against struct module in "
        "/sys/kernel/btf/vmlinux: "
        "CONFIG_DEBUG_INFO_BTF_MODULES makes 24 bytes, a cache line once rounded; kbtf-ci check says it.",
    ),
    Class(
        10,
        "struct module differs: the module was built for another configuration or version",
        "Build it against the running kernel's own headers and configuration.",
        "modinfo -F vermagic FILE.ko against uname -r; the configuration it was built with against the "
        "kernel's.",
    ),
    Class(
        11,
        "the distilled base (.BTF.base) does not fit this vmlinux",
        "Build it again against this kernel; else objcopy -R .BTF -R .BTF.base FILE.ko.",
        "kbtf-ci check shows for each type of the base what comes nearest in vmlinux.",
    ),
    Class(
        12,
        "split BTF of a distilled base read without it",
        "Remove .BTF as well, or build with MODULE_PAHOLE_FLAGS= for a kernel before 6.11.",
        "readelf -S FILE.ko: .BTF whose first type id is some dozens, and no .BTF.base, or a kernel before "
        "6.11.",
    ),
    Class(
        13,
        "Rust in vmlinux's or the module's BTF",
        "pahole 1.24 or newer with CONFIG_PAHOLE_HAS_LANG_EXCLUDE (--lang_exclude=rust).",
        "CONFIG_RUST; readelf -p .comment shows rustc.",
    ),
    Class(
        14,
        "a name that this kernel does not accept",
        "A newer stable release (names with a dot: 6.4 and its backports; "
        "longer names: 6.1), or leave that unit out of BTF.",
        "The name is whole, and has a character or a length that is not allowed.",
    ),
    Class(
        15,
        "pahole wrote broken BTF, or failed",
        "pahole 1.30 or newer, or exactly the kernel's.",
        "Encode the same file with another pahole; kbtf-ci check names what is wrong.",
    ),
    Class(
        16,
        "the .BTF section was stripped",
        "strip with --keep-section=.BTF --keep-section=.BTF.base.",
        "readelf -S: .BTF_ids is there and .BTF is not; other modules of the same package have it.",
    ),
    Class(
        17,
        "kfuncs, destructors or struct_ops could not be registered",
        "Build with vmlinux and resolve_btfids at hand; "
        "BTF_KFUNCS_START in place of BTF_SET8_START from 6.9 on.",
        "kbtf-ci check reads .BTF_ids; the module's init returns -22 and the kernel says nothing of BTF.",
    ),
    Class(
        18,
        "BTF is accepted and wrong for BPF programs",
        "pahole 1.32, or a kernel from 7.3 on.",
        "bpftool btf dump file /sys/kernel/btf/vmlinux | grep -c bpf_kfunc",
    ),
    Class(
        19,
        "/sys/kernel/btf has that name already",
        "None is needed: the BTF is in use, only its file is missing. Rename the module.",
        "ls /sys/kernel/btf",
    ),
    Class(
        20,
        "resolve_btfids fails at the end of BTF (7.0 and newer)",
        "Build from clean (make clean in the module's folder); "
        "the newest stable release, and pahole 1.31 or newer.",
        "V=1 shows which step of scripts/gen-btf.sh failed.",
    ),
    Class(
        21,
        "BTF of a newer pahole than this kernel knows",
        "Encode with the flags of this kernel's scripts/Makefile.btf and not with --btf_features=all.",
        "kbtf-ci check names the kind or flag, and since when kernels know it.",
    ),
    Class(
        22,
        "the module's file or BTF is damaged or cut short",
        "Install the package again; dpkg -V, rpm -V.",
        "Compare the file's checksum with its package's; kbtf-ci check counts the bytes that are missing.",
    ),
    Class(
        23,
        "CONFIG_MODULE_ALLOW_BTF_MISMATCH: some module's BTF was refused, and it loaded without",
        "Find the module and mend it as without that option.",
        f"{_BOTH}, or: which modules have .BTF in their file and no /sys/kernel/btf/NAME.",
    ),
    Class(
        24,
        "BTF of another vmlinux that the kernel took all the same",
        _ONE_BUILD,
        f"{_BOTH} finds what the kernel cannot.",
    ),
    Class(
        25,
        "one module of the tree was built alone (make M=), and copied",
        "Build the whole tree's modules, and install them together with its image.",
        "modinfo FILE.ko: no intree: Y, or a .BTF.base, below kernel/.",
    ),
    Class(
        26,
        "vmlinux's BTF is refused at a DATASEC: two variables at one offset",
        "A newer pahole (1.31 or later), or the "
        "other compiler; without CONFIG_GENDWARFKSYMS where pahole is 1.28 or 1.29.",
        "kbtf-ci check --vmlinux names both variables; the compiler and pahole of the configuration.",
    ),
    Class(
        27,
        "vmlinux's BTF was changed in memory after the image was made",
        "Move what the boot loader writes: the address of the device tree or initrd.",
        "cmp /sys/kernel/btf/vmlinux with the .BTF of the image: what differs, and does it come and go "
        "between boots?",
    ),
    Class(
        28,
        "BTF with no type of its own",
        "The kernel is right; update the reader.",
        "The section has 24 bytes. Only 5.11-rc1 to -rc3 said 'No data'.",
    ),
    Class(
        29,
        "build/vmlinux is damaged",
        "Install the headers again, or link build/vmlinux to /sys/kernel/btf/vmlinux.",
        "file build/vmlinux; readelf -S build/vmlinux",
    ),
    Class(
        30,
        "PAHOLE is overridden, by a module's Makefile most often, and does not run",
        "make PAHOLE=pahole; chmod +x the script.",
        "grep -rn PAHOLE in the module's folder; make V=1 shows the command.",
    ),
    Class(
        31,
        "this kernel has no BTF",
        "CONFIG_DEBUG_INFO_BTF=y (wants full DWARF and pahole when the kernel is built), or a "
        "kernel of the vendor's that has it.",
        "ls /sys/kernel/btf/vmlinux; the configuration: the symbol that is off, and its dependencies.",
    ),
    Class(
        32,
        "a kfunc's or BTF_ID's symbol is not in the BTF",
        "A newer kernel, or the other pahole or compiler; without -O3.",
        "nm vmlinux | grep SYMBOL: a clone (.constprop, .isra, .part) says that pahole left the function "
        "out.",
    ),
    Class(
        33,
        "the BTF encoder was killed",
        "More memory (2 to 7 GB for a distribution's vmlinux), -j1, pahole 1.28 or newer.",
        "dmesg of the build machine: the OOM killer, and pahole among its victims.",
    ),
    Class(
        34,
        "two builds of one source differ in BTF alone",
        "--btf_features=reproducible_build, or pahole without -j.",
        "Both BTFs hold the same types in another order.",
    ),
    Class(
        35,
        "kfuncs cannot be used: their prototypes still have the implicit argument",
        "A kernel built with pahole 1.32, or from 7.3 on, whose resolve_btfids writes the tags itself.",
        "bpftool btf dump file /sys/kernel/btf/vmlinux: the kfunc lacks the declaration tag bpf_kfunc and an "
        "_impl twin.",
    ),
)

CLASSES: Final = {one.number: one for one in _ALL}
