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

Test(inuse, others_count_and_we_do_not)
{
	struct addr loopback = addr_ip4(0x7f000001, 0), any = addr_ip4(0, 0), at;
	int fd, ready[2], status;
	char byte;

	cr_assert_eq(listen_open(&loopback, 5, &fd), OK);
	at = listen_addr(fd);
	any.port = at.port;
	cr_assert_not(inuse_by_others(&at), "our own");
	cr_assert_eq(pipe(ready), 0);
	pid_t pid = fork();

	if (pid == 0) {
		/* Holds the socket until we close our end. */
		close(ready[1]);
		_exit(read(ready[0], &byte, 1) != 0);
	}
	close(ready[0]);
	close(fd);
	cr_assert(inuse_by_others(&at));
	cr_assert(inuse_by_others(&any), "every address covers it");
	close(ready[1]);
	cr_assert_eq(waitpid(pid, &status, 0), pid);
	cr_assert_eq(status, 0);
	cr_assert_not(inuse_by_others(&at));
}
