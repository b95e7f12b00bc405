/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Being a daemon: the lock, signals, systemd's protocols, and the root helper that hands over
 * only what its rules allow. */
#include "core/proc.h"

#include "tests/support/tmpdir.h"

#include <criterion/criterion.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

static struct tmpdir dir;
static char path[512];

static void set_up(void)
{
	tmpdir_make(&dir);
	tmpdir_file(&dir, "x", path, sizeof(path));
}

static void tear_down(void)
{
	tmpdir_remove(&dir);
}

TestSuite(proc, .init = set_up, .fini = tear_down);

static void write_file(const char *text)
{
	FILE *f = fopen(path, "w");

	cr_assert(f);
	fputs(text, f);
	fclose(f);
}

#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
enum { BLOCKS = 2048, BLOCK_BYTES = 16 * 1024 };

static size_t resident(void)
{
	FILE *f = fopen("/proc/self/statm", "r");
	unsigned long all = 0, here = 0;

	cr_assert(f && fscanf(f, "%lu %lu", &all, &here) == 2);
	fclose(f);
	return here * (size_t)sysconf(_SC_PAGESIZE);
}

/* A large block first: from it glibc learns what to keep. */
static void *use_and_free(void *arg)
{
	static char *blocks[BLOCKS];
	size_t large = 24 * 1024 * 1024;

	for (unsigned i = 0; i < 2; i++)
		free(memset(malloc(large), 1, large));
	for (unsigned i = 0; i < BLOCKS; i++)
		blocks[i] = memset(malloc(BLOCK_BYTES), 1, BLOCK_BYTES);
	*(size_t *)arg = resident();
	for (unsigned i = BLOCKS; i-- > 0;)
		free(blocks[i]);
	return NULL;
}

Test(proc, what_was_freed_goes_back)
{
	pthread_t thread;
	size_t most = 0;

	proc_start();
	pthread_create(&thread, NULL, use_and_free, &most);
	pthread_join(thread, NULL);
	cr_expect_lt(resident(), most - (size_t)BLOCKS * BLOCK_BYTES / 4 * 3);
}
#endif

Test(proc, files_are_read_whole_or_not)
{
	struct out o = out_heap(100);

	cr_expect_eq(proc_read_file(path, 10, &o), ERR_NOT_FOUND);
	write_file("0123456789");
	cr_expect_eq(proc_read_file(path, 9, &o), ERR_TOO_LARGE);
	o.len = 0;
	cr_expect_eq(proc_read_file(path, 10, &o), OK);
	cr_expect(slice_eq(out_written(&o), SLICE("0123456789")));
	/* Neither a folder nor a pipe, on which a read could wait. */
	cr_expect_eq(proc_read_file(dir.path, 10, &o), ERR_INVALID);
	unlink(path);
	cr_assert_eq(mkfifo(path, 0600), 0);
	cr_expect_eq(proc_read_file(path, 10, &o), ERR_INVALID);
	out_heap_done(&o);
}

Test(proc, signals_come_by_descriptor)
{
	int fd;

	proc_start();
	cr_assert_eq(proc_signals_open(&fd), OK);
	cr_expect_eq(proc_signals_next(fd), 0);
	kill(getpid(), SIGHUP);
	cr_expect_eq(proc_signals_wait(fd, 10000), SIGHUP);
	cr_expect_eq(proc_signals_next(fd), 0);
	cr_expect(proc_files_max() >= 1024);
	close(fd);
}

/* A socket as the service manager's. */
static int notify_socket(void)
{
	struct sockaddr_un un = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_DGRAM, 0);

	snprintf(un.sun_path, sizeof(un.sun_path), "%s", path);
	cr_assert_eq(bind(fd, (struct sockaddr *)&un, sizeof(un)), 0);
	setenv("NOTIFY_SOCKET", path, 1);
	return fd;
}

Test(proc, tells_the_service_manager)
{
	char buf[256];

	unsetenv("NOTIFY_SOCKET");
	proc_notify("READY=1");
	int fd = notify_socket();

	proc_notify("READY=1");
	ssize_t n = recv(fd, buf, sizeof(buf), MSG_DONTWAIT);

	cr_expect(n == 7 && memcmp(buf, "READY=1", 7) == 0);
	proc_notify_reloading();
	n = recv(fd, buf, sizeof(buf), MSG_DONTWAIT);
	cr_expect(n > 28 && memcmp(buf, "RELOADING=1\nMONOTONIC_USEC=", 27) == 0);
	close(fd);
}

Test(proc, watchdog_and_credentials)
{
	char buf[600];

	setenv("WATCHDOG_USEC", "30000000", 1);
	cr_expect_eq(proc_watchdog_ms(), 15000);
	setenv("WATCHDOG_PID", "1", 1);
	cr_expect_eq(proc_watchdog_ms(), 0);
	write_file("secret");
	setenv("CREDENTIALS_DIRECTORY", dir.path, 1);
	cr_expect(proc_credential("x", buf, sizeof(buf)));
	cr_expect(slice_eq(slice_str(buf), slice_str(path)));
	cr_expect(!proc_credential("../x", buf, sizeof(buf)));
	unsetenv("CREDENTIALS_DIRECTORY");
	cr_expect(!proc_credential("x", buf, sizeof(buf)));
}

/* --- Sockets passed by systemd: descriptors 3 and on, in a process of our own --- */

static int take_passed(void)
{
	struct addr at = addr_ip4(0x7f000001, 0);
	struct sockaddr_storage sa;
	socklen_t len;
	char pid[16], why[PROC_WHY];
	int fd = socket(AF_INET, SOCK_STREAM, 0), got;

	if (!addr_to_sockaddr(&at, &sa, &len) || bind(fd, (struct sockaddr *)&sa, len) ||
		listen(fd, 5))
		return 1;
	len = sizeof(sa);
	getsockname(fd, (struct sockaddr *)&sa, &len);
	at = addr_from_sockaddr((struct sockaddr *)&sa, len);
	if (fd != 3 && dup2(fd, 3) != 3)
		return 2;
	snprintf(pid, sizeof(pid), "%d", getpid());
	setenv("LISTEN_PID", pid, 1);
	setenv("LISTEN_FDS", "1", 1);
	proc_start();
	if (getenv("LISTEN_FDS"))
		return 3;
	if (proc_bind(&at, 0, &got, why) || got != 3)
		return 4;
	return proc_take_socket(&at) != -1 ? 5 : 0;
}

Test(proc, takes_passed_sockets)
{
	int status = -1;
	pid_t pid = fork();

	if (pid == 0)
		_exit(take_passed());
	cr_assert_eq(waitpid(pid, &status, 0), pid);
	cr_expect_eq(status, 0, "%d", WEXITSTATUS(status));
}

/* --- SIGBUS: the status is the signal's, with the line in front of it only for a mapped file --- */

static void end_by_bus(bool mapped)
{
	int out = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);
	int empty = memfd_create("empty", 0);
	volatile char *map = mmap(NULL, 4096, PROT_READ, MAP_SHARED, empty, 0);

	dup2(out, STDERR_FILENO);
	proc_explain_bus();
	if (!mapped)
		raise(SIGBUS);
	_exit(map[0]);
}

Test(proc, a_mapped_file_that_ends_early_is_told)
{
	for (int mapped = 0; mapped < 2; mapped++) {
		struct out o = out_heap(4096);
		int status = 0;
		pid_t pid = fork();

		if (pid == 0)
			end_by_bus(mapped);
		cr_assert_eq(waitpid(pid, &status, 0), pid);
		cr_assert(WIFSIGNALED(status) && WTERMSIG(status) == SIGBUS, "%x", status);
		cr_assert_eq(proc_read_file(path, 4096, &o), OK);
		cr_assert_eq(slice_ends_nocase(out_written(&o), SLICE("run `ringpost fsck`\n")),
			mapped);
		cr_assert(mapped || !out_written(&o).len);
		out_heap_done(&o);
	}
}

/* --- The helper: the asking process gives up root first, so it needs somebody who may --- */

static bool allow(enum proc_request what, const char *file, const struct addr *addr, void *arg)
{
	(void)arg;
	if (what == PROC_BIND)
		return addr->kind == ADDR_UNIX &&
			slice_starts(slice_str(addr->path), slice_str(dir.path));
	return slice_eq(slice_str(file), slice_str(path));
}

static int ask_helper(void)
{
	static const struct proc_helper rules = { .allow = allow };
	struct out o = out_heap(100);
	char why[PROC_WHY], sock[600], other[600];
	int fd;

	snprintf(sock, sizeof(sock), "%s/sock", dir.path);
	snprintf(other, sizeof(other), "%s/other", dir.path);
	struct addr at = { .kind = ADDR_UNIX, .path = sock };
	struct addr elsewhere = { .kind = ADDR_UNIX, .path = "/ringpost-test-sock" };

	int ends[2];
	char byte;

	if (pipe(ends) || proc_helper_start(&rules, why))
		return 1;
	/* The helper does not keep what was open, so this is the end. */
	close(ends[1]);
	if (read(ends[0], &byte, 1) != 0)
		return 8;
	close(ends[0]);
	if (proc_drop("nobody", NULL, why) || geteuid() == 0)
		return 2;
	if (open(path, O_RDONLY) >= 0)
		return 3;
	if (proc_read_file(path, 100, &o) || !slice_eq(out_written(&o), SLICE("secret")))
		return 4;
	if (proc_open_read(other, &fd) != ERR_DENIED)
		return 5;
	if (proc_bind(&at, 0, &fd, why))
		return 6;
	if (proc_bind(&elsewhere, 0, &fd, why) != ERR_DENIED || !strstr(why, "cannot listen on"))
		return 7;
	proc_helper_stop();
	out_heap_done(&o);
	return 0;
}

Test(proc, helper_gives_what_is_allowed)
{
	char other[600];
	int status = -1;

	if (geteuid() != 0)
		cr_skip_test("only root has rights to give up");
	write_file("secret");
	chmod(path, 0600);
	snprintf(other, sizeof(other), "cp -p %s %s/other", path, dir.path);
	cr_assert_eq(system(other), 0);
	chmod(dir.path, 0711);
	pid_t pid = fork();

	if (pid == 0)
		_exit(ask_helper());
	cr_assert_eq(waitpid(pid, &status, 0), pid);
	cr_expect_eq(status, 0, "%d", WEXITSTATUS(status));
}

Test(proc, an_unknown_user_is_told)
{
	char why[PROC_WHY];
	int status = -1;
	pid_t pid = fork();

	if (pid == 0)
		_exit(proc_drop("no-such-user", NULL, why) == ERR_NOT_FOUND &&
					strstr(why, "no-such-user") ?
				0 :
				1);
	cr_assert_eq(waitpid(pid, &status, 0), pid);
	cr_expect_eq(status, 0);
}
