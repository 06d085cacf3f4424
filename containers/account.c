/* SPDX-FileCopyrightText: The kbtf-ci authors */
/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Runs a command and keeps accounts of it (accounts.h).
 *
 *	kbtf-ci-account COMMAND...	of kind make; what COMMAND starts finds the programs of SHIMS first
 *	SHIMS/ld ...			of kind link, in the place of the ld behind it in PATH; by any linker's name
 *	SHIMS/resolve_btfids ...	of kind ids, in the place of $KBTF_CI_RESOLVE_BTFIDS
 *
 * SHIMS holds links to this program by those names. A linker in the make variable LD would change the command
 * lines that kbuild remembers, and have everything linked again; one in PATH has the same name. In C, since it
 * runs twice a module, and the image's python3-minimal has no getrusage(2).
 */
#define _GNU_SOURCE
#include "accounts.h"
#include "process.h"

#ifndef SHIMS /* where programs are made outside of the image, the Makefile's caller says */
#define SHIMS "/usr/lib/kbtf-ci/accounted"
#endif

static bool put_shims_first(void)
{
	const char *path = getenv("PATH");
	char *longer;
	bool done;

	if (asprintf(&longer, "%s:%s", SHIMS, path ? path : "/usr/bin:/bin") < 0)
		return false;
	done = setenv("PATH", longer, 1) == 0;
	free(longer);
	return done;
}

/* What a linker starts belongs to it, so nothing below it finds the shims, wherever in PATH they are. */
static bool put_shims_away(void)
{
	const char *path = getenv("PATH");
	char *folders = strdup(path ? path : ""), *rest = folders, *folder;
	char *others = calloc(1, strlen(folders ? folders : "") + 1), *end = others;
	bool done = folders && others, first = true;

	while (done && (folder = strsep(&rest, ":"))) {
		if (strcmp(folder, SHIMS) == 0)
			continue;
		if (!first)
			*end++ = ':';
		end = stpcpy(end, folder);
		first = false;
	}
	if (done && path)
		done = setenv("PATH", others, 1) == 0;
	free(folders);
	free(others);
	return done;
}

/* What a linker or resolve_btfids works on: the file after -o, or the last word. */
static const char *subject_of(char **argv)
{
	const char *subject = argv[0];

	for (char **word = argv + 1; *word; word++) {
		subject = *word;
		if (strcmp(*word, "-o") == 0 && word[1])
			return word[1];
	}
	return subject;
}

/* ld, ld.bfd, ld.lld-19, s390x-linux-gnu-ld */
static bool is_linker(const char *name)
{
	return starts_with(name, "ld") || strstr(name, "-ld");
}

/* The program is looked for before PATH changes for what it starts in its turn. */
static int run(const char *name, bool change_path(void), char **argv)
{
	char *program = find_other(name);
	int status;
	pid_t child;

	if (!program)
		return not_run(name);
	child = change_path && !change_path() ? -1 : fork();
	if (child == 0) {
		execvp(program, argv);
		_exit(not_run(program));
	}
	status = child < 0 ? not_run(name) : wait_for(child);
	free(program);
	return status;
}

int main(int argc, char **argv)
{
	const char *slash = strrchr(argv[0], '/'), *name = slash ? slash + 1 : argv[0];
	const char *resolver = variable("KBTF_CI_RESOLVE_BTFIDS");
	struct timespec began;
	int status;

	clock_gettime(CLOCK_MONOTONIC, &began);
	keep_children();
	if (is_linker(name)) {
		argv[0] = (char *)name;
		status = run(name, put_shims_away, argv);
		tell("link", subject_of(argv), began);
	} else if (strcmp(name, "resolve_btfids") == 0) {
		status = run(resolver ? resolver : name, NULL, argv);
		tell("ids", subject_of(argv), began);
	} else if (argc > 1) {
		status = run(argv[1], put_shims_first, argv + 1);
		tell("make", argv[1], began);
	} else {
		fprintf(stderr, "usage: %s COMMAND...\n", argv[0]);
		status = STATUS_NOT_FOUND;
	}
	return status;
}
