# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""Tests of one's own beside those that kbtf-ci gives for every module.

pytest --kbtf-run=RUNDIR          # or --kbtf-config=smoke, which builds, boots and verifies first
pytest --kbtf-run=RUNDIR -n 2     # each worker of pytest-xdist boots a guest of its own
"""

from __future__ import annotations

import hashlib

from kbtf_ci.model.outcome import Outcome
from kbtf_ci.pytest_plugin.objects import Build, Run
from kbtf_ci.workflow.live_guest import LiveGuest


def test_the_module_that_we_ship_is_verified(kbtf_run: Run) -> None:
    assert kbtf_run.outcomes["veth"] is Outcome.VERIFIED


def test_split_btf_stays_small(kbtf_run: Run) -> None:
    assert kbtf_run.results.btf_bytes < 1 << 20


def test_the_kernel_is_configured_for_bpf(kbtf_build: Build) -> None:
    assert kbtf_build.config["CONFIG_DEBUG_INFO_BTF_MODULES"] == "y"
    assert kbtf_build.module("veth").name.startswith("veth.ko")


def test_the_guest_runs_the_kernel_that_was_built(kbtf_guest: LiveGuest, kbtf_build: Build) -> None:
    ran = kbtf_guest.run("uname -r")
    assert (ran.status, ran.output.strip()) == (0, kbtf_build.release)


def test_a_module_is_loaded_and_its_btf_read(kbtf_guest: LiveGuest, kbtf_run: Run) -> None:
    loaded = kbtf_guest.load("veth")
    assert loaded.errno == 0, loaded.log
    btf = kbtf_guest.read_btf("veth")
    assert hashlib.sha256(btf).hexdigest() == kbtf_run.module("veth").btf_sha256


def test_a_module_file_of_this_machine_is_loaded(kbtf_guest: LiveGuest, kbtf_build: Build) -> None:
    assert kbtf_guest.load(kbtf_build.module("dummy")).errno == 0
    assert "dummy" in kbtf_guest.run(["cat", "/proc/modules"]).output
