/* SPDX-License-Identifier: GPL-2.0-or-later */
/* test_inuse.c - lines of the kernel's table, and whose sockets count. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <sys/wait.h>
#include <unistd.h>

#include "core/listen.h"
#include "server/inuse.h"

Test(inuse, lines_of_the_table)
{
	struct addr at, want = addr_ip4(0x7f000001, 0xB199), six;
	unsigned long inode = 0;
	char line[256];
	uint32_t words[4];

	memcpy(words, want.ip, sizeof(words));
	snprintf(line, sizeof(line),
		"   0: %08X:B199 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0     "
		"   0 "
		"2312597 1 00000000aecaa13e 100 0 0 10 0\n",
		words[0]);
	cr_assert(inuse_parse(line, &at, &inode));
	cr_assert(addr_eq(&at, &want));
	cr_assert_eq(inode, 2312597);
	*strstr(line, "0A ") = '1';
	cr_assert_not(inuse_parse(line, &at, &inode), "not a listening socket");
	cr_assert(addr_parse_ip(SLICE("2001:db8::19"), &six));
	memcpy(words, six.ip, sizeof(words));
	snprintf(line, sizeof(line),
		"  12: %08X%08X%08X%08X:0019 00000000000000000000000000000000:0000 0A "
		"00000000:00000000 00:00000000 00000000  1000        0 77 1 0 100 0 0 10 0\n",
		words[0], words[1], words[2], words[3]);
	cr_assert(inuse_parse(line, &at, &inode));
	cr_assert(addr_same_host(&at, &six));
	cr_assert_eq(at.port, 25);
	cr_assert_eq(inode, 77);
	cr_assert_not(inuse_parse("  sl  local_address rem_address   st tx_queue", &at, &inode));
	cr_assert_not(inuse_parse("", &at, &inode));
}

/* Holds the socket for us, which we close, until the descriptor that comes back is closed. */
static pid_t give_away(int fd, int *out_until)
{
	int ready[2];
	char byte;

	cr_assert_eq(pipe(ready), 0);
	pid_t pid = fork();

	if (pid == 0) {
		/* Holds the socket until we close our end. */
		close(ready[1]);
		_exit(read(ready[0], &byte, 1) != 0);
	}
	close(ready[0]);
	close(fd);
	*out_until = ready[1];
	return pid;
}

static void take_back(pid_t pid, int until)
{
	int status;

	close(until);
	cr_assert_eq(waitpid(pid, &status, 0), pid);
	cr_assert_eq(status, 0);
}

Test(inuse, others_count_and_we_do_not)
{
	struct addr loopback = addr_ip4(0x7f000001, 0), any = addr_ip4(0, 0), at;
	int fd, until;

	cr_assert_eq(listen_open(&loopback, 5, &fd), OK);
	at = listen_addr(fd);
	any.port = at.port;
	cr_assert_not(inuse_by_others(&at), "our own");
	pid_t pid = give_away(fd, &until);

	cr_assert(inuse_by_others(&at));
	cr_assert(inuse_by_others(&any), "every address covers it");
	take_back(pid, until);
	cr_assert_not(inuse_by_others(&at));
}

Test(inuse, a_unix_socket_that_answers_is_in_use)
{
	char dir[] = "/tmp/inuse-XXXXXX", path[64];
	struct addr at = { .kind = ADDR_UNIX, .path = path };
	int fd, until;

	cr_assert(mkdtemp(dir));
	snprintf(path, sizeof(path), "%s/sock", dir);
	cr_assert_not(inuse_by_others(&at), "nothing is there");
	cr_assert_eq(listen_open(&at, 5, &fd), OK);
	cr_assert_not(inuse_by_others(&at), "our own");
	pid_t pid = give_away(fd, &until);

	cr_assert(inuse_by_others(&at));
	take_back(pid, until);
	cr_assert_not(inuse_by_others(&at), "only its name is left");
	unlink(path);
	rmdir(dir);
}
