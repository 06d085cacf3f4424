/* SPDX-FileCopyrightText: The kbtf-ci authors */
/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Asks the server that holds a base for one run of pahole (protocol.h). */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "client.h"
#include "start.h"

#define PATIENCE_MS 60000 /* for a server to parse its base, and to have a child */
#define TRIES 2 /* a server may end just when it is asked */

static const int ending[] = { SIGINT, SIGTERM, SIGHUP };
static volatile sig_atomic_t asked_call = -1, got_signal;

static void on_signal(int number)
{
	got_signal = number;
	if (asked_call >= 0)
		shutdown(asked_call, SHUT_WR);
}

static void heed_signals(int call)
{
	struct sigaction action = { .sa_handler = on_signal, .sa_flags = SA_RESTART }, before;

	asked_call = call;
	for (size_t i = 0; i < sizeof(ending) / sizeof(*ending); i++)
		if (sigaction(ending[i], NULL, &before) == 0 && before.sa_handler == SIG_DFL)
			sigaction(ending[i], &action, NULL);
}

/* Ends this process as the signal would have, if one came. */
static void obey_signals(void)
{
	asked_call = -1;
	if (!got_signal)
		return;
	signal(got_signal, SIG_DFL);
	raise(got_signal);
}

/* ---- the request ---- */

static size_t put_strings(char *buffer, char **strings, uint32_t *count)
{
	size_t size = 0;

	for (*count = 0; strings[*count]; ++*count) {
		size_t length = strlen(strings[*count]) + 1;

		if (buffer)
			memcpy(buffer + size, strings[*count], length);
		size += length;
	}
	return size;
}

static bool fill_request(struct request *request, char **argv, char **strings)
{
	size_t arguments = put_strings(NULL, argv, &request->arguments);
	size_t variables = put_strings(NULL, environ, &request->variables);

	if (arguments + variables > STRINGS_BYTES || !(*strings = malloc(arguments + variables)))
		return false;
	put_strings(*strings, argv, &request->arguments);
	put_strings(*strings + arguments, environ, &request->variables);
	request->protocol = PROTOCOL;
	request->bytes = arguments + variables;
	request->mask = umask(0);
	umask(request->mask);
	for (int i = 0; i < RLIM_NLIMITS; i++)
		getrlimit(i, &request->limits[i]);
	return true;
}

static bool send_whole(int call, const char *data, size_t size)
{
	while (size) {
		ssize_t put = send(call, data, size, MSG_NOSIGNAL);

		if (put < 0 && errno == EINTR)
			continue;
		if (put <= 0)
			return false;
		data += put;
		size -= put;
	}
	return true;
}

static bool send_head(int call, const struct request *request, const int fds[REQUEST_FDS])
{
	union {
		struct cmsghdr header;
		char bytes[CMSG_SPACE(sizeof(int) * REQUEST_FDS)];
	} control = { 0 };
	struct iovec part = { (void *)request, sizeof(*request) };
	struct msghdr message = {
		.msg_iov = &part, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof(control)
	};
	struct cmsghdr *header = CMSG_FIRSTHDR(&message);
	ssize_t put;

	header->cmsg_level = SOL_SOCKET;
	header->cmsg_type = SCM_RIGHTS;
	header->cmsg_len = CMSG_LEN(sizeof(int) * REQUEST_FDS);
	memcpy(CMSG_DATA(header), fds, sizeof(int) * REQUEST_FDS);
	do
		put = sendmsg(call, &message, MSG_NOSIGNAL);
	while (put < 0 && errno == EINTR);
	return put > 0 && send_whole(call, (const char *)request + put, sizeof(*request) - put);
}

static bool send_request(int call, char **argv, int words)
{
	struct request request = { 0 };
	char *strings = NULL;
	int folder = open(".", O_PATH | O_DIRECTORY | O_CLOEXEC);
	int fds[REQUEST_FDS] = { folder, 0, words, words };
	bool done = folder >= 0 && fill_request(&request, argv, &strings) && send_head(call, &request, fds) &&
		    send_whole(call, strings, request.bytes);

	free(strings);
	if (folder >= 0)
		close(folder);
	return done;
}

/* ---- the answer ---- */

/* No server accepts after it was no longer waited for: shut down, the socket takes no more of it. */
static bool accepted(int call)
{
	struct pollfd polled = { call, POLLIN, 0 };
	char answer = 0;
	int ready;

	do
		ready = poll(&polled, 1, PATIENCE_MS);
	while (ready < 0 && errno == EINTR && !got_signal);
	if (ready <= 0)
		shutdown(call, SHUT_RDWR);
	return read_whole(call, &answer, 1) && answer == ACCEPTED;
}

int begin_call(const struct server *server, char **argv, int words, const char **why)
{
	for (int i = 0; i < TRIES; i++) {
		int call = reach_server(server, why);

		if (call < 0)
			return -1;
		heed_signals(call);
		if (send_request(call, argv, words) && accepted(call))
			return call;
		obey_signals();
		close(call);
	}
	*why = "the server did not take the call";
	return -1;
}

bool finish_call(int call, struct response *response, const char **why)
{
	bool answered = read_whole(call, response, sizeof(*response));

	obey_signals();
	close(call);
	if (answered && WIFEXITED(response->status))
		return true;
	*why = answered ? "its pahole was killed" : "the server is gone";
	return false;
}
