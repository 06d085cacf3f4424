/* SPDX-FileCopyrightText: The kbtf-ci authors */
/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Whether BPF programs can use what a module's BTF describes: its functions (fentry.c) and its kfuncs (kfunc.c).
 *
 * Reads lines, and answers each with one, which begins with its first two words:
 *
 *   btf NAME              whose types the next lines mean: a module's, or vmlinux's. "btf NAME ERRNO"
 *
 *   load ID [SLOT...]     loads a program for the function with that type id, which reads these 8-byte slots of
 *                         its arguments. "load ID ERRNO [ARGUMENT:TYPE_ID...]", with what the verifier takes
 *                         each argument that points to a struct for; or "load ID ERRNO - THE VERIFIER'S WORDS"
 *   attach ID             loads one that reads nothing and attaches it, till the end. "attach ID ERRNO"
 *   detach ID             takes that off again, which must be the last one attached. "detach ID ERRNO"
 *   multi TYPE ID...      attaches one program of that attach type (BPF_TRACE_FENTRY_MULTI) to all of them, till
 *                         the end. "multi TYPE ERRNO [ID:ERRNO...]", with those that it was not attached to
 *
 *   program NAME TYPE ATTACH_TYPE FLAGS [ID]
 *                         of what type the programs of the next lines are; ID is vmlinux's type that they are
 *                         for. Loads one that does nothing. "program NAME ERRNO [- WORDS]"
 *   call ID               loads one that calls the kfunc with that type id, without arguments. "call ID ERRNO
 *                         [- WORDS]"
 *   dead ID               loads one that never comes to its call of it. "dead ID ERRNO [- WORDS]"
 *   live NAME ID...       runs the program of that name, which calls these. "live NAME ERRNO 0:WHAT_IT_RETURNED",
 *                         or "live NAME ERRNO - WORDS"
 *
 * It never judges; ERRNO is 0 where the kernel did it.
 */
#define _GNU_SOURCE
#include "prove.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "bpf.h"

static void answer_btf(const char *name, char **rest)
{
	(void)rest;
	if (btf_fd >= 0)
		close(btf_fd);
	btf_fd = btf_open(name);
	btf_is_vmlinux = !strcmp(name, "vmlinux");
	printf("btf %s %d\n", name, btf_fd < 0 ? errno : 0);
}

static const struct {
	const char *command;
	void (*answer)(const char *word, char **rest);
} questions[] = {
	{ "btf", answer_btf },	     { "load", answer_load },	{ "attach", answer_attach },
	{ "detach", answer_detach }, { "multi", answer_multi }, { "program", answer_program },
	{ "call", answer_call },     { "dead", answer_dead },	{ "live", answer_live },
};

static void answer(char *line)
{
	char *rest = NULL, *command = strtok_r(line, " \n", &rest), *word = strtok_r(NULL, " \n", &rest);

	for (size_t i = 0; command && word && i < COUNT(questions); i++)
		if (!strcmp(command, questions[i].command)) {
			questions[i].answer(word, &rest);
			return;
		}
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
