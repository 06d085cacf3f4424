/* SPDX-FileCopyrightText: The kbtf-ci authors */
/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * How a program that stands in another's place finds that other, becomes it, and waits for it.
 *
 * It never becomes itself, whatever PATH or a variable says: each round would fork once more, without end.
 */
#ifndef KBTF_CI_PROCESS_H
#define KBTF_CI_PROCESS_H

#include <errno.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define STATUS_NOT_FOUND 127 /* a shell's */

/* Whether the file is this very program, by whatever name; what cannot be told counts as such. */
static inline bool is_self(const char *path)
{
	struct stat self, other;

	return stat("/proc/self/exe", &self) || stat(path, &other) ||
	       (self.st_dev == other.st_dev && self.st_ino == other.st_ino);
}

/* 0 where the file can be run, or why not: ELOOP for this program itself. */
static inline int trouble_with(const char *path)
{
	struct stat status;

	if (stat(path, &status))
		return errno;
	if (!S_ISREG(status.st_mode) || access(path, X_OK))
		return EACCES;
	return is_self(path) ? ELOOP : 0;
}

/* The path of a file that can be run, as a new string; or NULL, and *why is set unless there is no such file. */
static inline char *runnable(const char *folder, const char *name, int *why)
{
	char *path;
	int trouble;

	if (asprintf(&path, "%s%s%s", folder, *folder ? "/" : "", name) < 0) {
		*why = ENOMEM;
		return NULL;
	}
	trouble = trouble_with(path);
	if (!trouble)
		return path;
	free(path);
	if (trouble != ENOENT && trouble != ENOTDIR)
		*why = trouble;
	return NULL;
}

/*
 * The file that execvp(3) would run by this name if this program were not there: a new string, or NULL with
 * errno, which is ELOOP where there is no other.
 */
static inline char *find_other(const char *name)
{
	const char *path = getenv("PATH");
	char *folders, *rest, *folder, *found = NULL;
	int why = ENOENT;

	if (strchr(name, '/')) {
		found = runnable("", name, &why);
	} else {
		folders = rest = strdup(path ? path : "/bin:/usr/bin");
		while (!found && (folder = strsep(&rest, ":")))
			found = runnable(*folder ? folder : ".", name, &why);
		free(folders);
	}
	errno = why;
	return found;
}

/* One line that says why find_other() or an exec failed, and the exit status that a shell gives for it. */
static inline int not_run(const char *name)
{
	fprintf(stderr, "%s: %s\n", name,
		errno == ELOOP ? "there is none besides kbtf-ci's own, which only stands in its place" :
				 strerror(errno));
	return STATUS_NOT_FOUND;
}

/* Turns this process into that program; returns the exit status to end with where it cannot. */
static inline int become(const char *name, char **argv)
{
	char *program = find_other(name); /* lost, but this process ends either way */

	if (program)
		execvp(program, argv);
	return not_run(name);
}

/* Whoever ignores SIGCHLD hands that on, and a child's exit status would be lost. */
static inline void keep_children(void)
{
	signal(SIGCHLD, SIG_DFL);
}

/* Waits for a child and returns its exit status as a shell gives it. */
static inline int wait_for(pid_t child)
{
	int status;

	while (waitpid(child, &status, 0) < 0)
		if (errno != EINTR)
			return not_run("waitpid");
	return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

#endif
