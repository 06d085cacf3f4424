/* SPDX-FileCopyrightText: The kbtf-ci authors */
/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Runs a command and keeps accounts of it (accounts.h).
 *
 *	kbtf-ci-account COMMAND...	of kind make; what COMMAND starts finds the programs of SHIMS first
 *	SHIMS/ld ...			of kind link, in the place of the ld behind it in PATH
 *	SHIMS/resolve_btfids ...	of kind ids, in the place of $KBTF_CI_RESOLVE_BTFIDS
 *
 * SHIMS holds links to this program by those names. A linker in the make variable LD would change the command
 * lines that kbuild remembers, and have everything linked again; one in PATH has the same name. In C, since it
 * runs twice a module, and the image's python3-minimal has no getrusage(2).
 */
#define _GNU_SOURCE
#include "accounts.h"

#define SHIMS "/usr/lib/kbtf-ci/accounted"

static int put_shims_first(void)
{
	const char *path = getenv("PATH");
	char *longer;

	if (asprintf(&longer, "%s:%s", SHIMS, path ? path : "/usr/bin:/bin") < 0)
		return -1;
	return setenv("PATH", longer, 1);
}

static int put_shims_away(void)
{
	const char *path = getenv("PATH");

	if (path && starts_with(path, SHIMS ":"))
		return setenv("PATH", path + strlen(SHIMS ":"), 1);
	return 0;
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

static int run(const char *program, char **argv)
{
	int status = 0;
	pid_t child = fork();

	if (child == 0) {
		execvp(program, argv);
		fprintf(stderr, "%s: %s\n", program, strerror(errno));
		_exit(127);
	}
	while (child > 0 && waitpid(child, &status, 0) < 0 && errno == EINTR)
		;
	return child < 0 ? 127 : shell_status(status);
}

int main(int argc, char **argv)
{
	const char *slash = strrchr(argv[0], '/'), *name = slash ? slash + 1 : argv[0];
	const char *resolver = variable("KBTF_CI_RESOLVE_BTFIDS");
	struct timespec began;
	int status;

	clock_gettime(CLOCK_MONOTONIC, &began);
	if (starts_with(name, "ld")) {
		put_shims_away();
		argv[0] = (char *)name;
		status = run(name, argv);
		tell("link", subject_of(argv), began);
	} else if (strcmp(name, "resolve_btfids") == 0) {
		status = run(resolver ? resolver : name, argv);
		tell("ids", subject_of(argv), began);
	} else if (argc > 1 && put_shims_first() == 0) {
		status = run(argv[1], argv + 1);
		tell("make", argv[1], began);
	} else {
		fprintf(stderr, "usage: %s COMMAND...\n", argv[0]);
		status = 127;
	}
	return status;
}
