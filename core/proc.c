/* SPDX-License-Identifier: GPL-2.0-or-later */
/* proc.c - limits, signals, the lock of the data folder, systemd's protocols, reading whole files.
 *
 * systemd's notify and socket protocols are a datagram and three environment variables, so no
 * library is linked for them. */
#include "core/proc.h"

#include "core/base/text.h"

#include <errno.h>
#include <fcntl.h>
#include <malloc.h>
#include <poll.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

enum { PASSED_FIRST = 3, PASSED_MAX = 256 };
/* Of the heap: larger blocks go back to the system by themselves; more than this is not kept free at
 * the end of an arena. */
enum { HEAP_MAP_BYTES = 1024 * 1024, HEAP_KEEP_BYTES = 2 * 1024 * 1024 };

static struct {
	struct {
		int fd;
		struct addr addr;
		char path[sizeof(((struct sockaddr_un *)0)->sun_path) + 1];
	} sockets[PASSED_MAX];
	unsigned count;
} passed;

static uint64_t env_number(const char *name, uint64_t max)
{
	const char *text = getenv(name);
	uint64_t n;

	return text && text_parse_uint(slice_str(text), max, &n) ? n : 0;
}

/* --- Start --- */

static void raise_files(void)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur < limit.rlim_max) {
		limit.rlim_cur = limit.rlim_max;
		(void)setrlimit(RLIMIT_NOFILE, &limit);
	}
}

unsigned proc_files_max(void)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &limit) != 0)
		return 1024;
	return (unsigned)MIN(limit.rlim_cur, (rlim_t)INT32_MAX);
}

/* A file opened later must never become descriptor 0, 1 or 2 by chance. */
static void open_standard(void)
{
	for (int fd = 0; fd <= 2; fd++)
		if (fcntl(fd, F_GETFD) < 0 && errno == EBADF)
			(void)!open("/dev/null", O_RDWR);
}

static void note_passed(int fd)
{
	struct sockaddr_storage sa;
	socklen_t len = sizeof(sa);
	int listening = 0;
	socklen_t opt_len = sizeof(listening);

	(void)fcntl(fd, F_SETFD, FD_CLOEXEC);
	if (passed.count == PASSED_MAX || getsockname(fd, (struct sockaddr *)&sa, &len) < 0 ||
		getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &listening, &opt_len) < 0 || !listening)
		return;
	unsigned i = passed.count++;

	passed.sockets[i].fd = fd;
	passed.sockets[i].addr = addr_from_sockaddr((struct sockaddr *)&sa, len);
	if (sa.ss_family == AF_UNIX) {
		const struct sockaddr_un *un = (const struct sockaddr_un *)&sa;

		memcpy(passed.sockets[i].path, un->sun_path, sizeof(un->sun_path));
		passed.sockets[i].addr.path = passed.sockets[i].path;
	}
}

/* sd_listen_fds(3): for us only if LISTEN_PID says so. */
static void note_all_passed(void)
{
	uint64_t count = env_number("LISTEN_FDS", 4096);

	if (env_number("LISTEN_PID", INT32_MAX) == (uint64_t)getpid())
		for (uint64_t i = 0; i < count; i++)
			note_passed(PASSED_FIRST + (int)i);
	unsetenv("LISTEN_FDS");
	unsetenv("LISTEN_PID");
	unsetenv("LISTEN_FDNAMES");
}

/* Left to itself glibc learns from the first large block that was freed to keep up to 64 MB of free
 * memory in each arena, and there is one for almost every thread. */
static void bound_heap(void)
{
#ifdef __GLIBC__
	mallopt(M_MMAP_THRESHOLD, HEAP_MAP_BYTES);
	mallopt(M_TRIM_THRESHOLD, HEAP_KEEP_BYTES);
#endif
}

void proc_start(void)
{
	struct sigaction ignore = { .sa_handler = SIG_IGN };

	bound_heap();
	open_standard();
	raise_files();
	umask(027);
	sigaction(SIGPIPE, &ignore, NULL);
	note_all_passed();
}

/* --- SIGBUS --- */

/* Which file it was cannot be said here: only what is safe in a handler is done. The first thread writes,
 * others wait for the end. Returning repeats the access, so that the end is the signal's own, at its place;
 * one that was sent by somebody is raised once more. */
static void on_bus(int number, siginfo_t *info, void *context)
{
	static const char text[] =
		"ringpost: a file of the data folder that is mapped into memory (an index) ended "
		"early or could not be read from the disk; look at the disk, run `ringpost fsck`\n";
	static atomic_flag told = ATOMIC_FLAG_INIT;
	struct sigaction act = { .sa_handler = SIG_DFL };

	(void)context;
	while (atomic_flag_test_and_set(&told))
		pause();
	if (info->si_code > 0 && info->si_code != BUS_ADRALN)
		(void)!write(STDERR_FILENO, text, sizeof(text) - 1);
	sigaction(number, &act, NULL);
	if (info->si_code <= 0)
		raise(number);
}

void proc_explain_bus(void)
{
	struct sigaction act = { .sa_sigaction = on_bus, .sa_flags = SA_SIGINFO };

	sigaction(SIGBUS, &act, NULL);
}

int proc_take_socket(const struct addr *addr)
{
	for (unsigned i = 0; i < passed.count; i++) {
		if (passed.sockets[i].fd < 0 || !addr_eq(&passed.sockets[i].addr, addr))
			continue;
		int fd = passed.sockets[i].fd;

		passed.sockets[i].fd = -1;
		return fd;
	}
	return -1;
}

/* --- Signals --- */

enum err proc_signals_open(int *out_fd)
{
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGINT);
	sigaddset(&set, SIGHUP);
	sigaddset(&set, SIGUSR1);
	if (pthread_sigmask(SIG_BLOCK, &set, NULL))
		return ERR_INVALID;
	int fd = signalfd(-1, &set, SFD_NONBLOCK | SFD_CLOEXEC);

	if (fd < 0)
		return errno == EMFILE || errno == ENFILE ? ERR_NOFILES : ERR_NOMEM;
	*out_fd = fd;
	return OK;
}

int proc_signals_next(int fd)
{
	struct signalfd_siginfo info;

	return read(fd, &info, sizeof(info)) == sizeof(info) ? (int)info.ssi_signo : 0;
}

int proc_signals_wait(int fd, msec timeout_ms)
{
	struct pollfd p = { .fd = fd, .events = POLLIN };

	if (poll(&p, 1, timeout_ms < 0 ? -1 : (int)MIN(timeout_ms, INT32_MAX)) <= 0)
		return 0;
	return proc_signals_next(fd);
}

/* --- Files --- */

static enum err file_error(int error)
{
	switch (error) {
	case ENOENT:
	case ENOTDIR:
		return ERR_NOT_FOUND;
	case EACCES:
	case EPERM:
		return ERR_DENIED;
	case EMFILE:
	case ENFILE:
		return ERR_NOFILES;
	case ENOSPC:
	case EDQUOT:
		return ERR_NOSPACE;
	case ENOMEM:
		return ERR_NOMEM;
	default:
		return ERR_IO;
	}
}

static enum err read_all(int fd, size_t max, struct out *o)
{
	char buf[16384];
	size_t total = 0;

	for (;;) {
		ssize_t n = read(fd, buf, sizeof(buf));

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return errno == EISDIR ? ERR_INVALID : file_error(errno);
		if (n == 0)
			return OK;
		total += (size_t)n;
		if (total > max)
			return ERR_TOO_LARGE;
		out_bytes(o, buf, (size_t)n);
		if (!out_ok(o))
			return ERR_NOMEM;
	}
}

enum err proc_read_file(const char *path, size_t max, struct out *o)
{
	int fd;
	enum err err = proc_open_read(path, &fd);

	if (err)
		return err;
	err = read_all(fd, max, o);
	close(fd);
	return err;
}

/* --- systemd --- */

void proc_notify(const char *state)
{
	const char *path = getenv("NOTIFY_SOCKET");
	struct sockaddr_un un = { .sun_family = AF_UNIX };
	size_t len = path ? strlen(path) : 0;

	if (len < 2 || len > sizeof(un.sun_path) || (path[0] != '/' && path[0] != '@'))
		return;
	memcpy(un.sun_path, path, len);
	/* '@' stands for the NUL of an abstract name. */
	if (path[0] == '@')
		un.sun_path[0] = 0;
	int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	if (fd < 0)
		return;
	(void)sendto(fd, state, strlen(state), MSG_NOSIGNAL, (struct sockaddr *)&un,
		(socklen_t)(offsetof(struct sockaddr_un, sun_path) + len));
	close(fd);
}

void proc_notify_reloading(void)
{
	struct timespec t;
	char text[80];

	clock_gettime(CLOCK_MONOTONIC, &t);
	snprintf(text, sizeof(text), "RELOADING=1\nMONOTONIC_USEC=%lld",
		(long long)t.tv_sec * 1000000 + t.tv_nsec / 1000);
	proc_notify(text);
}

msec proc_watchdog_ms(void)
{
	uint64_t pid = env_number("WATCHDOG_PID", INT32_MAX);

	if (pid && pid != (uint64_t)getpid())
		return 0;
	return (msec)(env_number("WATCHDOG_USEC", INT64_MAX) / 2000);
}

bool proc_credential(const char *name, char *buf, size_t cap)
{
	const char *folder = getenv("CREDENTIALS_DIRECTORY");

	if (!folder || strchr(name, '/'))
		return false;
	int len = snprintf(buf, cap, "%s/%s", folder, name);

	return len > 0 && (size_t)len < cap;
}

uint64_t proc_rss_bytes(void)
{
	unsigned long long total, resident;
	FILE *f = fopen("/proc/self/statm", "re");

	if (!f)
		return 0;
	int n = fscanf(f, "%llu %llu", &total, &resident);

	fclose(f);
	return n == 2 ? resident * (uint64_t)sysconf(_SC_PAGESIZE) : 0;
}
