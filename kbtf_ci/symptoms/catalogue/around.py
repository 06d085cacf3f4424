# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""What stands around a failure: readers of BTF, tools that load modules, what follows, context."""

from __future__ import annotations

from typing import Final

from kbtf_ci.symptoms.messages import Message, Sort


def _seen(
    id_: str, pattern: str, sort: Sort, *anchors: str, by: str = "user space", meaning: str = ""
) -> Message:
    return Message(id_, pattern, sort, by, pattern=True, anchors=anchors, meaning=meaning)


_READERS: Final = (
    _seen(
        "reader.prototype",
        r"func_proto \[?\d*\]?\s*incompatible with (?:vmlinux|kernel)|malformed scx kfunc prototype",
        Sort.READER,
        "incompatible with",
        "malformed scx kfunc",
        by="libbpf",
    ),
    _seen(
        "reader.load",
        r"[Ff]ailed to load BTF from /sys/kernel/btf/\S+: (?:Invalid argument|Unknown error -?22)",
        Sort.READER,
        "load BTF from /sys",
        by="bpftool",
    ),
    _seen(
        "reader.header",
        r"header contains non-zero trailer|BTF header.*(?:unsupported|unknown) (?:length|size)",
        Sort.READER,
        "trailer",
        "BTF header",
        by="a library",
    ),
    _seen(
        "reader.kind",
        r"Unsupported BTF_KIND:\s*(?P<kind>\d+)|unknown BTF kind:?\s*(?P<other>\d+)",
        Sort.READER,
        "BTF_KIND",
        "unknown BTF kind",
        by="libbpf",
    ),
    _seen(
        "reader.split_without_base",
        r"Malformed BTF string section, did you forget to provide base BTF",
        Sort.READER,
        "Malformed BTF string section",
        by="libbpf",
    ),
    _seen(
        "reader.empty_strings",
        r"string table is empty|[Ss]tring section is empty",
        Sort.READER,
        "is empty",
        by="a library",
    ),
    _seen(
        "reader.no_kernel_btf",
        r"failed to find valid kernel BTF|no BTF found for kernel version|/sys/kernel/btf/vmlinux"
        r"['\"`]?[:)]? .*(?:No such file|not found|does not exist|missing)|does not have BTF file|(?:kernel"
        r"|KERNEL) "
        r"(?:doesn't|does not) (?:support|have) BTF|[Nn]o BTF (?:support|information|info) (?:in"
        r"|for) (?:the )?kernel"
        r"|lacks? BTF (?:support|information)|cannot open `?/sys/kernel/btf/vmlinux|BTF is not (?:available"
        r"|enabled)",
        Sort.READER,
        "BTF",
        "/sys/kernel/btf",
    ),
    _seen("reader.nobits", r"\.BTF.*NOBITS", Sort.READER, "NOBITS"),
    _seen(
        "reader.no_kernel_type",
        r"is not found in vmlinux BTF|failed to find (?:kernel )?BTF type ID of",
        Sort.READER,
        "BTF",
        by="libbpf",
    ),
    _seen(
        "reader.no_module_btf",
        r"not found in kernel or module BTFs|/sys/kernel/btf/(?!vmlinux)\S+?['\"]?:? (?:No such file"
        r"|not found)"
        r"|no BTF (?:found )?for module",
        Sort.READER,
        "BTF",
        "/sys/kernel/btf",
    ),
)

_TOOLS: Final = (
    _seen(
        "tool.format",
        r"(?P<said>.*?(?:could not insert|[Ff]ailed to (?:insert|load)|cannot insert|init_module|insmod"
        r"|modprobe)"
        r".*?)(?:Exec format error|[Ii]nvalid module format)",
        Sort.TOOL,
        "ormat error",
        "module format",
    ),
    _seen(
        "tool.invalid",
        r"(?:could not insert|[Ff]ailed to (?:insert|load|find)|cannot insert|can't insert|init_module|"
        r"insmod|modprobe|finit_module).*?['\"]?(?P<module>[\w./-]+)['\"]?.*?(?:[Ii]nvalid (?:argument"
        r"|parameters?)|os error 22|"
        r"EINVAL)",
        Sort.TOOL,
        "nvalid argument",
        "nvalid parameter",
        "EINVAL",
        "os error 22",
    ),
    _seen(
        "tool.links",
        r"(?:could not insert|[Ff]ailed to (?:insert|load)|insmod"
        r"|modprobe).*Too many levels of symbolic links",
        Sort.TOOL,
        "Too many levels",
    ),
    _seen(
        "tool.524",
        r"(?:could not insert|[Ff]ailed to (?:insert|load)|insmod|modprobe).*Unknown error 524",
        Sort.TOOL,
        "error 524",
    ),
    _seen(
        "tool.argument_list",
        r"(?:could not insert|[Ff]ailed to (?:insert|load)|insmod|modprobe).*Argument list too long",
        Sort.TOOL,
        "Argument list too long",
    ),
    _seen(
        "tool.key",
        r"(?:could not insert|insmod|modprobe|[Ff]ailed to (?:insert|load)).*(?:Key was rejected"
        r"|Required key not "
        r"available|Operation not permitted)",
        Sort.LOADER,
        "Key was rejected",
        "Required key",
        "not permitted",
        meaning="the kernel takes only modules whose signature it can check",
    ),
    _seen(
        "tool.not_found",
        r"modprobe: (?:FATAL|ERROR): Module \S+ not found in directory|modprobe: can't (?:load|change dir)",
        Sort.LOADER,
        "modprobe:",
        meaning="there is no such module for this kernel: it was not installed, or not built",
    ),
    _seen(
        "tool.unknown_symbol",
        r"(?:could not insert|insmod|modprobe|can't insert|load).*[Uu]nknown symbol in module",
        Sort.LOADER,
        "nknown symbol in module",
        meaning="the module wants a symbol that this kernel does not have",
    ),
    _seen(
        "tool.device",
        r"(?:could not insert|insmod|modprobe).*No such device",
        Sort.LOADER,
        "No such device",
        meaning="the driver ran and found no hardware of its own",
    ),
)

_EFFECTS: Final = (
    _seen(
        "effect.emergency",
        r"emergency (?:mode|shell|target)|[Ee]ntering emergency|emergency\.target|dracut emergency"
        r"|rescue (?:mode|shell)|dropping to (?:a |initramfs )?shell|\(initramfs\)|Give root password",
        Sort.EFFECT,
        "emergency",
        "rescue",
        "shell",
        "initramfs",
        "root password",
    ),
    _seen(
        "effect.root",
        r"VFS: Unable to mount root fs|Kernel panic - not syncing: VFS|ALERT!\s+.*does not exist"
        r"|Could not boot|Gave up waiting for root|Warning: .*does not exist|waiting for (?:root )?device",
        Sort.EFFECT,
        "VFS",
        "does not exist",
        "Could not boot",
        "Gave up waiting",
        "waiting for",
    ),
    _seen(
        "effect.dracut",
        r"dracut-initqueue.*(?:timeout|starting timeout scripts)|dracut.*FATAL",
        Sort.EFFECT,
        "dracut",
    ),
    _seen(
        "effect.systemd_modules",
        r"Failed to start .*(?:Load Kernel Modules|modules-load|modprobe)|systemd-modules-load"
        r".*(?:[Ff]ailed|code=exited)",
        Sort.EFFECT,
        "odules",
    ),
    _seen(
        "effect.docker",
        r"(?:docker|dockerd|containerd|kubelet|podman).*(?:operation not supported|veth|bridge|iptables"
        r"|overlay|"
        r"failed to start|permission denied)|failed to (?:create|add) .*veth|could not find bridge",
        Sort.EFFECT,
        "docker",
        "containerd",
        "kubelet",
        "podman",
        "veth",
        "bridge",
    ),
    _seen(
        "effect.fuse",
        r"fuse: device not found|fusermount.*failed|/dev/fuse.*(?:No such|not found)",
        Sort.EFFECT,
        "fuse",
    ),
    _seen(
        "effect.mount",
        r"mount: .*unknown filesystem type|Failed to mount|mount\[\d+\]: .*failed|codepage.*not found"
        r"|IO charset \S+ not found",
        Sort.EFFECT,
        "mount",
        "charset",
        "codepage",
        "Failed to mount",
    ),
    _seen("effect.zram", r"zram\d*.*(?:timed out|failed|Failed)|modprobe.*zram.*fail", Sort.EFFECT, "zram"),
    _seen(
        "effect.tables",
        r"(?:nft|iptables|ip6tables).*(?:Could not process rule|No such file|can't initialize|Table does not "
        r"exist|No chain/target/match)",
        Sort.EFFECT,
        "nft",
        "iptables",
        "ip6tables",
    ),
    _seen(
        "effect.link",
        r"RTNETLINK answers: (?:Operation not supported|Unknown)|Unknown device type|Cannot find device",
        Sort.EFFECT,
        "RTNETLINK",
        "Unknown device type",
        "Cannot find device",
    ),
    _seen(
        "effect.device",
        r"(?:[Nn]o (?:sound|audio|wifi|network|ethernet)\b|[Ff]ailed to create target device)",
        Sort.EFFECT,
        "No ",
        "no ",
        "target device",
    ),
)

_TROUBLES: Final = (
    _seen(
        "trouble.firmware",
        r"[Dd]irect firmware load for \S+ failed|[Ff]ailed to load firmware|firmware:? .*(?:not found"
        r"|missing|"
        r"failed)|[Mm]issing firmware|[Pp]ossible missing firmware",
        Sort.TROUBLE,
        "irmware",
        meaning="a device's firmware file is missing or was not taken",
    ),
    _seen(
        "trouble.oops",
        r"BUG: (?:unable to handle|kernel NULL|sleeping|scheduling|soft lockup|KASAN|workqueue)|Oops(?::| -)"
        r"|general protection fault|kernel BUG at|Unable to handle kernel (?:NULL|paging|access)"
        r"|Internal error: Oops"
        r"|Kernel panic - not syncing: (?!VFS)|watchdog: BUG|divide error:|invalid opcode:",
        Sort.TROUBLE,
        "BUG",
        "Oops",
        "protection fault",
        "handle kernel",
        "Internal error",
        "panic",
        "divide error",
        "invalid opcode",
        meaning="the kernel crashed in code; BTF is read by nothing there",
    ),
    _seen(
        "trouble.compile",
        r"\b(?:fatal )?error: (?!.*BTF)(?:implicit declaration|.*undeclared|unknown type name"
        r"|.*No such file or "
        r"directory|incompatible|too (?:few|many) arguments|.*has no member|conflicting types"
        r"|.*redefinition)|ERROR: modpost:",
        Sort.TROUBLE,
        "error: ",
        "modpost",
        meaning="the source does not compile or link against this kernel",
    ),
    _seen(
        "trouble.program_btf",
        r"Error loading \.BTF into kernel|BEGIN BTF LOAD LOG|BTF is optional, ignoring",
        Sort.TROUBLE,
        "BTF",
        meaning="it is the BTF of a BPF program that the kernel refuses, and no module's",
    ),
    _seen(
        "trouble.relocation",
        r"Skipping invalid relocation target, existing value is nonzero|Unknown rela relocation: \d+"
        r"|relocation .* overflow",
        Sort.TROUBLE,
        "relocation",
        meaning="the module's relocations are not as the kernel wants them: another linker made it",
    ),
    _seen(
        "trouble.device",
        r"probe of \S+ failed with error (?P<errno>-\d+)|(?:usb|pci) .*: device (?:descriptor read|not "
        r"accepting)",
        Sort.TROUBLE,
        "probe of",
        "device descriptor",
        "not accepting",
        meaning="a driver was loaded and its device did not answer",
    ),
    _seen("trouble.taint_only", r"[Tt]ainted: (?:P|G|\[)", Sort.NOTE, "ainted: "),
)

_CONTEXT: Final = (
    _seen(
        "context.kernel",
        r"Linux version (?P<version>\d+\.\d+\S*)",
        Sort.CONTEXT,
        "Linux version",
        by="the kernel",
    ),
    _seen(
        "context.uname",
        r"\bLinux \S+ (?P<version>\d+\.\d+[.\d]*\S*) #\d+|/lib/modules/(?P<folder>\d+\.\d+[^/\s'\"`)]*)"
        r"|linux-headers-(?P<headers>\d+\.\d+[^/\s'\"`):,]*)|KERNELRELEASE=(?P<release>\d+\.\d+\S*)"
        r"|vmlinu[xz]-(?P<image>\d+\.\d+[^\s'\"`),]*)"
        r"|[Kk]ernel(?:\s+(?:[Vv]ersion|[Rr]elease))?[\s:*#]*(?:is )?[v`]*(?P<prose>\d+\.\d+\.\d+[\w.+-]*)",
        Sort.CONTEXT,
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
        Sort.CONTEXT,
        "dmesg",
        "journalctl",
    ),
    _seen(
        "context.dkms",
        r"\b(?:dkms|DKMS|akmods?)\b|/var/lib/dkms|/usr/src/[\w.+-]+-\d|make -C /lib/modules/\S+/build|"
        r"make\[\d+\]: Entering directory '/usr/src/(?:linux-headers|kernels)|out-of-tree module\b"
        r"|M=(?:\$\(?PWD|/)",
        Sort.CONTEXT,
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
        Sort.CONTEXT,
        "init",
        "dracut",
        "stage-1",
    ),
    _seen(
        "context.in_initramfs",
        r"Run /init as init process|[Rr]unning in (?:initrd|initramfs)|stage-1-init|dracut-(?:cmdline"
        r"|initqueue|pre)",
        Sort.CONTEXT,
        "Run /init",
        "unning in init",
        "stage-1-init",
        "dracut-",
    ),
    _seen(
        "context.root_mounted",
        r"Run /sbin/init|Switching root|[Ss]witch_root|Mounted root|pivot_root|VFS: Mounted root",
        Sort.CONTEXT,
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
        Sort.CONTEXT,
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
    _seen("context.btf_word", r"\bBTF\b", Sort.CONTEXT, "BTF"),
    _seen(
        "context.loading",
        r"Comm: (?:modprobe|insmod|kmod|systemd-modules|\(udev-worker\)|systemd-udevd)",
        Sort.CONTEXT,
        "Comm: ",
    ),
    _seen(
        "context.image_build",
        r"\bmake\b.*\b(?:bzImage|zImage|Image(?:\.gz)?|uImage)\b|COPY_HEADERS|relink|linked again",
        Sort.CONTEXT,
        "Image",
        "COPY_HEADERS",
        "relink",
        "linked again",
    ),
    _seen(
        "context.rust",
        r"\b(?:rustc|CONFIG_RUST=y|[Rr]ust(?:-for-[Ll]inux| support| modules?))\b|rust_\w+|core::|alloc::",
        Sort.CONTEXT,
        "ust",
        "core::",
        "alloc::",
    ),
    _seen(
        "context.clang",
        r"\b(?:clang(?:-|\s+version\s+|\s+)?(?P<version>\d\d)|LLVM=1|CONFIG_CC_IS_CLANG=y|lld[- ]\d\d"
        r"|ld\.lld|ThinLTO|"
        r"LTO_CLANG)",
        Sort.CONTEXT,
        "lang",
        "LLVM",
        "lld",
        "LTO",
    ),
    _seen(
        "context.gendwarfksyms",
        r"GENDWARFKSYMS|gendwarfksyms",
        Sort.CONTEXT,
        "GENDWARFKSYMS",
        "gendwarfksyms",
    ),
    _seen(
        "context.upgrade",
        r"\b(?:apt(?:-get)? (?:full-|dist-)?(?:upgrade|install)|pacman -S|dnf (?:update|upgrade)|zypper|"
        r"(?:after|since|before) (?:the |an? |kernel |my )?(?:update|upgrade|updating|upgrading|reboot)"
        r"|reinstall\w*)",
        Sort.CONTEXT,
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
        Sort.CONTEXT,
        "strip",
        "find-debuginfo",
        "STRIP",
        "objcopy",
    ),
    _seen("context.distilled", r"\.BTF\.base|distilled", Sort.CONTEXT, ".BTF.base", "istilled"),
    _seen(
        "context.copied_vmlinux",
        r"(?:cp|copy|copied|copying|ln -s\w*|symlink\w*)\b.{0,40}/sys/kernel/btf/vmlinux|"
        r"/sys/kernel/btf/vmlinux.{0,60}(?:/build|linux-headers)|host(?:'s)? `?vmlinux",
        Sort.CONTEXT,
        "/sys/kernel/btf/vmlinux",
        "vmlinux",
    ),
    _seen(
        "context.kfunc",
        r"\b(?:register_btf_kfunc_id_set|BTF_SET8_START|BTF_KFUNCS_START|register_btf_id_dtor_kfuncs"
        r"|kfuncs?)\b",
        Sort.CONTEXT,
        "kfunc",
        "BTF_SET8",
        "BTF_KFUNCS",
    ),
    _seen("context.set8", r"BTF_SET8_START", Sort.CONTEXT, "BTF_SET8_START"),
    _seen(
        "context.boot_dependent",
        r"(?:some|every other|between|different) boots?\b|intermittent|not (?:every|each) (?:boot|time)|"
        r"sometimes|randomly|fdt_addr|fdtcontroladdr|device ?tree (?:at|address)|U-Boot|u-boot",
        Sort.CONTEXT,
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
        Sort.CONTEXT,
        "this_module",
        "0x",
    ),
    _seen(
        "context.mismatch_config",
        r"MODULE_ALLOW_BTF_MISMATCH(?:=(?P<value>[yn]))?",
        Sort.CONTEXT,
        "ALLOW_BTF_MISMATCH",
    ),
    _seen(
        "context.btf_config",
        r"(?:# )?CONFIG_DEBUG_INFO_BTF(?P<modules>_MODULES)?(?:=(?P<value>[yn])| is not set)?",
        Sort.CONTEXT,
        "DEBUG_INFO_BTF",
    ),
    _seen(
        "context.kernel_line",
        r"^(?:\S+: )?(?:Command line:|Kernel command line:|Booting Linux on|x86/cpu:|usbcore:|random: crng|"
        r"EXT4-fs|systemd\[1\]:|audit:|ACPI:|pci \d|PCI:|NET: |input: |Freeing unused kernel|clocksource:)"
        r"|^\s*(?:CC|LD|AR|AS|HOSTCC|"
        r"MODPOST|OBJCOPY|KSYMS|NM|GEN|UPD|CALL|SYSMAP)\s+(?:\[M\]\s+)?\S|^make\[\d+\]: ",
        Sort.CONTEXT,
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
        Sort.CONTEXT,
        "ecure",
        "mokutil",
        "sign-file",
        "MOK",
    ),
    _seen(
        "theory.corruption",
        r"\b(?:corrupt(?:ed|ion)?|bad (?:disk|RAM|memory)|memtest|fsck)\b",
        Sort.CONTEXT,
        "orrupt",
        "bad ",
        "memtest",
        "fsck",
    ),
    _seen(
        "theory.hardware",
        r"\b(?:hardware (?:fault|issue|problem|failure)|dying (?:disk|SSD|drive))",
        Sort.CONTEXT,
        "ardware",
        "dying",
    ),
    _seen("theory.dwarf5", r"DWARF[ -]?(?:v|version )?5|DEBUG_INFO_DWARF5", Sort.CONTEXT, "DWARF"),
)

MESSAGES: Final = (*_READERS, *_TOOLS, *_EFFECTS, *_TROUBLES)
CONTEXT: Final = _CONTEXT
