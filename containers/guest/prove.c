/* SPDX-FileCopyrightText: The kbtf-ci authors */
/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Whether BPF programs can use what a module's BTF describes: fentry programs, one a function.
 *
 * Reads lines, and answers each with one:
 *
 *   btf NAME           whose functions the next lines mean: a module's, or vmlinux's. "btf NAME ERRNO"
 *   load ID [SLOT...]  loads a program for the function with that type id, which reads these 8-byte slots of its
 *                      arguments. "load ID ERRNO [ARGUMENT:TYPE_ID...]", with what the verifier takes each
 *                      argument that points to a struct for; or "load ID ERRNO - THE VERIFIER'S WORDS"
 *   attach ID          loads one that reads nothing and attaches it, till the end. "attach ID ERRNO"
 *   detach ID          takes that off again, which must be the last one attached. "detach ID ERRNO"
 *
 * It never judges; ERRNO is 0 where the kernel did it.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <linux/bpf.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

enum {
	LOG_BYTES = 1 << 16,
	SLOTS = 16, /* 12 arguments, of which some take two */
	LEVEL = 2, /* BPF_LOG_LEVEL2: with less the verifier forgets what it said of a program that it takes */
	BTF_NAME = 64, /* as long as a module's may be */
};

static char verifier_log[LOG_BYTES];

/* What the lines mean: -1 for none. */
static int btf_fd = -1;

static int bpf(enum bpf_cmd command, union bpf_attr *attr)
{
	return syscall(SYS_bpf, command, attr, sizeof(*attr));
}

/* The name of a BTF object of the kernel's own; "" for a program's. */
static int btf_name(int fd, char name[BTF_NAME])
{
	struct bpf_btf_info info = { .name = (uintptr_t)name, .name_len = BTF_NAME };
	union bpf_attr attr = { .info = {
					.bpf_fd = fd, .info_len = sizeof(info), .info = (uintptr_t)&info } };

	name[0] = 0;
	if (bpf(BPF_OBJ_GET_INFO_BY_FD, &attr))
		return -1;
	if (!info.kernel_btf)
		name[0] = 0;
	return 0;
}

/* A descriptor of the BTF of that name, -1 with errno where the kernel has none. */
static int btf_open(const char *wanted)
{
	union bpf_attr next = { .start_id = 0 };
	char name[BTF_NAME];

	while (!bpf(BPF_BTF_GET_NEXT_ID, &next)) {
		union bpf_attr attr = { .btf_id = next.next_id };
		int fd = bpf(BPF_BTF_GET_FD_BY_ID, &attr);

		next.start_id = next.next_id;
		if (fd < 0)
			continue; /* gone meanwhile */
		if (!btf_name(fd, name) && !strcmp(name, wanted))
			return fd;
		close(fd);
	}
	return -1;
}

static void answer_btf(const char *name)
{
	if (btf_fd >= 0)
		close(btf_fd);
	btf_fd = btf_open(name);
	printf("btf %s %d\n", name, btf_fd < 0 ? errno : 0);
}

/* Loads a program for a function: reads of its arguments, and "return 0". A descriptor, or -1 with errno. */
static int program_load(uint32_t id, const int *slots, size_t count, bool logged)
{
	struct bpf_insn code[SLOTS + 2];
	union bpf_attr attr = {
		.prog_type = BPF_PROG_TYPE_TRACING,
		.expected_attach_type = BPF_TRACE_FENTRY,
		.insns = (uintptr_t)code,
		.insn_cnt = count + 2,
		.license = (uintptr_t)"GPL",
		.log_buf = logged ? (uintptr_t)verifier_log : 0,
		.log_size = logged ? LOG_BYTES : 0,
		.log_level = logged ? LEVEL : 0,
		.attach_btf_id = id,
		.attach_btf_obj_fd = btf_fd,
	};

	for (size_t i = 0; i < count; i++)
		code[i] = (struct bpf_insn){
			.code = BPF_LDX | BPF_MEM | BPF_DW, .dst_reg = 0, .src_reg = 1, .off = 8 * slots[i]
		};
	code[count] = (struct bpf_insn){ .code = BPF_ALU64 | BPF_MOV | BPF_K, .dst_reg = 0, .imm = 0 };
	code[count + 1] = (struct bpf_insn){ .code = BPF_JMP | BPF_EXIT };
	verifier_log[0] = 0;
	return bpf(BPF_PROG_LOAD, &attr);
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

/* Whether a line of the log is the verifier's account of its own work. */
static bool is_account(const char *line)
{
	return !strncmp(line, "func#", 5) || !strncmp(line, "processed ", 10) ||
	       (*line >= '0' && *line <= '9');
}

/* The first line that says why a program was refused, without what a terminal should not see. */
static void print_reason(void)
{
	char *rest = NULL, *line = strtok_r(verifier_log, "\n", &rest);

	while (line && (is_account(line) || strstr(line, " has btf_id ")))
		line = strtok_r(NULL, "\n", &rest);
	printf(" - ");
	for (; line && *line; line++)
		putchar(*line >= ' ' && *line <= '~' ? *line : '?');
}

static void answer_load(uint32_t id, const int *slots, size_t count)
{
	/* Its words take most of the time, and only on arguments are they of use. */
	int fd = program_load(id, slots, count, count > 0);

	if (fd < 0 && !count)
		fd = program_load(id, slots, count, true);
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

static void answer_attach(uint32_t id)
{
	int fd = program_load(id, NULL, 0, false), error = fd < 0 ? errno : 0;

	if (fd >= 0) {
		union bpf_attr attr = { .raw_tracepoint = { .prog_fd = fd } };

		link_fd = bpf(BPF_RAW_TRACEPOINT_OPEN, &attr);
		error = link_fd < 0 ? errno : 0;
		close(fd);
	}
	printf("attach %u %d\n", id, error);
}

static void answer_detach(uint32_t id)
{
	int error = link_fd < 0 ? EBADF : close(link_fd) ? errno : 0;

	link_fd = -1;
	printf("detach %u %d\n", id, error);
}

static size_t slots_of(char **rest, int slots[SLOTS])
{
	size_t count = 0;

	for (char *word = strtok_r(NULL, " ", rest); word && count < SLOTS; word = strtok_r(NULL, " ", rest))
		slots[count++] = atoi(word);
	return count;
}

static void answer(char *line)
{
	char *rest = NULL, *command = strtok_r(line, " \n", &rest), *word = strtok_r(NULL, " \n", &rest);
	int slots[SLOTS] = { 0 };

	if (!command || !word)
		printf("error\n");
	else if (!strcmp(command, "btf"))
		answer_btf(word);
	else if (!strcmp(command, "load"))
		answer_load(strtoul(word, NULL, 10), slots, slots_of(&rest, slots));
	else if (!strcmp(command, "attach"))
		answer_attach(strtoul(word, NULL, 10));
	else if (!strcmp(command, "detach"))
		answer_detach(strtoul(word, NULL, 10));
	else
		printf("error\n");
}

int main(void)
{
	struct rlimit links = { .rlim_cur = 1 << 20, .rlim_max = 1 << 20 };
	char *line = NULL;
	size_t room = 0;

	setrlimit(RLIMIT_NOFILE, &links); /* one a module stays open; where it may not, EMFILE tells */
	while (getline(&line, &room, stdin) > 0)
		answer(line);
	free(line);
	return fflush(stdout) || ferror(stdout) ? 1 : 0;
}
