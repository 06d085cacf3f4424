/* SPDX-FileCopyrightText: The kbtf-ci authors */
/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Finds the server of a base, by a name that its pahole and its base have, and starts it. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "facts.h"
#include "folder.h"
#include "protocol.h"
#include "start.h"

#ifndef SERVER_LIBRARY /* where it is elsewhere, the Makefile's caller says */
#define SERVER_LIBRARY "/usr/lib/kbtf-ci/kbtf-ci-pahole-server.so"
#endif
#define WAITING 4096 /* callers, while the base is parsed */
#define NAME_BYTES 80
/*
 * glibc's: memory in large pages and never given back, since a fork and an end cost by the page, and most of what
 * a short-lived pahole spends on memory is its first touch.
 */
#define TUNABLES                                                                                             \
	"glibc.malloc.hugetlb=1:glibc.malloc.arena_max=1:glibc.malloc.top_pad=16777216:"                     \
	"glibc.malloc.mmap_threshold=4294967296:glibc.malloc.trim_threshold=17179869184"

/* FNV-1a, 64 bits: a name, not a proof; the server itself looks whether it is the right one (serve.c). */
static uint64_t hash(uint64_t sum, const void *data, size_t size)
{
	const unsigned char *at = data;

	while (size--)
		sum = (sum ^ *at++) * 0x100000001b3;
	return sum;
}

/* By what the server must be of: pahole, library, base, and the files that paths name here. */
static bool make_name(const struct server *server, char name[NAME_BYTES])
{
	const char *paths[] = { server->pahole, SERVER_LIBRARY, server->base };
	uint64_t sum = 0xcbf29ce484222325;
	struct facts facts;
	struct stat place;

	/* A namespace has no times of its own. */
	if (stat("/proc/self/ns/mnt", &place))
		return false;
	sum = hash(sum, &place.st_ino, sizeof(place.st_ino));
	for (size_t i = 0; i < sizeof(paths) / sizeof(*paths); i++) {
		if (!read_facts(paths[i], &facts))
			return false;
		sum = hash(sum, &facts, sizeof(facts));
	}
	/* The base once more, as it is: two of them shall not meet in one name. */
	snprintf(name, NAME_BYTES, "%016llx-%llx-%llx", (unsigned long long)sum,
		 (unsigned long long)facts.device, (unsigned long long)facts.inode);
	return true;
}

/* With what is above it; where that cannot be, opening it fails. */
static void make_folder(const char *path)
{
	char *folders = strdup(path);

	for (char *slash = folders; slash && (slash = strchr(slash + 1, '/')); *slash = '/') {
		*slash = '\0';
		mkdir(folders, 0700);
	}
	mkdir(path, 0700);
	free(folders);
}

/* The folder, this user's own; -1 where another one might put sockets into it. */
static int open_folder(const char *path)
{
	struct stat status;
	int fd;

	make_folder(path);
	fd = open(path, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (fd >= 0 && (fstat(fd, &status) || status.st_uid != geteuid() || status.st_mode & 022)) {
		close(fd);
		return -1;
	}
	return fd;
}

/* A socket's path may have 107 bytes, and folders have longer ones. */
static struct sockaddr_un address(int folder, const char *name)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };

	snprintf(address.sun_path, sizeof(address.sun_path), "/proc/self/fd/%d/%s", folder, name);
	return address;
}

static int connect_to(int folder, const char *name)
{
	struct sockaddr_un there = address(folder, name);
	struct ucred peer;
	socklen_t size = sizeof(peer);
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (fd < 0)
		return -1;
	if (connect(fd, (struct sockaddr *)&there, sizeof(there)) == 0 &&
	    getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &size) == 0 && peer.uid == geteuid())
		return fd;
	close(fd);
	return -1;
}

static int listen_at(int folder, const char *name)
{
	struct sockaddr_un here = address(folder, name);
	mode_t mask = umask(0177);
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	unlinkat(folder, name, 0);
	if (fd >= 0 && (bind(fd, (struct sockaddr *)&here, sizeof(here)) || listen(fd, WAITING))) {
		close(fd);
		fd = -1;
	}
	umask(mask);
	return fd;
}

/* Becomes the server: nothing of the caller's is left in it, make's jobserver least of all. */
static void become_server(const struct server *server, const char *base, int listening)
{
	char *argv[] = { (char *)server->pahole, NULL }, idle[24];
	int null = open("/dev/null", O_RDWR);

	snprintf(idle, sizeof(idle), "%ld", server->idle_s);
	if (null < 0 || dup2(null, 0) < 0 || dup2(null, 1) < 0 || dup2(null, 2) < 0)
		return;
	if (listening == LISTENING ? fcntl(listening, F_SETFD, 0) : dup2(listening, LISTENING) < 0)
		return;
	if (close_range(LISTENING + 1, ~0U, 0) || chdir("/") || setenv(SERVED_BASE, base, 1) ||
	    setenv(SERVED_IDLE, idle, 1) || setenv("GLIBC_TUNABLES", TUNABLES, 1) ||
	    setenv("LD_PRELOAD", SERVER_LIBRARY, 1))
		return;
	execv(server->pahole, argv);
}

/* Its parent is not this process but init: nobody here waits for it. */
static bool start(const struct server *server, int listening)
{
	char *base = realpath(server->base, NULL);
	int status = -1;
	pid_t child = base ? fork() : -1;

	if (child == 0) {
		if (setsid() < 0 || (child = fork()) < 0)
			_exit(1);
		if (child == 0) {
			become_server(server, base, listening);
			_exit(STATUS_REFUSED);
		}
		_exit(0);
	}
	if (child > 0)
		while (waitpid(child, &status, 0) < 0 && errno == EINTR)
			;
	free(base);
	return status == 0;
}

/* Under the lock, so that of many that ask at once one starts it. */
static int start_and_connect(const struct server *server, int folder, const char *name)
{
	char lock_name[NAME_BYTES + 8];
	int lock, listening, call = -1;

	snprintf(lock_name, sizeof(lock_name), "%s.lock", name);
	lock = openat(folder, lock_name, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (lock < 0)
		return -1;
	if (flock(lock, LOCK_EX) == 0 && (call = connect_to(folder, name)) < 0 &&
	    (listening = listen_at(folder, name)) >= 0) {
		tidy_folder(folder);
		if (start(server, listening))
			call = connect_to(folder, name);
		close(listening);
	}
	close(lock);
	return call;
}

int reach_server(const struct server *server, const char **why)
{
	char name[NAME_BYTES];
	int folder, call;

	if (!make_name(server, name)) {
		*why = "pahole, its base or the server's library cannot be read";
		return -1;
	}
	folder = open_folder(server->folder);
	if (folder < 0) {
		*why = "the folder for its socket is not this user's alone";
		return -1;
	}
	call = connect_to(folder, name);
	if (call < 0)
		call = start_and_connect(server, folder, name);
	close(folder);
	if (call < 0)
		*why = "it cannot be started";
	return call;
}
