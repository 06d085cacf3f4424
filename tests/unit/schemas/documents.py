# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""Documents of every schema, by what makes them for users, with every key and kind of value in them."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from kbtf_ci.btf.cases.catalogue import CASES
from kbtf_ci.errors import GuestError
from kbtf_ci.infra.matrix_file import read_matrix
from kbtf_ci.kernel.btfcache import CacheStats
from kbtf_ci.model.bisect import Commit, Ends, Found, Judgement, Mark, Standing, Step, Subject, Words
from kbtf_ci.model.bundle import Bundle, Seen
from kbtf_ci.model.cache_key import CacheKey
from kbtf_ci.model.comparison import Comparison, ModuleFacts, RunFacts
from kbtf_ci.model.encoded import EncodedModule, Encoding, Route
from kbtf_ci.model.extmod import Way
from kbtf_ci.model.kfunc_proof import KfuncProof
from kbtf_ci.model.module import Module
from kbtf_ci.model.options import BuildOptions, PrebuiltOptions
from kbtf_ci.model.outcome import Death, LoadMode, Observation, Outcome, judge
from kbtf_ci.model.prediction import OverriddenPrediction, Prediction
from kbtf_ci.model.proof import Proof
from kbtf_ci.model.prune import Decision, Item, Kind
from kbtf_ci.model.regeneration import Boot, Scenario, Served
from kbtf_ci.model.repro import Observed
from kbtf_ci.model.results import FindingEntry
from kbtf_ci.model.run_record import (
    BtfServerRecord,
    BuildIdentity,
    GuestProfile,
    PaholeRecord,
    PrebuiltRecord,
    RunRecord,
    SourceRecord,
    ToolchainRecord,
)
from kbtf_ci.model.sizes import compare as weigh
from kbtf_ci.model.symptom import Cause, Conclusion, Diagnosis, Likelihood, Line, Refusal, Remark
from kbtf_ci.model.symptom import Proof as Confirmed
from kbtf_ci.model.usable import Unusable
from kbtf_ci.model.vmlinux_seen import VmlinuxSeen
from kbtf_ci.report import (
    bisect,
    bundle,
    cache_key,
    check,
    comparison,
    diagnose,
    encode,
    extmod,
    matrix,
    prune,
    regen,
    repro,
    results,
    sizes,
)
from kbtf_ci.workflow.btf_cache import Surveyed
from kbtf_ci.workflow.doctor import judge_disk
from kbtf_ci.workflow.matrix_needs import needs_of
from tests.support.bundles import MANIFEST_VALUES
from tests.unit.model import test_matrix as multiplied
from tests.unit.model import test_regeneration as regenerated
from tests.unit.model import test_sizes as sized
from tests.unit.report import test_extmod as external
from tests.unit.report import test_reports as reported
from tests.unit.report import test_repro as reproduced
from tests.unit.report.test_proof import KFUNCS, PROOF

Documents = list[Any]

UNUSABLE = (
    Unusable("bpf_a", "a_set", "kfunc.implicit", "it has none", "7.0", "add them"),
    Unusable("", "", "kfunc.id", "it has no function", "6.12", "build it again"),
)
REFUSED = Prediction(
    "cut", "kernel/lib/cut.ko", Outcome.REJECTED, 22, "header.magic", ("BPF: Invalid magic",), 30,
    cause="damaged", advice="Get it again.", extra_bytes=8, repeated_typedefs=3,
    repeated_structs=4, empty_btf=True,
)  # fmt: skip
STALE = Prediction(
    "xfs", "kernel/fs/xfs/xfs.ko", Outcome.VERIFIED, btf_bytes=10, sysfs_bytes=10, sysfs_sha256="aa",
    base_mismatch="type 1 is another", unusable=UNUSABLE,
)  # fmt: skip
FOUND = [
    FindingEntry(finding="vmlinux-btf", name="vmlinux", text="another", counts=True),
    FindingEntry(finding="warning", name="kernel warnings", text="1", counts=False),
]
SERVED = BtfServerRecord(
    served=60, fallbacks=1, cpu_s=1.5, start_cpu_s=0.2,
    sample=8, sample_pahole_cpu_s=0.8, sample_server_cpu_s=0.2,
)  # fmt: skip
BARE = Module("bare", "kernel/lib/bare.ko", 0, "")


def of_results() -> Documents:
    died = Observation("lost", LoadMode.REAL, death=Death.HANG)
    carried = judge(reported.LOST, [died, Observation("lost", LoadMode.CARRIER, 0, 40, "dd", load_us=9)])
    other = Module("xfs", "updates/xfs.ko", 10, "ff")
    rich = results.document(
        reported.KERNEL, reported.GUEST, (*reported.WARNED, carried, judge(BARE, [])), (REFUSED, STALE),
        "QEMU was killed",
        overridden=[OverriddenPrediction(reported.XFS, other, STALE)], warnings=reported.OTHERS,
        vmlinux=VmlinuxSeen.of(b"a", b"b", "at byte 0"), proof=PROOF, kfunc_proof=KFUNCS, unusable=UNUSABLE,
        findings=FOUND,
    )  # fmt: skip
    cannot = results.document(
        reported.KERNEL, None, (), proof=Proof(cannot="no"), kfunc_proof=KfuncProof(cannot="no")
    )
    ended = results.document(
        reported.KERNEL, None, (), proof=Proof(ended="a panic"), kfunc_proof=KfuncProof(ended="a panic")
    )
    return [rich, cannot, ended, results.document(reported.KERNEL, None, ())]


def of_run() -> Documents:
    asked = BuildOptions(
        "smoke", 2, fragments=("trace",), added=("CONFIG_X=y",), pahole=Path("/p"), variables=("CC=gcc",)
    )
    begun = RunRecord.begin(
        started="2026-03-01T10:00:00+00:00", kbtf_ci="0.1", command="kbtf-ci run", options=asked,
        profile=GuestProfile(name="smoke", memory_mib=1024, cpus=2),
    )  # fmt: skip
    done = begun.amended({
        "stages": {"build": 60.5}, "status": "done", "seconds": 70.25, "kernel": reported.KERNEL,
        "toolchain": ToolchainRecord(image="i", suite="trixie", packages={"gcc-14": "14.2"}),
        "source": SourceRecord(version="6.12.1", origin="package"),
        "build": BuildIdentity(release="6.12.1", config_sha256="c0"), "make": {"CC": 9, "BTF [M]": 3},
        "build_seconds": {"compile": 50.5, "link": 10.0},
        "pahole": PaholeRecord(program="pahole", flags=["-j"]), "skipped_btf": {"a.ko": "no vmlinux"},
        "btf_server": SERVED,
        "guest_toolchain": ToolchainRecord(image="g", suite="trixie", packages={"busybox-static:arm64": "1"}),
        "compiler_toolchain": ToolchainRecord(image="c", suite="trixie", packages={"clang-19": "1"}),
    })  # fmt: skip
    theirs = RunRecord.begin(
        started="", kbtf_ci="0.1", command="", options=PrebuiltOptions(("bzImage",), Path("/m")),
        profile=GuestProfile(name=""),
    ).amended({"prebuilt": PrebuiltRecord(origin="bzImage", builtin=["ext4"])})  # fmt: skip
    return [begun.document(), done.document(), theirs.document()]


def of_matrix_plan() -> Documents:
    return [
        matrix.plan_document(plan, needs_of(plan))
        for plan in (multiplied.PLAN, multiplied.OF_OTHERS, read_matrix("toolchains"))
    ]


def of_matrix() -> Documents:
    found = (multiplied.FOUND, multiplied.OPEN, multiplied.OVER, multiplied.REMOVED)
    return [matrix.document(one) for one in found]


def of_check() -> Documents:
    rich = check.document(
        "6.12.1", (6, 12), (REFUSED, STALE), ("of another release",), read_off=("kinds",), unusable=UNUSABLE,
        architecture="s390x",
    )  # fmt: skip
    return [rich, check.document("", (5, 14), ())]


def of_diagnose() -> Documents:
    lines = (Line("BPF: Invalid name", "dmesg", 3, time=1.5),)
    remark = (Remark("it is no BTF", lines),)
    found = Diagnosis(
        Conclusion.IN_DOUBT, "m: class 1", 1, ("6.12.1",),
        (Refusal("m", 22, ("func.name",), "Invalid name", lines), Refusal("", 0, (), "", ())),
        (Cause(1, "two builds", Likelihood.LIKELY, ("so",), "build", "ask", lines, ("m",), (1,)),),
        remark, remark, remark, ("dmesg",), (Confirmed("m", "m.ko", "takes it", None),
                                            Confirmed("n", "n.ko", "takes it", True)),
    )  # fmt: skip
    return [diagnose.document(found)]


def of_sizes() -> Documents:
    of_i40e = Module("i40e", "kernel/drivers/net/ethernet/intel/i40e/i40e.ko", 20, "aa")
    of_kvm = Module("kvm", "kernel/arch/x86/kvm/kvm.ko", 20, "aa")
    in_one_list = weigh((of_i40e, of_kvm), {of_i40e.file: 90, of_kvm.file: 80}, {})
    return [
        sizes.document(sized.ENCODING, sized.WEIGHED, sized.STAMPS, "interrupted"),
        sizes.document(sized.ENCODING, in_one_list, {}),
        sizes.document(sized.ENCODING, weigh((), {}, {}), {}),
    ]


def of_encode() -> Documents:
    how = Encoding("vmlinux", "6.12.1", "130", "pahole", ("-j",), "of Linux 6.12", "", server=True)
    modules = [
        EncodedModule("a.ko", "/m/a.ko", 40, 20, Route.SERVED),
        EncodedModule("b.ko", "/m/b.ko", 40, 0, Route.FALLBACK, said="written by pahole itself"),
        EncodedModule("c.ko", "/m/c.ko", fault="compressed (xz): unpack it first"),
    ]
    alone = replace(how, detached="/d", server=False)
    return [
        encode.document(how, modules, 1.5),
        encode.document(alone, [replace(modules[0], route=Route.ALONE)], 2.0),
    ]


def of_regen() -> Documents:
    after = replace(regenerated.FIRST, base="other")
    stale = regenerated.found(
        Scenario.BTF_CHANGED, regenerated.ran(["a.ko"], ["a.ko"]), after=after, check={"b.ko": "of another"}
    )
    needless = regenerated.found(
        Scenario.TOUCHED, regenerated.ran(written=regenerated.ALL),
        after=regenerated.with_module(regenerated.FIRST, "b.ko", ids="others"),
    )  # fmt: skip
    lost = regenerated.found(
        Scenario.SOURCE_CHANGED, regenerated.ran(["b.ko"]),
        after=regenerated.with_module(regenerated.FIRST, "b.ko", btf=""),
    )  # fmt: skip
    needless = replace(needless, server=Served(needless.ran, ("a.ko",)))
    booted = replace(stale, boot=Boot("tcg", 4.0, {"a.ko": Outcome.REJECTED}, ("a.ko",)))
    ended = replace(lost, boot=Boot("", 0.0, {}, error=GuestError("it hung")))
    return [regen.document(regenerated.SETTING, [booted, needless, ended])]


def of_catalogue() -> Documents:
    return [repro.catalogue_document(CASES)]


def of_repro() -> Documents:
    seen = Observed(None, build=("make: *** Error 2",), misdescribed=("f",), uncallable=("k",))
    expected = replace(
        reproduced.REFUSED, outcome=None, build=("make: *** Error <number>",), misdescribed=("f",),
        uncallable=("k",),
    )  # fmt: skip
    told = replace(reproduced.PREDICTED, unusable=UNUSABLE)
    unbuilt = replace(reproduced.OK, expected=expected, observed=seen, prediction=told, misdescribed=("f",))
    fine = replace(reproduced.OK, prediction=STALE)
    cases = [reproduced.OK, reproduced.WRONG, reproduced.SKIPPED, unbuilt, fine]
    return [repro.document(reproduced.HEAD, cases), repro.document(replace(reproduced.HEAD, accel=""), [])]


def of_bundle() -> Documents:
    made = Bundle.model_validate({**MANIFEST_VALUES, "digests": {"kernel": "ab"}})
    return [made.model_dump(mode="json", by_alias=True)]


def of_replay() -> Documents:
    recorded = Bundle.model_validate({**MANIFEST_VALUES, "digests": {}})
    there = recorded.model_copy(update={"sysfs_sha256": "ab", "errno": 0})
    return [
        bundle.replay_document(recorded, Seen(0, "ab", ("a line",)), ("errno",), "tcg"),
        bundle.replay_document(there, Seen(22, "", ()), ("errno",), "kvm"),
    ]


def of_comparison() -> Documents:
    def run(name: str, stages: dict[str, float], *modules: ModuleFacts) -> RunFacts:
        return RunFacts(name, "6.12.1", {module.name: module for module in modules}, stages)

    xfs = ModuleFacts("xfs", "VERIFIED", 100, frozenset("ab"))
    before = run("before", {"build": 60.0}, xfs, replace(xfs, name="gone"))
    now = replace(xfs, outcome="REJECTED", btf_bytes=90, functions=frozenset("bc"))
    after = run("after", {"guest": 2.0}, now, replace(xfs, name="new"))
    unknown = run("old", {}, replace(xfs, functions=None))
    return [
        comparison.document(Comparison(before, after), ("too much",)),
        comparison.document(Comparison(unknown, after), ()),
    ]


def of_module() -> Documents:
    unseen = replace(external.GOOD, prediction=None, result=replace(external.GOOD.result, observation=None))
    ways = [
        external.way(Way.SPLIT, external.GOOD, unseen),
        external.way(Way.WRONG, external.BAD, lines=(external.SKIPPED,)),
    ]
    return [extmod.document("6.12.1", ways)]


def of_bisect() -> Documents:
    good, bad = Commit("aa", "fine", "Ada", "2026-03-01"), Commit("bb", "broken", "Ada", "2026-03-02")
    step = Step(bad, Judgement(Mark.BAD, "xfs REJECTED", "xfs"), 12.5, "steps/01")
    standing = Standing(ends=Ends(good=good, bad=bad, module="xfs"), folder="out", steps=(step,))
    before, after = Words(good, "steps/00", ""), Words(bad, "steps/01", "REJECTED", ("BPF: x",))
    found = bisect.Page(Subject.KERNEL, "/t", standing, Found(bad), "xfs", before, after, "xfs.tar.gz")
    hidden = bisect.Page(Subject.PAHOLE, "/t", standing, Found(None, (good, bad)), "", None, None)
    return [bisect.document(found), bisect.document(hidden)]


def of_prune() -> Documents:
    item = Item(Kind.TOOLCHAIN, "t", 5, datetime(2026, 3, 1, tzinfo=UTC), "of trixie")
    decisions = [Decision(item, True, "old"), Decision(replace(item, kind=Kind.BUILD), False, "in use")]
    return [prune.document(Path("/c"), decisions, {"ccache": 7}, keep_s=60.0, dry_run=True)]


def of_btf_cache() -> Documents:
    return [Surveyed(CacheStats(Path("/c"), 3, 4096, 1), removed=2).document()]


def of_cache_key() -> Documents:
    image = CacheKey("image", "image-1", image="kbtf-ci/toolchain:1")
    ccache = CacheKey("ccache", "ccache-1", ("ccache-",), Path("/c"), grows=True)
    return [cache_key.document((image, ccache, CacheKey("btf", reason="not asked for")))]


def of_doctor() -> Documents:
    return [[vars(judge_disk(free, Path("/c"))) for free in (0, 10**13)]]


DOCUMENTS = {
    "bisect": of_bisect,
    "btf-cache": of_btf_cache,
    "bundle": of_bundle,
    "cache-key": of_cache_key,
    "check": of_check,
    "comparison": of_comparison,
    "diagnose": of_diagnose,
    "doctor": of_doctor,
    "encode": of_encode,
    "matrix": of_matrix,
    "matrix-plan": of_matrix_plan,
    "module": of_module,
    "prune": of_prune,
    "regen": of_regen,
    "replay": of_replay,
    "repro": of_repro,
    "repro-catalogue": of_catalogue,
    "results": of_results,
    "run": of_run,
    "sizes": of_sizes,
}
