# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""Where and how a failure came about, and what is believed of it, as far as a text speaks of that."""

from __future__ import annotations

from typing import Final

from kbtf_ci.symptoms.messages import Message, Sort


def _seen(id_: str, pattern: str, *anchors: str, by: str = "user space") -> Message:
    return Message(id_, pattern, Sort.CONTEXT, by, pattern=True, anchors=anchors)


CONTEXT: Final = (
    _seen(
        "context.kernel",
        r"Linux version (?P<version>\d+\.\d+\S*)",
        "Linux version",
        by="the kernel",
    ),
    _seen(
        "context.uname",
        r"\bLinux \S+ (?P<version>\d+\.\d+[.\d]*\S*) #\d+|/lib/modules/(?P<folder>\d+\.\d+[^/\s'\"`)]*)"
        r"|linux-headers-(?P<headers>\d+\.\d+[^/\s'\"`):,]*)|KERNELRELEASE=(?P<release>\d+\.\d+\S*)"
        r"|vmlinu[xz]-(?P<image>\d+\.\d+[^\s'\"`),]*)"
        r"|[Kk]ernel(?:\s+(?:[Vv]ersion|[Rr]elease))?[\s:*#]*(?:is )?[v`]*(?P<prose>\d+\.\d+\.\d+[\w.+-]*)",
        "Linux ",
        "/lib/modules/",
        "linux-headers-",
        "KERNELRELEASE",
        "vmlinu",
        "ernel",
    ),
    _seen(
        "context.filtered",
        r"(?:dmesg|journalctl).*\|\s*(?:grep|rg|tail|head|egrep).*",
        "dmesg",
        "journalctl",
    ),
    _seen(
        "context.dkms",
        r"\b(?:dkms|DKMS|akmods?)\b|/var/lib/dkms|/usr/src/[\w.+-]+-\d|make -C /lib/modules/\S+/build|"
        r"make\[\d+\]: Entering directory '/usr/src/(?:linux-headers|kernels)|out-of-tree module\b"
        r"|M=(?:\$\(?PWD|/)",
        "dkms",
        "DKMS",
        "akmod",
        "/usr/src/",
        "make",
        "out-of-tree",
        "M=",
    ),
    _seen(
        "context.initramfs",
        r"\b(?:initramfs|initrd|dracut|mkinitcpio|update-initramfs|stage-1-init|systemd-udevd\[\d{2,3}\]:)",
        "init",
        "dracut",
        "stage-1",
    ),
    _seen(
        "context.in_initramfs",
        r"Run /init as init process|[Rr]unning in (?:initrd|initramfs)|stage-1-init|dracut-(?:cmdline"
        r"|initqueue|pre)",
        "Run /init",
        "unning in init",
        "stage-1-init",
        "dracut-",
    ),
    _seen(
        "context.root_mounted",
        r"Run /sbin/init|Switching root|[Ss]witch_root|Mounted root|pivot_root|VFS: Mounted root",
        "Run /sbin",
        "witch",
        "ounted root",
        "pivot",
    ),
    _seen(
        "context.system_build",
        r"\b(?:OpenWrt|openwrt|immortalwrt|ImmortalWrt|LEDE|[Yy]octo|bitbake|buildroot|Buildroot|armbian"
        r"|Armbian|"
        r"make (?:-j\S* )?(?:bzImage|Image|Image\.gz|zImage|modules_install|modules)|bindeb-pkg|make deb-pkg"
        r"|makepkg|"
        r"COPY_HEADERS|ath79|lede)\b",
        "pen",
        "mmortal",
        "LEDE",
        "lede",
        "octo",
        "bitbake",
        "uildroot",
        "rmbian",
        "make",
        "bindeb",
        "COPY_HEADERS",
    ),
    _seen("context.btf_word", r"\bBTF\b", "BTF"),
    _seen(
        "context.loading",
        r"Comm: (?:modprobe|insmod|kmod|systemd-modules|\(udev-worker\)|systemd-udevd)",
        "Comm: ",
    ),
    _seen(
        "context.image_build",
        r"\bmake\b.*\b(?:bzImage|zImage|Image(?:\.gz)?|uImage)\b|COPY_HEADERS|relink|linked again",
        "Image",
        "COPY_HEADERS",
        "relink",
        "linked again",
    ),
    _seen(
        "context.rust",
        r"\b(?:rustc|CONFIG_RUST=y|[Rr]ust(?:-for-[Ll]inux| support| modules?))\b|rust_\w+|core::|alloc::",
        "ust",
        "core::",
        "alloc::",
    ),
    _seen(
        "context.clang",
        r"\b(?:clang(?:-|\s+version\s+|\s+)?(?P<version>\d\d)|LLVM=1|CONFIG_CC_IS_CLANG=y|lld[- ]\d\d"
        r"|ld\.lld|ThinLTO|"
        r"LTO_CLANG)",
        "lang",
        "LLVM",
        "lld",
        "LTO",
    ),
    _seen(
        "context.gendwarfksyms",
        r"GENDWARFKSYMS|gendwarfksyms",
        "GENDWARFKSYMS",
        "gendwarfksyms",
    ),
    _seen(
        "context.upgrade",
        r"\b(?:apt(?:-get)? (?:full-|dist-)?(?:upgrade|install)|pacman -S|dnf (?:update|upgrade)|zypper|"
        r"(?:after|since|before) (?:the |an? |kernel |my )?(?:update|upgrade|updating|upgrading|reboot)"
        r"|reinstall\w*)",
        "apt",
        "pacman",
        "dnf",
        "zypper",
        "after",
        "since",
        "before",
        "einstall",
    ),
    _seen(
        "context.stripped",
        r"\b(?:llvm-)?(?:eu-)?strip\b[^.]{0,40}(?:--strip|-s\b|-g\b|--keep-section)|find-debuginfo|strip-all|"
        r"INSTALL_MOD_STRIP|objcopy.*-R \.BTF",
        "strip",
        "find-debuginfo",
        "STRIP",
        "objcopy",
    ),
    _seen("context.distilled", r"\.BTF\.base|distilled", ".BTF.base", "istilled"),
    _seen(
        "context.copied_vmlinux",
        r"(?:cp|copy|copied|copying|ln -s\w*|symlink\w*)\b.{0,40}/sys/kernel/btf/vmlinux|"
        r"/sys/kernel/btf/vmlinux.{0,60}(?:/build|linux-headers)|host(?:'s)? `?vmlinux",
        "/sys/kernel/btf/vmlinux",
        "vmlinux",
    ),
    _seen(
        "context.kfunc",
        r"\b(?:register_btf_kfunc_id_set|BTF_SET8_START|BTF_KFUNCS_START|register_btf_id_dtor_kfuncs"
        r"|kfuncs?)\b",
        "kfunc",
        "BTF_SET8",
        "BTF_KFUNCS",
    ),
    _seen("context.set8", r"BTF_SET8_START", "BTF_SET8_START"),
    _seen(
        "context.boot_dependent",
        r"(?:some|every other|between|different) boots?\b|intermittent|not (?:every|each) (?:boot|time)|"
        r"sometimes|randomly|fdt_addr|fdtcontroladdr|device ?tree (?:at|address)|U-Boot|u-boot",
        "boot",
        "ntermittent",
        "ometimes",
        "andomly",
        "fdt",
        "tree",
        "Boot",
    ),
    _seen(
        "context.struct_size",
        r"\b(?:__this_module|this_module)\b.*|0x0*(?:4c0|500|480|440|3c0|400|540|380)\b",
        "this_module",
        "0x",
    ),
    _seen(
        "context.mismatch_config",
        r"MODULE_ALLOW_BTF_MISMATCH(?:=(?P<value>[yn]))?",
        "ALLOW_BTF_MISMATCH",
    ),
    _seen(
        "context.btf_config",
        r"(?:# )?CONFIG_DEBUG_INFO_BTF(?P<modules>_MODULES)?(?:=(?P<value>[yn])| is not set)?",
        "DEBUG_INFO_BTF",
    ),
    _seen(
        "context.kernel_line",
        r"^(?:\S+: )?(?:Command line:|Kernel command line:|Booting Linux on|x86/cpu:|usbcore:|random: crng|"
        r"EXT4-fs|systemd\[1\]:|audit:|ACPI:|pci \d|PCI:|NET: |input: |Freeing unused kernel|clocksource:)"
        r"|^\s*(?:CC|LD|AR|AS|HOSTCC|"
        r"MODPOST|OBJCOPY|KSYMS|NM|GEN|UPD|CALL|SYSMAP)\s+(?:\[M\]\s+)?\S|^make\[\d+\]: ",
        "ommand line",
        "Booting",
        "cpu",
        "usb",
        "crng",
        "EXT4",
        "systemd",
        "audit",
        "ACPI",
        "pci",
        "PCI",
        "NET",
        "input",
        "Freeing",
        "clocksource",
        "CC ",
        "LD ",
        "AR ",
        "AS ",
        "HOSTCC",
        "MODPOST",
        "OBJCOPY",
        "KSYMS",
        "NM ",
        "GEN ",
        "UPD",
        "CALL",
        "SYSMAP",
        "make[",
    ),
    _seen(
        "theory.signature",
        r"[Ss]ecure [Bb]oot|mokutil|sign-file|\bMOK\b",
        "ecure",
        "mokutil",
        "sign-file",
        "MOK",
    ),
    _seen(
        "theory.corruption",
        r"\b(?:corrupt(?:ed|ion)?|bad (?:disk|RAM|memory)|memtest|fsck)\b",
        "orrupt",
        "bad ",
        "memtest",
        "fsck",
    ),
    _seen(
        "theory.hardware",
        r"\b(?:hardware (?:fault|issue|problem|failure)|dying (?:disk|SSD|drive))",
        "ardware",
        "dying",
    ),
    _seen("theory.dwarf5", r"DWARF[ -]?(?:v|version )?5|DEBUG_INFO_DWARF5", "DWARF"),
)
