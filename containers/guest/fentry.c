/* SPDX-FileCopyrightText: The kbtf-ci authors */
/* SPDX-License-Identifier: GPL-2.0-or-later */
/* fentry programs on functions. */
#define _GNU_SOURCE
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "bpf.h"
#include "prove.h"

enum {
	SLOTS = 16, /* 12 arguments, of which some take two */
	MULTI = 1024, /* functions of one line */
	LEVEL = 2, /* BPF_LOG_LEVEL2: with less the verifier forgets what it said of a program that it takes */
};

/* Loads a program for a function, 0 for none: reads of its arguments, and "return 0". */
static int fentry_load(int attach_type, uint32_t id, const int *slots, size_t count, bool logged)
{
	struct bpf_insn code[SLOTS + 2];
	union bpf_attr attr = {
		.prog_type = BPF_PROG_TYPE_TRACING,
		.expected_attach_type = attach_type,
		.attach_btf_id = id,
		.attach_btf_obj_fd = btf_fd,
	};

	for (size_t i = 0; i < count; i++)
		code[i] = (struct bpf_insn){
			.code = BPF_LDX | BPF_MEM | BPF_DW, .dst_reg = 0, .src_reg = 1, .off = 8 * slots[i]
		};
	code[count] = (struct bpf_insn){ .code = BPF_ALU64 | BPF_MOV | BPF_K, .dst_reg = 0, .imm = 0 };
	code[count + 1] = (struct bpf_insn){ .code = BPF_JMP | BPF_EXIT };
	return program_load(&attr, code, count + 2, logged ? LEVEL : 0);
}

/* Of "func 'f' arg0 has btf_id 2953 type STRUCT 'nf_conn'", once for each argument: kernel/bpf/btf.c, btf_ctx_access(). */
static void print_arguments(void)
{
	for (const char *at = verifier_log; (at = strstr(at, "' arg")); at++) {
		unsigned int argument, id;

		if (sscanf(at, "' arg%u has btf_id %u type", &argument, &id) == 2)
			printf(" %u:%u", argument, id);
	}
}

static size_t numbers_of(char **rest, uint32_t *numbers, size_t room)
{
	size_t count = 0;

	for (char *word; count < room && (word = strtok_r(NULL, " \n", rest));)
		numbers[count++] = strtoul(word, NULL, 10);
	return count;
}

void answer_load(const char *word, char **rest)
{
	uint32_t id = strtoul(word, NULL, 10), numbers[SLOTS];
	size_t count = numbers_of(rest, numbers, SLOTS);
	int slots[SLOTS], fd;

	for (size_t i = 0; i < count; i++)
		slots[i] = numbers[i];
	/* Its words take most of the time, and only on arguments are they of use. */
	fd = fentry_load(BPF_TRACE_FENTRY, id, slots, count, count > 0);
	if (fd < 0 && !count)
		fd = fentry_load(BPF_TRACE_FENTRY, id, slots, count, true);
	printf("load %u %d", id, fd < 0 ? errno : 0);
	if (fd < 0) {
		print_reason();
	} else {
		print_arguments();
		close(fd);
	}
	putchar('\n');
}

/* The link that was made last: it and those before it stay till the end, since a detach takes long. */
static int link_fd = -1;

void answer_attach(const char *word, char **rest)
{
	uint32_t id = strtoul(word, NULL, 10);
	int fd = fentry_load(BPF_TRACE_FENTRY, id, NULL, 0, false), error = fd < 0 ? errno : 0;

	(void)rest;
	if (fd >= 0) {
		union bpf_attr attr = { .raw_tracepoint = { .prog_fd = fd } };

		link_fd = bpf(BPF_RAW_TRACEPOINT_OPEN, &attr);
		error = link_fd < 0 ? errno : 0;
		close(fd);
	}
	printf("attach %u %d\n", id, error);
}

void answer_detach(const char *word, char **rest)
{
	int error = link_fd < 0 ? EBADF : close(link_fd) ? errno : 0;

	(void)rest;
	link_fd = -1;
	printf("detach %s %d\n", word, error);
}

/* What include/uapi/linux/bpf.h of 7.2 has in link_create, which the headers that this is built with may lack. */
struct tracing_multi {
	uint32_t prog_fd, target_fd, attach_type, flags;
	uint64_t ids, cookies;
	uint32_t count, unused;
};

/* Attaches a program to all of these functions; the link stays till the end. An errno, 0 for none. */
static int multi_attach(int program, int attach_type, const uint32_t *ids, size_t count)
{
	struct tracing_multi wanted = {
		.prog_fd = program, .attach_type = attach_type, .ids = (uintptr_t)ids, .count = count
	};
	union bpf_attr attr = { 0 };

	memcpy(&attr, &wanted, sizeof(wanted));
	return bpf(BPF_LINK_CREATE, &attr) < 0 ? errno : 0;
}

/* As it is all or nothing, those in the way are found by halves. */
static void multi_attach_most(int program, int attach_type, const uint32_t *ids, size_t count)
{
	int error = multi_attach(program, attach_type, ids, count);

	if (!error)
		return;
	if (count == 1) {
		printf(" %u:%d", *ids, error);
		return;
	}
	multi_attach_most(program, attach_type, ids, count / 2);
	multi_attach_most(program, attach_type, ids + count / 2, count - count / 2);
}

void answer_multi(const char *word, char **rest)
{
	uint32_t ids[MULTI];
	size_t count = numbers_of(rest, ids, MULTI);
	int attach_type = atoi(word), fd = fentry_load(attach_type, 0, NULL, 0, false);

	printf("multi %s %d", word, fd < 0 ? errno : 0);
	if (fd >= 0) {
		if (count)
			multi_attach_most(fd, attach_type, ids, count);
		close(fd);
	}
	putchar('\n');
}
