# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""What stands around a failure: readers of BTF, tools that load modules, what follows, other trouble."""

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

MESSAGES: Final = (*_READERS, *_TOOLS, *_EFFECTS, *_TROUBLES)
