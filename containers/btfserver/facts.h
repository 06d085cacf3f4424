/* SPDX-FileCopyrightText: The kbtf-ci authors */
/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What a file is known again by: what make would know it by, its inode and its change time, which no one can
 * set back.
 */
#ifndef KBTF_CI_FACTS_H
#define KBTF_CI_FACTS_H

#include <stdbool.h>
#include <stdint.h>
#include <string.h>
#include <sys/stat.h>

struct facts {
	uint64_t device, inode, size, modified_s, modified_ns, changed_s, changed_ns;
};

static inline struct facts facts_of(const struct stat *status)
{
	return (struct facts){
		status->st_dev,		 status->st_ino,	  status->st_size,
		status->st_mtim.tv_sec,	 status->st_mtim.tv_nsec, status->st_ctim.tv_sec,
		status->st_ctim.tv_nsec,
	};
}

static inline bool read_facts(const char *path, struct facts *facts)
{
	struct stat status;

	if (stat(path, &status))
		return false;
	*facts = facts_of(&status);
	return true;
}

static inline bool same_facts(const struct facts *one, const struct facts *other)
{
	return memcmp(one, other, sizeof(*one)) == 0;
}

#endif
