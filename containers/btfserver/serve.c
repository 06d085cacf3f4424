/* SPDX-FileCopyrightText: The kbtf-ci authors */
/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Preloaded into an unmodified pahole, makes a server of it: one process that holds vmlinux's BTF, parsed and
 * its strings indexed, and forks for each module a child in which pahole's own main() runs.
 *
 * That works for a pahole whose libbpf is shared. Four functions are put in the place of those that pahole finds
 * in its libraries:
 *
 *	__libc_start_main()	to learn where main() is, and to serve instead
 *	btf__parse()		answers for the base, as it lies on the disk now, with what is parsed already
 *	btf__free()		leaves that alone
 *	system()		has objcopy run without a shell
 *
 * pahole is GPL-2.0-only: nothing is linked to this but libc.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "../accounts.h"
#include "dedup.h"
#include "facts.h"
#include "protocol.h"

#define CALLS 512 /* that run at once; make's -j is what bounds them */
#define FILES 64 /* this process is made of */
#define TICK_MS 1000 /* after which an idle server looks whether it is still right */
#define SETTLED_NS 100000000LL /* a file changed again within a clock's tick would not show */
#define PATIENCE_S 10 /* for a client to send its request whole */
#define OBJCOPY_WORDS 32

struct btf;
struct btf_ext;
typedef int main_function(int, char **, char **);

static main_function *pahole_main;
static struct btf *base;
static struct facts base_facts;

/* ---- what pahole finds in the place of its libraries' functions ---- */

static void *next(const char *name)
{
	return dlsym(RTLD_NEXT, name);
}

struct btf *btf__parse(const char *path, struct btf_ext **ext)
{
	struct btf *(*real)(const char *, struct btf_ext **) = next("btf__parse");
	struct facts now;

	if (base && !ext && read_facts(path, &now) && same_facts(&now, &base_facts))
		return base;
	return real(path, ext);
}

void btf__free(struct btf *btf)
{
	void (*real)(struct btf *) = next("btf__free");

	if (!base || btf != base)
		real(btf);
}

/* As words, NULL behind them; false for what only a shell understands. */
static bool split_words(char *text, char *words[OBJCOPY_WORDS])
{
	size_t count = 0;
	char *rest = NULL;

	if (strpbrk(text, "\\'\"`$&|;<>()[]{}*?!#~\n") || strchr(text, '=') < strstr(text, " --add-section "))
		return false;
	for (char *word = strtok_r(text, " \t", &rest); word; word = strtok_r(NULL, " \t", &rest)) {
		if (count == OBJCOPY_WORDS - 1)
			return false;
		words[count++] = word;
	}
	words[count] = NULL;
	return count > 0;
}

/* pahole calls this for "OBJCOPY --add-section .BTF=FILE MODULE" alone (btf_encoder__write_elf). */
int system(const char *command)
{
	int (*real)(const char *) = next("system");
	char *text = command ? strdup(command) : NULL, *words[OBJCOPY_WORDS];
	int status;
	pid_t child;

	if (!text || !split_words(text, words) ||
	    posix_spawnp(&child, words[0], NULL, NULL, words, environ)) {
		free(text);
		return real(command);
	}
	free(text);
	while (waitpid(child, &status, 0) < 0)
		if (errno != EINTR)
			return -1;
	return status;
}

/* ---- what the server is made of, and whether that is still so ---- */

static struct {
	char *path;
	struct facts facts;
} files[FILES];
static size_t file_count;

static bool watch(const char *path)
{
	for (size_t i = 0; i < file_count; i++)
		if (strcmp(files[i].path, path) == 0)
			return true;
	if (file_count == FILES || !read_facts(path, &files[file_count].facts))
		return false;
	files[file_count].path = strdup(path);
	return files[file_count++].path != NULL;
}

/* The programs and libraries in memory: of a newer one on the disk, a newer pahole would be made. */
static bool watch_mapped_files(void)
{
	char line[PATH_MAX + 128], *path, *end;
	FILE *maps = fopen("/proc/self/maps", "re");
	bool done = maps != NULL;

	while (done && fgets(line, sizeof(line), maps)) {
		path = strchr(line, '/');
		end = strchr(line, '\n');
		if (!path || !end)
			continue;
		*end = '\0';
		done = watch(path);
	}
	if (maps)
		fclose(maps);
	return done;
}

static bool still_right(void)
{
	struct facts now;

	for (size_t i = 0; i < file_count; i++)
		if (!read_facts(files[i].path, &now) || !same_facts(&now, &files[i].facts))
			return false;
	return true;
}

/* ---- the base ---- */

/* Waits until a change of the file would change its time, too; false where it is not there. */
static bool let_settle(const char *path)
{
	struct timespec now;
	struct stat status;
	long long age;

	for (;;) {
		if (stat(path, &status) || clock_gettime(CLOCK_REALTIME, &now))
			return false;
		age = (now.tv_sec - status.st_ctim.tv_sec) * 1000000000LL + now.tv_nsec -
		      status.st_ctim.tv_nsec;
		if (age < 0 || age > SETTLED_NS)
			return true;
		usleep(SETTLED_NS / 10000);
	}
}

/* Parses the base and has libbpf index its strings, which it does when it is first asked for one. */
static bool load_base(const char *path)
{
	struct btf *(*parse)(const char *, struct btf_ext **) = next("btf__parse");
	int (*find)(struct btf *, const char *) = next("btf__find_str");
	struct btf *parsed;

	if (!parse || !find || !let_settle(path) || !watch(path) || !read_facts(path, &base_facts))
		return false;
	parsed = parse(path, NULL);
	if (!parsed || (uintptr_t)parsed >= (uintptr_t)-4095)
		return false;
	find(parsed, "\1");
	prepare_dedup(parsed);
	base = parsed;
	return still_right();
}

/* ---- one call, in a child ---- */

static bool receive(int call, struct request *request, int fds[REQUEST_FDS])
{
	union {
		struct cmsghdr header;
		char bytes[CMSG_SPACE(sizeof(int) * REQUEST_FDS)];
	} control;
	struct iovec part = { request, sizeof(*request) };
	struct msghdr message = {
		.msg_iov = &part, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof(control)
	};
	struct cmsghdr *header;
	ssize_t got;

	do
		got = recvmsg(call, &message, MSG_CMSG_CLOEXEC);
	while (got < 0 && errno == EINTR);
	header = CMSG_FIRSTHDR(&message);
	if (got <= 0 || !header || header->cmsg_type != SCM_RIGHTS ||
	    header->cmsg_len != CMSG_LEN(sizeof(int) * REQUEST_FDS))
		return false;
	memcpy(fds, CMSG_DATA(header), sizeof(int) * REQUEST_FDS);
	return read_whole(call, (char *)request + got, sizeof(*request) - got) &&
	       request->protocol == PROTOCOL && request->arguments && request->bytes <= STRINGS_BYTES;
}

/* As many strings as are asked for, with NULL behind them; *at moves behind the last. NULL where they are not there. */
static char **take_strings(char **at, const char *end, size_t count)
{
	char **strings = count < (size_t)(end - *at) + 1 ? calloc(count + 1, sizeof(*strings)) : NULL;

	for (size_t i = 0; strings && i < count; i++) {
		char *terminator = memchr(*at, '\0', end - *at);

		if (!terminator)
			return NULL;
		strings[i] = *at;
		*at = terminator + 1;
	}
	return strings;
}

static bool take_limits(const struct request *request)
{
	for (int i = 0; i < RLIM_NLIMITS; i++)
		if (setrlimit(i, &request->limits[i]))
			return false;
	umask(request->mask);
	return true;
}

static bool take_descriptors(const int fds[REQUEST_FDS])
{
	return fchdir(fds[FD_FOLDER]) == 0 && dup2(fds[FD_STDIN], 0) >= 0 && dup2(fds[FD_STDOUT], 1) >= 0 &&
	       dup2(fds[FD_STDERR], 2) >= 0;
}

/* Becomes what the client asks for and runs pahole; returns only where that cannot be done. */
static void run_call(int call, pid_t server)
{
	struct timeval patience = { PATIENCE_S, 0 };
	struct request request;
	char *strings, *at, **argv, accepted = ACCEPTED;
	int fds[REQUEST_FDS];
	sigset_t none;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	setsockopt(call, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
	if (getppid() != server || !receive(call, &request, fds) ||
	    !(at = strings = malloc(request.bytes + 1)) || !read_whole(call, strings, request.bytes) ||
	    !(argv = take_strings(&at, strings + request.bytes, request.arguments)) ||
	    !(environ = take_strings(&at, strings + request.bytes, request.variables)) ||
	    !take_descriptors(fds) || !take_limits(&request))
		return;
	if (send(call, &accepted, 1, MSG_NOSIGNAL) != 1 || close_range(3, ~0U, 0))
		return;
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	signal(SIGPIPE, SIG_DFL);
	exit(pahole_main(request.arguments, argv, environ));
}

/* ---- the server ---- */

static struct {
	pid_t child;
	int fd;
} calls[CALLS];
static size_t call_count;
static bool right = true; /* until it is found to be of other files than there are now */

/* What the server has spent since it was last asked. */
static void own_time(struct response *response)
{
	static long long user, system;
	struct rusage own;
	const struct timeval none = { 0, 0 };

	getrusage(RUSAGE_SELF, &own);
	response->spent.user_us += microseconds(own.ru_utime, none) - user;
	response->spent.system_us += microseconds(own.ru_stime, none) - system;
	user = microseconds(own.ru_utime, none);
	system = microseconds(own.ru_stime, none);
}

static void begin_call(int listening)
{
	int fd = accept4(listening, NULL, NULL, SOCK_CLOEXEC);
	pid_t child, server = getpid();

	if (fd < 0)
		return;
	right = still_right();
	/* Whoever is refused asks again, and is not to find this one once more. */
	if (!right)
		shutdown(listening, SHUT_RD);
	child = right && call_count < CALLS ? fork() : -1;
	if (child == 0) {
		setpgid(0, 0);
		run_call(fd, server);
		_exit(STATUS_REFUSED);
	}
	if (child < 0) {
		close(fd);
		return;
	}
	calls[call_count].child = child;
	calls[call_count++].fd = fd;
}

static void end_calls(void)
{
	struct response response;
	struct rusage used;
	int status;
	pid_t child;

	while ((child = wait4(-1, &status, WNOHANG, &used)) > 0)
		for (size_t i = 0; i < call_count; i++) {
			if (calls[i].child != child)
				continue;
			response = (struct response){ status,
						      { microseconds(used.ru_utime, (struct timeval){ 0 }),
							microseconds(used.ru_stime, (struct timeval){ 0 }),
							used.ru_maxrss } };
			own_time(&response);
			send(calls[i].fd, &response, sizeof(response), MSG_NOSIGNAL | MSG_DONTWAIT);
			close(calls[i].fd);
			calls[i] = calls[--call_count];
			break;
		}
}

static void kill_call(pid_t child)
{
	kill(-child, SIGKILL);
	kill(child, SIGKILL);
}

/* Waits for whatever comes; false when nothing came for a tick. */
static bool serve_once(int listening, int signals, bool open)
{
	struct pollfd polled[CALLS + 2];
	struct signalfd_siginfo ignored;
	size_t polled_calls = call_count;

	polled[0] = (struct pollfd){ open ? listening : -1, POLLIN, 0 };
	polled[1] = (struct pollfd){ signals, POLLIN, 0 };
	for (size_t i = 0; i < polled_calls; i++)
		polled[i + 2] = (struct pollfd){ calls[i].fd, POLLRDHUP, 0 };
	if (poll(polled, polled_calls + 2, TICK_MS) <= 0)
		return false;
	for (size_t i = 0; i < polled_calls; i++)
		if (polled[i + 2].revents)
			kill_call(calls[i].child);
	if (polled[1].revents) {
		while (read(signals, &ignored, sizeof(ignored)) > 0)
			;
		end_calls();
	}
	if (polled[0].revents)
		begin_call(listening);
	return true;
}

static int child_signals(void)
{
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGCHLD);
	sigprocmask(SIG_BLOCK, &set, NULL);
	return signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
}

/* Serves until nobody asked for so long, or until it is no longer what a new pahole would be. */
static void serve(int listening, long idle_s)
{
	long idle_ms = 0;
	int signals = child_signals();
	bool open = signals >= 0;

	while (open || call_count) {
		bool busy = serve_once(listening, signals, open);

		idle_ms = busy || call_count ? 0 : idle_ms + TICK_MS;
		right = right && (busy || still_right());
		if (open && (!right || idle_ms >= idle_s * 1000)) {
			open = false;
			close(listening);
		}
	}
}

static int serve_main(int argc, char **argv, char **environment)
{
	const char *path = getenv(SERVED_BASE), *idle = getenv(SERVED_IDLE);
	struct timespec began;

	(void)argc, (void)argv, (void)environment;
	clock_gettime(CLOCK_MONOTONIC, &began);
	unsetenv("LD_PRELOAD");
	if (!watch_mapped_files() || !load_base(path))
		return STATUS_REFUSED;
	tell("server", path, began);
	own_time(&(struct response){ 0 });
	serve(LISTENING, idle ? atol(idle) : 1);
	return 0;
}

int __libc_start_main(main_function *main, int argc, char **argv, void (*init)(void), void (*fini)(void),
		      void (*rtld_fini)(void), void *stack_end)
{
	int (*real)(main_function *, int, char **, void (*)(void), void (*)(void), void (*)(void), void *) =
		next("__libc_start_main");

	pahole_main = main;
	return real(getenv(SERVED_BASE) ? serve_main : main, argc, argv, init, fini, rtld_fini, stack_end);
}
