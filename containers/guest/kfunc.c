/* SPDX-FileCopyrightText: The kbtf-ci authors */
/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Programs that call kfuncs. */
#define _GNU_SOURCE
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "bpf.h"
#include "prove.h"

enum {
	CALLED = 4, /* kfuncs of one program */
	PACKET = 64, /* bytes of what a program is run on */
	CONNTRACK_OPTIONS =
		12, /* struct bpf_ct_opts, as short as every kernel takes it (nf_conntrack_bpf.c) */
};

#define MOV(reg, value) { .code = BPF_ALU64 | BPF_MOV | BPF_K, .dst_reg = (reg), .imm = (value) }
#define COPY(reg, from) { .code = BPF_ALU64 | BPF_MOV | BPF_X, .dst_reg = (reg), .src_reg = (from) }
#define ADD(reg, value) { .code = BPF_ALU64 | BPF_ADD | BPF_K, .dst_reg = (reg), .imm = (value) }
#define NEGATE(reg) { .code = BPF_ALU64 | BPF_NEG, .dst_reg = (reg) }
#define STORE(size, at, value)                                                                               \
	{ .code = BPF_ST | BPF_MEM | (size), .dst_reg = 10, .off = (at), .imm = (value) }
#define LOAD(size, reg, at)                                                                                  \
	{ .code = BPF_LDX | BPF_MEM | (size), .dst_reg = (reg), .src_reg = 10, .off = (at) }
#define IF_ZERO(reg, skipped) { .code = BPF_JMP | BPF_JEQ | BPF_K, .dst_reg = (reg), .off = (skipped) }
#define EXIT { .code = BPF_JMP | BPF_EXIT }
/* The type id of the kfunc is filled in. */
#define CALL(number) { .code = BPF_JMP | BPF_CALL, .src_reg = BPF_PSEUDO_KFUNC_CALL, .imm = (number) }

/* Of what type programs are: what "program" said. */
static struct {
	int type, attach_type, flags;
	uint32_t id;
} kind;

/* Loads a program of that type, whose calls are to these kfuncs, by their place in ``ids``. */
static int kind_load(struct bpf_insn *code, size_t count, const uint32_t *ids, int log_level)
{
	int descriptors[] = { btf_fd, btf_fd };
	union bpf_attr attr = {
		.prog_type = kind.type,
		.expected_attach_type = kind.attach_type,
		.prog_flags = kind.flags,
		.attach_btf_id = kind.id,
		.fd_array = (uintptr_t)descriptors,
	};

	for (size_t i = 0; i < count; i++)
		if (code[i].code == (BPF_JMP | BPF_CALL)) {
			code[i].off = btf_is_vmlinux ? 0 : 1; /* of the descriptors, where 0 is vmlinux */
			code[i].imm = ids[code[i].imm];
		}
	return program_load(&attr, code, count, log_level);
}

static void print_outcome(const char *command, const char *word, int fd)
{
	printf("%s %s %d", command, word, fd < 0 ? errno : 0);
	if (fd < 0)
		print_reason();
	else
		close(fd);
	putchar('\n');
}

void answer_program(const char *word, char **rest)
{
	struct bpf_insn code[] = { MOV(0, 0), EXIT };
	int numbers[4] = { 0 };

	for (size_t i = 0; i < COUNT(numbers); i++) {
		const char *number = strtok_r(NULL, " \n", rest);

		numbers[i] = number ? atoi(number) : 0;
	}
	kind.type = numbers[0];
	kind.attach_type = numbers[1];
	kind.flags = numbers[2];
	kind.id = numbers[3];
	print_outcome("program", word, kind_load(code, COUNT(code), NULL, 1));
}

void answer_call(const char *word, char **rest)
{
	struct bpf_insn code[] = { CALL(0), MOV(0, 0), EXIT };
	uint32_t id = strtoul(word, NULL, 10);

	(void)rest;
	print_outcome("call", word, kind_load(code, COUNT(code), &id, 1));
}

/* The verifier resolves every kfunc that a program names, and follows only what can be reached. */
void answer_dead(const char *word, char **rest)
{
	struct bpf_insn code[] = { MOV(0, 0), IF_ZERO(0, 1), CALL(0), MOV(0, 0), EXIT };
	uint32_t id = strtoul(word, NULL, 10);

	(void)rest;
	print_outcome("dead", word, kind_load(code, COUNT(code), &id, 1));
}

/* A connection that there is not: it returns the ENOENT that the lookup leaves in its options. */
static const struct bpf_insn conntrack[] = {
	STORE(BPF_DW, -16, 0), /* struct bpf_sock_tuple, its IPv4 part */
	STORE(BPF_DW, -8, 0),
	STORE(BPF_DW, -32, 0), /* struct bpf_ct_opts */
	STORE(BPF_DW, -24, 0),
	STORE(BPF_W, -32, -1), /* of this network namespace */
	STORE(BPF_B, -24, 6), /* TCP */
	COPY(2, 10),
	ADD(2, -16),
	MOV(3, 12),
	COPY(4, 10),
	ADD(4, -32),
	MOV(5, CONNTRACK_OPTIONS),
	CALL(0),
	IF_ZERO(0, 4),
	COPY(1, 0),
	CALL(1),
	MOV(0, 0),
	EXIT,
	LOAD(BPF_W, 0, -28),
	NEGATE(0),
	EXIT,
};

/* Makes a mask and gives it back: it returns 1, and 0 where there was no memory. */
static const struct bpf_insn cpumask[] = {
	CALL(0), IF_ZERO(0, 3), COPY(1, 0), CALL(1), MOV(0, 1), EXIT,
};

static const struct {
	const char *name;
	const struct bpf_insn *code;
	size_t count, called;
	bool packet;
} programs[] = {
	{ "conntrack", conntrack, COUNT(conntrack), 2, true },
	{ "cpumask", cpumask, COUNT(cpumask), 2, false },
};

/* Runs a program once, on a packet of zeroes where it takes one. */
static void print_run(int fd, bool packet)
{
	static char data[PACKET];
	union bpf_attr attr = { .test = { .prog_fd = fd } };
	int error;

	if (packet) {
		attr.test.data_in = (uintptr_t)data;
		attr.test.data_size_in = sizeof(data);
	}
	error = bpf(BPF_PROG_TEST_RUN, &attr) ? errno : 0;
	printf("%d 0:%d", error, (int)attr.test.retval);
}

/* Where in ``programs`` that of a name is which calls so many kfuncs; behind the last where none is. */
static size_t program_named(const char *name, size_t called)
{
	size_t i = 0;

	while (i < COUNT(programs) && (strcmp(name, programs[i].name) || called != programs[i].called))
		i++;
	return i;
}

void answer_live(const char *word, char **rest)
{
	struct bpf_insn code[COUNT(conntrack)];
	uint32_t ids[CALLED] = { 0 };
	size_t called = 0, found;
	int fd;

	for (char *id; called < CALLED && (id = strtok_r(NULL, " \n", rest));)
		ids[called++] = strtoul(id, NULL, 10);
	found = program_named(word, called);
	if (found == COUNT(programs)) {
		printf("live %s %d - no such program\n", word, EINVAL);
		return;
	}
	memcpy(code, programs[found].code, programs[found].count * sizeof(*code));
	fd = kind_load(code, programs[found].count, ids, 1);
	printf("live %s ", word);
	if (fd < 0) {
		printf("%d", errno);
		print_reason();
	} else {
		print_run(fd, programs[found].packet);
		close(fd);
	}
	putchar('\n');
}
