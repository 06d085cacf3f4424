/* SPDX-FileCopyrightText: The kbtf-ci authors */
/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Finds a folder for the sockets of servers, and keeps it from growing. */
#define _GNU_SOURCE
#include <dirent.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "folder.h"

#define OLD_S (7 * 24 * 3600L) /* a server that is older loses its name, and the next caller starts another */

#ifdef SERVES
/* "su" and "sudo -E" leave the variables of another user, in whose folders a socket of ours is only in the way. */
static bool is_own_folder(const char *path)
{
	struct stat status;

	return path && *path == '/' && stat(path, &status) == 0 && S_ISDIR(status.st_mode) &&
	       status.st_uid == geteuid();
}

/* For a user without any it is one that cannot be: each call then says that no server did it. */
static const char *default_folder(void)
{
	static char *folder;
	const char *above = getenv("XDG_RUNTIME_DIR"), *below = "/kbtf-ci";

	if (!is_own_folder(above)) {
		above = getenv("HOME");
		below = "/.cache/kbtf-ci/btf-server";
	}
	if (!is_own_folder(above)) {
		above = "/dev/null";
		below = "";
	}
	if (!folder && asprintf(&folder, "%s%s", above, below) < 0)
		folder = NULL;
	return folder;
}
#else
static const char *default_folder(void)
{
	return NULL;
}
#endif

const char *server_folder(void)
{
	const char *named = getenv("KBTF_CI_BTF_SERVER");

	if (named)
		return *named ? named : NULL;
	return default_folder();
}

/* By its name (start.c) and its kind: whoever names a folder may keep files of his own there. */
static bool is_left_over(const char *name, const struct stat *status)
{
	size_t digits = strspn(name, "0123456789abcdef"), whole = strspn(name, "0123456789abcdef-");

	if (digits != 16 || name[digits] != '-' || time(NULL) - status->st_mtime <= OLD_S)
		return false;
	if (S_ISSOCK(status->st_mode))
		return name[whole] == '\0';
	return S_ISREG(status->st_mode) && status->st_size == 0 && strcmp(name + whole, ".lock") == 0;
}

void tidy_folder(int folder)
{
	int again = openat(folder, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *listing = again < 0 ? NULL : fdopendir(again);
	struct dirent *entry;
	struct stat status;

	while (listing && (entry = readdir(listing)))
		if (fstatat(again, entry->d_name, &status, AT_SYMLINK_NOFOLLOW) == 0 &&
		    is_left_over(entry->d_name, &status))
			unlinkat(again, entry->d_name, 0);
	if (listing)
		closedir(listing);
	else if (again >= 0)
		close(again);
}
