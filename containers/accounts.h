/* SPDX-FileCopyrightText: The kbtf-ci authors */
/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Accounts of what a program and its children cost, for kbtf_ci/kernel/accounts.py: each ends in one line of
 * the file that KBTF_CI_ACCOUNTS names,
 *
 *	KIND, what, user, system and wall time in us, peak memory in KiB
 *
 * with tabs between. Without the variable none are kept.
 */
#ifndef KBTF_CI_ACCOUNTS_H
#define KBTF_CI_ACCOUNTS_H

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

static inline const char *variable(const char *name)
{
	const char *value = getenv(name);

	return value && *value ? value : NULL;
}

static inline bool starts_with(const char *text, const char *start)
{
	return strncmp(text, start, strlen(start)) == 0;
}

static inline bool write_all(int fd, const void *data, size_t size)
{
	const char *at = data;

	while (size) {
		ssize_t put = write(fd, at, size);

		if (put < 0 && errno == EINTR)
			continue;
		if (put <= 0)
			return false;
		at += put;
		size -= put;
	}
	return true;
}

static inline long long microseconds(struct timeval a, struct timeval b)
{
	return (a.tv_sec + b.tv_sec) * 1000000LL + a.tv_usec + b.tv_usec;
}

static inline long long microseconds_since(struct timespec began)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (now.tv_sec - began.tv_sec) * 1000000LL + (now.tv_nsec - began.tv_nsec) / 1000;
}

/* Times in us, memory in KiB. */
struct spent {
	long long user_us, system_us;
	long peak_kib;
};

/* What this process and its children spent. */
static inline struct spent spent_here(void)
{
	struct rusage own, children;

	getrusage(RUSAGE_SELF, &own);
	getrusage(RUSAGE_CHILDREN, &children);
	return (struct spent){
		microseconds(own.ru_utime, children.ru_utime),
		microseconds(own.ru_stime, children.ru_stime),
		own.ru_maxrss > children.ru_maxrss ? own.ru_maxrss : children.ru_maxrss,
	};
}

/* A line that does not fit is left out: half a path would be another file's. */
static inline void tell_spent(const char *kind, const char *subject, struct timespec began,
			      struct spent spent)
{
	const char *path = variable("KBTF_CI_ACCOUNTS");
	char line[PATH_MAX + 128];
	int length, fd;

	if (!path)
		return;
	length = snprintf(line, sizeof(line), "%s\t%s\t%lld\t%lld\t%lld\t%ld\n", kind, subject, spent.user_us,
			  spent.system_us, microseconds_since(began), spent.peak_kib);
	if (length < 0 || length >= (int)sizeof(line))
		return;
	/* Nor may a file's name look like the end of a field or of a line. */
	for (char *at = line + strlen(kind) + 1, *end = at + strlen(subject); at < end; at++)
		if ((unsigned char)*at < ' ')
			*at = '?';
	fd = open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0644);
	if (fd < 0)
		return;
	write_all(fd, line, length);
	close(fd);
}

static inline void tell(const char *kind, const char *subject, struct timespec began)
{
	tell_spent(kind, subject, began, spent_here());
}

#endif
