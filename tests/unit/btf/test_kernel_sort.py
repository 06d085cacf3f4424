# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""lib/sort.c in Python, against the C code's own results."""

import random
import shutil
import subprocess

import pytest

from kbtf_ci.btf.rules.kernel_sort import kernel_sort
from tests.conftest import unavailable

# sort_r() of Linux 6.12, with unit-sized elements {key, number}; reads a count and keys, prints the numbers.
SOURCE = r"""
#include <stdio.h>
struct item { int key, number; } v[64];
static int cmp(int a, int b) { return v[a].key - v[b].key; }
static void swap(int a, int b) { struct item t = v[a]; v[a] = v[b]; v[b] = t; }
static int parent(int i) { i -= 1; i -= 1 & -(i & 1); return i / 2; }
static void sort(int num)
{
	int n = num, a = num / 2, shift = 0;
	if (!a)
		return;
	for (;;) {
		int b, c, d;
		if (a)
			a -= 1 << shift;
		else if (n > 3) {
			n--;
			swap(0, n);
			shift = cmp(1, 2) <= 0;
			a = 1 << shift;
			n--;
			swap(a, n);
		} else
			break;
		for (b = a; c = 2 * b + 1, (d = c + 1) < n;)
			b = cmp(c, d) > 0 ? c : d;
		if (d == n)
			b = c;
		while (b != a && cmp(a, b) >= 0)
			b = parent(b);
		c = b;
		while (b != a) {
			b = parent(b);
			swap(b, c);
		}
	}
	n--;
	swap(0, n);
	if (n == 2 && cmp(0, 1) > 0)
		swap(0, 1);
}
int main(void)
{
	int count;
	while (scanf("%d", &count) == 1) {
		for (int i = 0; i < count; i++) {
			if (scanf("%d", &v[i].key) != 1)
				return 1;
			v[i].number = i;
		}
		sort(count);
		for (int i = 0; i < count; i++)
			printf("%d ", v[i].number);
		puts("");
	}
}
"""


@pytest.fixture(scope="module")
def original(tmp_path_factory):
    gcc = shutil.which("gcc") or unavailable("gcc", "the kernel's own sort is not built: there is no gcc")
    target = tmp_path_factory.mktemp("sort") / "sort"
    flags = ["-O2", "-Wall", "-Wextra", "-Werror"]
    subprocess.run([gcc, *flags, "-x", "c", "-", "-o", target], input=SOURCE.encode(), check=True)
    return target


def test_equal_elements_come_out_in_the_kernels_order(original):
    rng = random.Random(1)
    cases = [[rng.randrange(spread) for _ in range(size)] for size in range(40) for spread in (1, 2, 5, 1000)]
    lines = "".join(f"{len(keys)} {' '.join(map(str, keys))}\n" for keys in cases)
    done = subprocess.run([original], input=lines.encode(), capture_output=True, check=True)
    expected = [[int(word) for word in line.split()] for line in done.stdout.decode().splitlines()]
    found = [
        [
            number
            for _, number in kernel_sort([(key, n) for n, key in enumerate(keys)], lambda a, b: a[0] - b[0])
        ]
        for keys in cases
    ]
    assert found == expected
    stable = [sorted(range(len(keys)), key=keys.__getitem__) for keys in cases]
    assert found != stable
