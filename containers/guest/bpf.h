/* SPDX-FileCopyrightText: The kbtf-ci authors */
/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What all that prove.c does stands on: bpf(2), BTF of the kernel's by name, and the verifier's words. */
#ifndef KBTF_CI_BPF_H
#define KBTF_CI_BPF_H

#include <linux/bpf.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* A program's length in instructions. */
#define COUNT(array) (sizeof(array) / sizeof(*(array)))

/* The BTF whose types the lines mean: -1 for none. */
extern int btf_fd;

/* Whether that is vmlinux's, whose functions a call names otherwise than a module's. */
extern bool btf_is_vmlinux;

int bpf(enum bpf_cmd command, union bpf_attr *attr);

/* A descriptor of the BTF of that name, -1 with errno where the kernel has none. */
int btf_open(const char *wanted);

/* Loads a program, at this level of the verifier's words, 0 for none. A descriptor, or -1 with errno. */
int program_load(union bpf_attr *attr, const struct bpf_insn *code, size_t count, int log_level);

/* The verifier's words on the last program that was loaded with a level. */
extern char verifier_log[1 << 16];

/* Prints the first of them that says why a program was refused, without what a terminal should not see. */
void print_reason(void);

#endif
