/* SPDX-FileCopyrightText: The kbtf-ci authors */
/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "bpf.h"

#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

enum {
	BTF_NAME = 64, /* as long as a module's may be */
};

char verifier_log[1 << 16];
int btf_fd = -1;
bool btf_is_vmlinux;

int bpf(enum bpf_cmd command, union bpf_attr *attr)
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

int btf_open(const char *wanted)
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

int program_load(union bpf_attr *attr, const struct bpf_insn *code, size_t count, int log_level)
{
	attr->insns = (uintptr_t)code;
	attr->insn_cnt = count;
	attr->license = (uintptr_t)"GPL";
	attr->log_level = log_level;
	attr->log_buf = log_level ? (uintptr_t)verifier_log : 0;
	attr->log_size = log_level ? sizeof(verifier_log) : 0;
	verifier_log[0] = 0;
	return bpf(BPF_PROG_LOAD, attr);
}

/* Whether a line of the log is the verifier's account of its own work. */
static bool is_account(const char *line)
{
	return !strncmp(line, "func#", 5) || !strncmp(line, "processed ", 10) ||
	       (*line >= '0' && *line <= '9');
}

void print_reason(void)
{
	char *rest = NULL, *line = strtok_r(verifier_log, "\n", &rest);

	while (line && (is_account(line) || strstr(line, " has btf_id ")))
		line = strtok_r(NULL, "\n", &rest);
	printf(" - ");
	for (; line && *line; line++)
		putchar(*line >= ' ' && *line <= '~' ? *line : '?');
}
