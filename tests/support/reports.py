# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""Texts in the form of real reports, what they come to, and texts that show nothing of BTF."""

from __future__ import annotations

from dataclasses import dataclass

from kbtf_ci.model.symptom import Conclusion

EXPLAINED, IN_DOUBT = Conclusion.EXPLAINED, Conclusion.IN_DOUBT


@dataclass(frozen=True)
class Case:
    """A text, what it comes to, and the class that comes first; ``among``: others that must be named."""

    text: str
    conclusion: Conclusion
    first: int
    among: tuple[int, ...] = ()
    module: str = ""
    check: str = ""


CASES = {
    "two modules of another build, in a GitHub issue": Case(
        """
After the upgrade of last night half of my drivers are gone:

```console
$ sudo dmesg | tail
[  81.401100] BPF: [118411] STRUCT ata..percpu\x20
[  81.401110] BPF: size=40 vlen=6
[  81.401112] BPF:\x20\x20
[  81.401113] BPF: Invalid name
[  81.401114] BPF:\x20
[  81.401120] failed to validate module [snd_pcm] BTF: -22
[  81.500100] BPF: [118413] ENUM R_ENDIAN_LITTLE
[  81.500110] BPF: size=4 vlen=9
[  81.500112] BPF:
[  81.500113] BPF: Invalid name
[  81.500114] BPF:
[  81.500120] failed to validate module [btusb] BTF: -22
```
Kernel: 6.17.4-100-generic
""",
        EXPLAINED, 1, (34,), "snd_pcm", "struct.name",
    ),
    "quoted in a mail, wrapped, one module": Case(
        """
On Monday somebody wrote:
> > [  161.224413] BPF: [90871] ENUM pick_next_entity
> > [  161.224420] BPF: size=4 vlen=5
> > [  161.224422] BPF:
> > [  161.224424] BPF: Invalid name
> > [  161.224426] BPF:
> > [  161.224430] failed to validate module
> > [nft_compat] BTF: -22
> modprobe says Invalid argument.
""",
        EXPLAINED, 1, (25, 22), "nft_compat", "enum.value_name",
    ),
    "offsets beyond the strings, with a prefix of dmesg -T": Case(
        """
[Tue Sep  5 10:53:29 2023] tcp_vegas: module verification failed: signature and/or required key missing -
tainting kernel
[Tue Sep  5 10:53:29 2023] BPF: [129365] Invalid name_offset:2322721
[Tue Sep  5 10:53:29 2023] failed to validate module [tcp_vegas] BTF: -22
""",
        EXPLAINED, 1, (), "tcp_vegas", "type.name_offset",
    ),
    "a loop early in the boot, and the initramfs": Case(
        """
[    0.000000] Linux version 6.6.21 (build@host) #1 SMP
[    0.901000] Run /init as init process
[    1.221000] BPF: Max chain length or cycle detected
[    1.221010] failed to validate module [zstd_compress] BTF: -40
[    1.300000] BPF: Max chain length or cycle detected
[    1.300010] failed to validate module [qemu_fw_cfg] BTF: -40
[    4.000000] dracut-initqueue[401]: Warning: dracut-initqueue timeout - starting timeout scripts
""",
        EXPLAINED, 2, (1,), "zstd_compress", "chain.length",
    ),
    "a build system, every driver, which load all the same (6.1 with the option)": Case(
        """
I built OpenWrt for x86 and the console shows at boot:
[    5.028594] BPF: \t type_id=55 bits_offset=128
[    5.029135] BPF:\x20\x20
[    5.029486] BPF: Invalid name
[    5.029898] BPF:\x20
[    5.030236] failed to validate module [igbvf] BTF: -22
[    5.031105] igbvf: Intel(R) Gigabit Virtual Function Network Driver
[    5.041597] BPF: \t type_id=70 bits_offset=16840
[    5.042278] BPF:\x20\x20
[    5.042631] BPF: Invalid name
[    5.043057] BPF:\x20
[    5.043397] failed to validate module [vmxnet3] BTF: -22
""",
        EXPLAINED, 1, (3, 23), "igbvf", "member.name",
    ),
    "an out-of-tree module of DKMS's": Case(
        """
Jan 12 08:09:10 box kernel: vboxdrv: loading out-of-tree module taints kernel.
Jan 12 08:09:10 box kernel: BPF:[94156] TYPEDEF\x20\x20
Jan 12 08:09:10 box kernel: BPF:type_id=94174
Jan 12 08:09:10 box kernel: BPF:\x20
Jan 12 08:09:10 box kernel: BPF:Invalid name
Jan 12 08:09:10 box kernel: BPF:
Jan 12 08:09:10 box kernel: failed to validate module [vboxdrv] BTF: -22
Jan 12 08:09:10 box systemd-modules-load[300]: Failed to insert module 'vboxdrv': Invalid argument
I had copied /sys/kernel/btf/vmlinux into the build folder some weeks ago.
""",
        EXPLAINED, 4, (1,), "vboxdrv", "ref.name",
    ),
    "vmlinux of Rust's, seen before any module": Case(
        """
CONFIG_RUST=y, rustc 1.59. Modules fail to load.
[    0.642535] BPF:     width type_id=54975 bits_offset=0
[    0.642932] BPF:\x20\x20
[    0.643100] BPF: Invalid member bits_offset
[    0.643413] BPF:
[    1.700000] failed to validate module [virtio_blk] BTF: -22
[    1.800000] failed to validate module [ext4] BTF: -22
You are in emergency mode.
""",
        EXPLAINED, 13, (15,), "vmlinux", "member.order",
    ),
    "a name of Rust's, 5.15, with the first module": Case(
        """
BPF:[62397] STRUCT {closure_env#0}\x20
BPF:size=0 vlen=0
BPF:
BPF:Invalid name
BPF:
failed to validate module [scsi_mod] BTF: -22
failed to validate module [usb_storage] BTF: -22
failed to validate module [dm_mod] BTF: -22
""",
        EXPLAINED, 13, (14,), "vmlinux", "struct.name",
    ),
    "two variables at one offset": Case(
        """
BPF:    type_id=70136 offset=224704 size=960
BPF:
BPF: Invalid offset
BPF:
sched_ext: Failed to register kfunc sets (-22)
""",
        EXPLAINED, 26, (27,), "vmlinux", "datasec.var_offset",
    ),
    "vmlinux of a newer pahole": Case(
        """
[    0.700001] BPF: [3211] Invalid kind:19
[    2.000001] failed to validate module [xfs] BTF: -22
[    2.100001] failed to validate module [raid456] BTF: -22
""",
        EXPLAINED, 8, (27,), "vmlinux", "type.kind",
    ),
    "bytes of vmlinux overwritten": Case(
        """
[    0.500001] BPF: Invalid magic
[    2.000001] failed to validate module [macb] BTF: -22
[    2.100001] failed to validate module [fuse] BTF: -22
On other boots of the same image it is fine. U-Boot loads the device tree to a fixed address.
""",
        EXPLAINED, 27, (), "vmlinux", "header.magic",
    ),
    "every module, and the text was filtered": Case(
        """
$ sudo dmesg | grep "failed to validate module"
[    9.195032] failed to validate module [cpuinfo] BTF: -22
[   11.050398] failed to validate module [ipv6] BTF: -22
[   11.128316] failed to validate module [ip_tables] BTF: -22
""",
        IN_DOUBT, 1, (8, 26), "cpuinfo",
    ),
    "a distilled base that does not fit": Case(
        """
[  44.120000] mts: loading out-of-tree module taints kernel.
[  44.120100] distilled base BTF type 'long long unsigned int' [5] is not mapped to base BTF id
[  44.120110] failed to validate module [mts] BTF: -22
insmod: ERROR: could not insert module mts.ko: Invalid parameters
""",
        EXPLAINED, 11, (4,), "mts", "relocate.unmapped",
    ),
    "a header of a newer pahole": Case(
        """
[   10.000001] BPF: Unsupported btf_header
[   10.000002] failed to validate module [newer] BTF: -7
""",
        EXPLAINED, 21, (22,), "newer", "header.unknown",
    ),
    "a truncated module": Case(
        """
[   10.000001] BPF: Total section length too long
[   10.000002] failed to validate module [snd_hda_intel] BTF: -22
""",
        EXPLAINED, 22, (15,), "snd_hda_intel", "sections.length",
    ),
    "a compiler's name with a dot": Case(
        """
[   10.000000] BPF: [52001] FUNC asan.module_ctor\x20
[   10.000001] BPF: type_id=52000
[   10.000002] BPF:\x20\x20
[   10.000003] BPF: Invalid name
[   10.000004] BPF:\x20
[   10.000005] failed to validate module [dummy] BTF: -22
""",
        EXPLAINED, 14, (15,), "dummy", "func.name",
    ),
    "the option hides which": Case(
        """
[  330.411665] luna: loading out-of-tree module taints kernel.
[  330.433955] Kernel module BTF mismatch detected, BTF debug info may be
unavailable for some modules
[  330.767701] missing module BTF, cannot register kfuncs
""",
        EXPLAINED, 23, (4, 17),
    ),
    "a kfunc set of the old kind": Case(
        """
insmod: ERROR: could not insert module demo.ko: Invalid parameters
dmesg shows nothing. The source has BTF_SET8_START(demo_ids) and calls register_btf_kfunc_id_set().
""",
        EXPLAINED, 17,
    ),
    "a name that sysfs has": Case(
        """
[    7.000000] sysfs: cannot create duplicate filename '/kernel/btf/vmlinux'
[    7.000200] failed to register module [vmlinux] BTF in sysfs: -17
""",
        EXPLAINED, 19,
    ),
    "no resolve_btfids": Case(
        """
  LD [M]  /home/me/driver/8812au.ko
  BTF [M] /home/me/driver/8812au.ko
/bin/sh: 1: ./tools/bpf/resolve_btfids/resolve_btfids: not found
make[3]: *** [scripts/Makefile.modfinal:61: /home/me/driver/8812au.ko] Error 127
make[3]: *** Deleting file '/home/me/driver/8812au.ko'
""",
        EXPLAINED, 6,
    ),
    "an old pahole over new BTF": Case(
        """
  BTF [M] /build/falco.ko
libbpf: Unsupported BTF_KIND:19
Failed to parse base BTF 'vmlinux': -22
""",
        EXPLAINED, 7,
    ),
    "a new pahole for an old tree": Case(
        """
  BTF     .btf.vmlinux.bin.o
  BTFIDS  vmlinux
FAILED: load BTF from vmlinux: Invalid argument
make: *** [Makefile:1179: vmlinux] Error 255
""",
        EXPLAINED, 8, (33,),
    ),
    "a damaged base file": Case(
        """
  BTF [M] hello.ko
libbpf: failed to get e_shstrndx from /lib/modules/6.8.0/build/vmlinux
Failed to parse base BTF '/lib/modules/6.8.0/build/vmlinux': -4001
make[2]: *** [scripts/Makefile.modfinal:56: hello.ko] Error 255
""",
        EXPLAINED, 29,
    ),
    "PAHOLE is a script that cannot run": Case(
        "/bin/sh: 1: /var/lib/dkms/gpu/1.0/build/pahole.sh: Permission denied\n"
        "make[4]: *** [scripts/Makefile.modfinal:64: gpu.ko] Error 126\n",
        EXPLAINED, 30,
    ),
    "a symbol that is not in BTF": Case(
        """
  BTFIDS  vmlinux
WARN: resolve_btfids: unresolved symbol bpf_map_sum_elem_count
""",
        EXPLAINED, 32,
    ),
    "the same, as 5.10 and 5.11 say it": Case(
        "  BTFIDS  vmlinux\nFAILED unresolved symbol vfs_truncate\nmake: *** [x: vmlinux] Error 255\n",
        EXPLAINED, 32,
    ),
    "pahole is not there, in a test's log": Case(
        "2020-05-05 00:41:15,469 process DEBUG| BTF: .tmp_vmlinux.btf: pahole (pahole) is not available\n"
        "2020-05-05 00:41:15,469 process DEBUG| Failed to generate BTF for vmlinux\n",
        EXPLAINED, 6,
    ),
    "many modules in the initramfs are another build's": Case(
        "[    0.526684] Run /init as init process\n"
        + "".join(
            f"[    0.{i}00001] BPF: [93325] ENUM a..percpu \n[    0.{i}00002] BPF: Invalid name\n"
            f"[    0.{i}00003] failed to validate module [m{i}] BTF: -22\n"
            for i in range(6, 10)
        ),
        EXPLAINED, 1, (2, 34), "m6", "enum.value_name",
    ),
    "records of several modules, and no module named": Case(
        """
$ dmesg -l err
BPF: [118411] STRUCT ata..percpu
BPF: size=40 vlen=6
BPF:
BPF: Invalid name
BPF:
BPF: [118413] FUNC
BPF: type_id=7
BPF:
BPF: Invalid name
""",
        EXPLAINED, 1, (), "", "struct.name",
    ),
    "the encoder killed": Case(
        """
  BTF     .tmp_vmlinux1.btf.o
Killed
  BTFIDS  vmlinux
FAILED: load BTF from vmlinux: No such file or directory
[91011.22] Out of memory: Killed process 4242 (pahole) total-vm:8123456kB
""",
        EXPLAINED, 33,
    ),
    "resolve_btfids at the end, 7.0": Case(
        "  BTF [M] hello.ko\nFAILED: btf permute: Invalid argument\n", EXPLAINED, 20,
    ),
    "C++ in a module": Case(
        """
  BTF [M] big.ko
Unsupported DW_TAG_reference_type(0x10): type: 0x1a2b
Encountered error while encoding BTF.
""",
        EXPLAINED, 14,
    ),
    "an old pahole, assembler by a newer binutils": Case(
        """
  BTF     .btf.vmlinux.bin.o
Unsupported DW_TAG_unspecified_type(0x3b)
Encountered error while encoding BTF.
""",
        EXPLAINED, 15,
    ),
    "an old pahole, DWARF of a tag that nobody knows here": Case(
        "  BTF [M] big.ko\nUnsupported DW_TAG_variant_part(0x33): type: 0x1a2b\n", EXPLAINED, 15,
    ),
    "a kernel without BTF": Case(
        "libbpf: failed to find valid kernel BTF\nlibbpf: Error loading vmlinux BTF: -3\n", EXPLAINED, 31,
    ),
    "prototypes of kfuncs": Case(
        "kernel 7.2.5\nlibbpf: extern (func ksym) 'scx_x': func_proto [18] incompatible with vmlinux [607]\n",
        EXPLAINED, 35, (18,),
    ),
    "struct module without the members for BTF": Case(
        """
$ nm --print-size good.ko | grep __this_module
0000000000000000 0000000000000500 D __this_module
$ nm --print-size hello.ko | grep __this_module
0000000000000000 00000000000004c0 D __this_module
module hello: .gnu.linkonce.this_module section size must match the kernel's
built struct module size at run time
""",
        EXPLAINED, 9, (10,),
    ),
    "pahole said why": Case(
        """
  BTF     .btf.vmlinux.bin.o
btf_encoder__encode: btf__dedup failed!
Failed to encode BTF
  BTFIDS  vmlinux
libbpf: failed to find '.BTF' ELF section in vmlinux
FAILED: load BTF from vmlinux: No data available
""",
        EXPLAINED, 8, (15,),
    ),
    "the kernel's own kfuncs fail, and what says why was cut out": Case(
        """
[    0.725880] error while registering bpf memcontrol kfuncs: -22
[    0.760781] failed to validate module [cryptd] BTF: -22
[..snip..]
[    1.334184] failed to validate module [fuse] BTF: -22
""",
        IN_DOUBT, 26, (8,), "vmlinux",
    ),
    "one module in the initramfs": Case(
        """
[    0.595921] Run /init as init process
[    0.602095] BPF: \t type_id=1704 bits_offset=1664
[    0.602499] BPF:\x20\x20
[    0.602711] BPF: Invalid name
[    0.602999] BPF:\x20
[    0.603208] failed to validate module [virtio_rng] BTF: -22
[    0.622111] systemd[1]: Running in initrd.
""",
        EXPLAINED, 2, (1,), "virtio_rng", "member.name",
    ),
    "image first, modules later": Case(
        """
I run make Image.gz, copy it to the board, and then make modules modules_install.
BPF: [128333] FUNC\x20\x20
BPF: type_id=128305
BPF:
BPF: Invalid name
BPF:
failed to validate module [zram] BTF: -22
""",
        EXPLAINED, 3, (1,), "zram", "func.name",
    ),
    "spoken of, and not shown": Case(
        "The journal has hundreds of `BPF: Invalid name` messages, and no module loads.\n", IN_DOUBT, 1, (8,),
    ),
    "a reader older than the kernel's BTF": Case(
        "Error: failed to load BTF from /sys/kernel/btf/vmlinux: Invalid argument\n", EXPLAINED, 7,
    ),
    "a function that is not in BTF": Case(
        "libbpf: prog 'x': failed to find kernel BTF type ID of 'do_execve': -3\n", IN_DOUBT, 32, (5, 16),
    ),
    "a set that the module's own init could not register": Case(
        "kernel 6.6.32, insmod hello.ko: `register_btf_kfunc_id_set` returns -22 (EINVAL).\n",
        EXPLAINED, 17, (32,),
    ),
    "pahole crashed": Case(
        """
  BTF     .btf.vmlinux.bin.o
scripts/link-vmlinux.sh: line 127: 7183 Segmentation fault (core dumped) LLVM_OBJCOPY=${OBJCOPY} ${PAHOLE}
objcopy: error: the input file '.btf.vmlinux.bin' is empty
Failed to generate BTF for vmlinux
""",
        EXPLAINED, 15,
    ),
    "vmlinux's records shown after a module's refusal": Case(
        """
Since clang 20 it does not boot:
[0.446472] failed to validate module [scsi_common] BTF: -22

Without BTF of modules the log has
BPF:      type_id=5457 offset=1288 size=64
BPF:
BPF: Invalid offset
BPF:
""",
        EXPLAINED, 26, (27,), "vmlinux", "datasec.var_offset",
    ),
    "a reader that wants strings": Case(
        "load BTF for kmod nls_cp437: read string section: string table is empty\n", EXPLAINED, 28,
    ),
    "a reader older than the layout header": Case(
        "parsing .BTF header: header contains non-zero trailer\n", EXPLAINED, 7, (21,),
    ),
    "struct module found out by its checksum": Case(
        "lp_x: disagrees about version of symbol module_layout\n# CONFIG_DEBUG_INFO_BTF_MODULES is not set\n",
        EXPLAINED, 9, (10,),
    ),
    "struct module of another layout and one size": Case(
        """
After we switched BTF on, the DKMS module does not load:
[  120.847047] wifi_x: loading out-of-tree module taints kernel.
[  120.848769] Unable to handle kernel paging request at virtual address 00004021b00000c9
[  120.852529] CPU: 7 PID: 5372 Comm: modprobe Tainted: G           O       6.1.75 #1
""",
        IN_DOUBT, 9, (10,),
    ),
    "a report in HTML": Case(
        "<html><body><pre>[  5.000001] BPF: [9001] FUNC a&gt;b c<br>[  5.000002] BPF: Invalid name<br>"
        "[  5.000003] failed to validate module [i915] BTF: -22</pre></body></html>",
        EXPLAINED, 1, (), "i915", "func.name",
    ),
}  # fmt: skip

NEGATIVES = {
    "a healthy boot": """
[    0.000000] Linux version 6.12.107+deb13-amd64 (debian-kernel@lists.debian.org) #1 SMP
[    0.000000] Command line: BOOT_IMAGE=/boot/vmlinuz root=/dev/vda1 ro quiet
[    1.213131] Run /init as init process
[    3.111111] EXT4-fs (vda1): mounted filesystem with ordered data mode
[    3.900000] systemd[1]: Inserted module 'autofs4'
""",
    "an oops": """
[  812.100001] BUG: kernel NULL pointer dereference, address: 0000000000000010
[  812.100020] Oops: Oops: 0000 [#1] PREEMPT SMP NOPTI
[  812.100040] RIP: 0010:foo_evict+0x10/0x90 [foo]
[  812.100050] Modules linked in: foo btrfs bpf_preload
""",
    "firmware": "Jan 10 10:11:12 h kernel: wifi 0:1: Direct firmware load for x.ucode failed with error -2\n",
    "another version": """
[   55.101010] mymod: version magic '6.8.0-40-generic SMP ' should be '6.8.0-45-generic SMP '
insmod: ERROR: could not insert module mymod.ko: Invalid module format
""",
    "a symbol": """
[  100.100001] drv: Unknown symbol cfg80211_scan_done (err -2)
modprobe: ERROR: could not insert 'drv': Unknown symbol in module, or unknown parameter (see dmesg)
""",
    "symbol versions": "[  9.100001] drv: disagrees about version of symbol module_layout\n",
    "a signature": """
[   10.111111] Loading of unsigned module is rejected
modprobe: ERROR: could not insert 'drv': Key was rejected by service
""",
    "struct module of another size, and no more": """
[   12.000001] module vmmon: .gnu.linkonce.this_module section size must match the kernel's
built struct module size at run time
modprobe: ERROR: could not insert 'vmmon': Exec format error
""",
    "a build without vmlinux, and a driver that finds no hardware": """
  BTF [M] /home/me/rtw89/rtw89core.ko
Skipping BTF generation for /home/me/rtw89/rtw89core.ko due to unavailability of vmlinux
modprobe: ERROR: could not insert 'rtw89core': No such device
""",
    "a source that does not compile": """
  CC [M]  /home/me/x/main.o
/home/me/x/main.c:7:10: fatal error: linux/gone.h: No such file or directory
make[2]: *** [scripts/Makefile.build:243: /home/me/x/main.o] Error 1
""",
    "a boot that stops, for what we do not see": """
[    3.000000] dracut-initqueue[400]: Warning: /dev/disk/by-uuid/x does not exist
[    4.000000] systemd[1]: Reached target Emergency Mode.
Entering emergency mode.
""",
    "a program's own BTF": "libbpf: Error loading .BTF into kernel: -22. BTF is optional, ignoring.\n",
    "an oops of an out-of-tree module, with no word of BTF": """
[  120.847047] wifi_x: loading out-of-tree module taints kernel.
[  120.848769] Unable to handle kernel paging request at virtual address 00004021b00000c9
[  120.852529] CPU: 7 PID: 5372 Comm: modprobe Tainted: G           O       6.1.75 #1
""",
    "a verifier's complaint about a program": """
[   20.000000] kernel: something
func 'bpf_lsm_file_open' arg0 has btf_id 112868 type STRUCT 'file'
Program extension requires BTF
""",
}
