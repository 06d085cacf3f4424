# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""What differs between kernels in how they check BTF, and since when."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from kbtf_ci.btf.format.records import CLASSIC, WIDE, InfoLayout
from kbtf_ci.btf.format.wire import HEADER_BYTES, LAYOUT_HEADER_BYTES, Kind
from kbtf_ci.model.version import Version

# The first kernel with split BTF, and the last one whose checks were read and held against its word.
FIRST: Final[Version] = (5, 11)
LAST: Final[Version] = (7, 3)

# The first kernel that knows a kind; those before ENUM64 and FLOAT came with 4.18 to 5.2.
_KINDS_SINCE: Final = (
    (6, 0, Kind.ENUM64),
    (5, 17, Kind.TYPE_TAG),
    (5, 16, Kind.DECL_TAG),
    (5, 13, Kind.FLOAT),
)


@dataclass(frozen=True)
class Rules:
    """The limits and habits of one kernel version (kernel/bpf/btf.c unless said otherwise).

    ``header_bytes``: the header it knows, 32 with a layout section since 7.1. ``layout``: how it divides
    ``info``, vlen with 24 bits since 7.2 (f7a6b9eaff3e). ``name_limit``: KSYM_NAME_LEN, the longest name.
    ``printable_section_names``: any printable character in a DATASEC's name, since 6.12. ``enum_kflag``:
    signed enums, since 6.0. ``tag_kflag``: kind_flag on TYPE_TAG and DECL_TAG, since 6.15 (53ee0d66d7a6).
    ``chains``: chains of modifiers are bounded, since 5.19 (eb596b090558). ``tag_order``: type tags come
    before modifiers, until 7.2 (39799c63578e). ``relocates``: knows ``.BTF.base``, since 6.11.
    ``quiet_mismatch``: where CONFIG_MODULE_ALLOW_BTF_MISMATCH is set it says nothing of single types, since
    6.3. ``record_bytes``: where printk cuts a record, NUL and the two bytes of its level counted out
    (kernel/printk/printk.c, vprintk_store(): PRINTKRB_RECORD_MAX, and before 6.3 LOG_LINE_MAX, which
    CONFIG_PRINTK_CALLER makes 16 bytes shorter still). ``read_off`` names the fields that the kernel's own
    BTF told (features.py); the others are its version's. ``newest_kind``: the last kind that its own BTF
    says it knows, where that came after ``last_kind`` and is not known here; 0 where there is none.
    """

    version: Version
    header_bytes: int
    layout: InfoLayout
    last_kind: Kind
    name_limit: int
    printable_section_names: bool
    enum_kflag: bool
    tag_kflag: bool
    chains: bool
    tag_order: bool
    relocates: bool
    quiet_mismatch: bool
    record_bytes: int
    read_off: frozenset[str] = frozenset()
    newest_kind: int = 0

    @classmethod
    def for_version(cls, version: Version) -> Rules:
        """Return the rules of mainline ``version`` (major, minor)."""
        known = (kind for major, minor, kind in _KINDS_SINCE if version >= (major, minor))
        return cls(
            version=version,
            header_bytes=LAYOUT_HEADER_BYTES if version >= (7, 1) else HEADER_BYTES,
            layout=WIDE if version >= (7, 2) else CLASSIC,
            last_kind=next(known, Kind.DATASEC),
            name_limit=512 if version >= (6, 1) else 128,
            printable_section_names=version >= (6, 12),
            enum_kflag=version >= (6, 0),
            tag_kflag=version >= (6, 15),
            chains=version >= (5, 19),
            tag_order=(5, 19) <= version < (7, 2),
            relocates=version >= (6, 11),
            quiet_mismatch=version >= (6, 3),
            record_bytes=1021 if version >= (6, 3) else 989,
        )


def is_too_old(version: Version) -> bool:
    """Whether mainline of that version has no split BTF at all (5f9ae91f7c0d is of 5.11)."""
    return version < FIRST


def doubt(version: Version) -> str:
    """Return a sentence on why the rules for ``version`` may not be its own, "" where they are."""
    if FIRST <= version <= LAST:
        return ""
    shown, nearest = (".".join(map(str, one)) for one in (version, FIRST if version < FIRST else LAST))
    return f"the rules of Linux {shown} are not known: those of {nearest} are taken, the nearest that are"
