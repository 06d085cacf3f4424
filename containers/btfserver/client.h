/* SPDX-FileCopyrightText: The kbtf-ci authors */
/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef KBTF_CI_BTFSERVER_CLIENT_H
#define KBTF_CI_BTFSERVER_CLIENT_H

#include <stdbool.h>
#include <time.h>

#include "protocol.h"

/* Where a server is, or where one would be: folder of sockets, the pahole that is served, its base. */
struct server {
	const char *folder, *pahole, *base;
	long idle_s; /* after which it ends */
};

/*
 * Has a server run pahole, which writes what it says to the descriptor words; the first to ask starts it. Reads
 * nothing from words: its other end is read by the caller, until it ends, between this and finish_call().
 * Returns the call, or -1 with *why: then nothing was run.
 */
int begin_call(const struct server *server, char **argv, int words, const char **why);

/*
 * Waits for the call's end. False with *why where pahole did not come to an end of its own, which is then for
 * the caller to run. A signal that would end this process has the server's pahole killed, then ends it.
 */
bool finish_call(int call, struct response *response, const char **why);

#endif
