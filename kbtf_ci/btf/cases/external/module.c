// SPDX-FileCopyrightText: The kbtf-ci authors
// SPDX-License-Identifier: GPL-2.0-or-later

/* An out-of-tree module with types, a function and names of its own, and others of vmlinux's. */

#include <linux/list.h>
#include <linux/module.h>

struct kbtf_ci_one {
	struct list_head list;
	int answer;
};

int kbtf_ci_answer(struct kbtf_ci_one *one);

noinline int kbtf_ci_answer(struct kbtf_ci_one *one)
{
	return one->answer;
}

static int __init kbtf_ci_init(void)
{
	struct kbtf_ci_one one = { .answer = 42 };

	return kbtf_ci_answer(&one) == 42 ? 0 : -EINVAL;
}

static void __exit kbtf_ci_exit(void)
{
}

module_init(kbtf_ci_init);
module_exit(kbtf_ci_exit);
MODULE_DESCRIPTION("what kbtf-ci builds outside of a kernel tree");
MODULE_LICENSE("GPL");
