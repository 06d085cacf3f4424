# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""What libbpf spends on a base for each module: its BTF parsed, its strings indexed, its types hashed.

VMLINUX is whatever carries a kernel's BTF. Each round does all three as one pahole does for one module, with
a split BTF that has no type of its own: what is measured is the base's alone. CPU milliseconds, the median of
the rounds, in the toolchain's image with its libbpf.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

from kbtf_ci.container.image import DEFAULT_SUITE
from kbtf_ci.infra.runner import Command, Mount, run
from kbtf_ci.kernel.pahole import ALLOCATION
from kbtf_ci.objfile.files import read_kernel_file
from kbtf_ci.report.terminal import TerminalReporter
from kbtf_ci.workflow import workspace

_PROGRAM = r"""
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
struct btf;
struct btf *btf__parse(const char *, void *);
struct btf *btf__new_empty_split(struct btf *);
int btf__find_str(struct btf *, const char *);
int btf__dedup(struct btf *, const void *);
unsigned int btf__type_cnt(const struct btf *);
void btf__free(struct btf *);
#define ROUNDS 41
static double times[3][ROUNDS];
static double ms(void)
{
	struct timespec now;
	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
	return now.tv_sec * 1e3 + now.tv_nsec / 1e6;
}
static int order(const void *a, const void *b)
{
	double difference = *(const double *)a - *(const double *)b;
	return (difference > 0) - (difference < 0);
}
int main(int argc, char **argv)
{
	unsigned int types = 0;
	for (int round = 0; round < ROUNDS; round++) {
		double began = ms();
		struct btf *base = btf__parse(argv[1], NULL), *split;
		times[0][round] = ms() - began;
		began = ms();
		btf__find_str(base, "\1");
		times[1][round] = ms() - began;
		split = btf__new_empty_split(base);
		began = ms();
		if (btf__dedup(split, NULL))
			return 1;
		times[2][round] = ms() - began;
		types = btf__type_cnt(base);
		btf__free(split);
		btf__free(base);
	}
	printf("%u", types - 1);
	for (int part = 0; part < 3; part++) {
		qsort(times[part], ROUNDS, sizeof(double), order);
		printf(" %.1f", times[part][ROUNDS / 2]);
	}
	puts("");
	return 0;
}
"""


def main() -> None:
    """Print the three medians, without and with the tunables that kbtf-ci gives a pahole."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("vmlinux", type=Path, metavar="VMLINUX")
    parser.add_argument("--suite", default=DEFAULT_SUITE)
    options = parser.parse_args()
    runner = workspace.toolchain(options.suite, TerminalReporter(quiet=True)).runner
    kernel = read_kernel_file(options.vmlinux)
    script = "gcc -O2 -w -o /tmp/costs costs.c -l:libbpf.so.1 && exec /tmp/costs base.btf"
    with tempfile.TemporaryDirectory() as name:
        Path(name, "base.btf").write_bytes(kernel.btf)
        Path(name, "costs.c").write_text(_PROGRAM)
        for way, env in (("libbpf", {}), ("tunables", ALLOCATION)):
            command = Command(("sh", "-c", script), (Mount(Path(name), "/bench"),), env, workdir="/bench")
            done = run(runner, command)
            if done.status != 0:
                raise SystemExit(done.text)
            types, parsed, indexed, hashed = done.text.split()
            print(
                f"{way}: {kernel.release}: {types} types; "
                f"parsed {parsed} ms, strings indexed {indexed} ms, dedup of an empty split BTF {hashed} ms"
            )


if __name__ == "__main__":
    main()
