/* SPDX-FileCopyrightText: The kbtf-ci authors */
/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What client.c and the server in pahole (serve.c) say to each other, on a stream socket on one machine.
 *
 *	client	struct request with four descriptors (below), then its arguments and its environment,
 *		each string with its terminator
 *	server	ACCEPTED, when pahole is about to run; then struct response, when it has ended
 *
 * A client that closes its half, or ends, has its pahole killed; it is answered then, too. An end of the stream
 * before ACCEPTED means that nothing was run, after it that the server is gone.
 */
#ifndef KBTF_CI_BTFSERVER_PROTOCOL_H
#define KBTF_CI_BTFSERVER_PROTOCOL_H

#include <stdint.h>
#include <sys/resource.h>

#include "../accounts.h"

#define PROTOCOL 1
#define ACCEPTED 'a'
#define STRINGS_BYTES (16 << 20) /* more than execve(2) takes by default */
#define STATUS_REFUSED 125 /* of a server or a child that runs no pahole */

/* What the server's process is started with. */
#define LISTENING 3 /* the descriptor of its socket */
#define SERVED_BASE "KBTF_CI_SERVED_BASE" /* the file with the base BTF, absolute */
#define SERVED_IDLE "KBTF_CI_SERVED_IDLE" /* seconds without a call after which it ends */

enum { FD_FOLDER, FD_STDIN, FD_STDOUT, FD_STDERR, REQUEST_FDS };

struct request {
	uint32_t protocol, arguments, variables, bytes, mask;
	struct rlimit limits[RLIM_NLIMITS];
};

/* status is waitpid(2)'s; spent is pahole's, and the server's on it. */
struct response {
	int status;
	struct spent spent;
};

/* False where the stream ends before. */
static inline bool read_whole(int fd, void *data, size_t size)
{
	char *at = data;

	while (size) {
		ssize_t got = read(fd, at, size);

		if (got < 0 && errno == EINTR)
			continue;
		if (got <= 0)
			return false;
		at += got;
		size -= got;
	}
	return true;
}

#endif
