/* SPDX-License-Identifier: GPL-2.0-or-later */
/* inuse.c - the kernel's tables of listening sockets, and which of them are ours.
 *
 * Addresses of TCP stand there as 32-bit words in the machine's byte order, each printed as a number. */
#include "server/inuse.h"

#include <dirent.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "core/base/text.h"
#include "core/sim.h"
#include "core/worker.h"

enum {
	STATE_LISTEN = 0x0A,
	LINE_BYTES = 512,
	WORD_DIGITS = 8,
	UNIX_LISTENS = 0x10000, /* __SO_ACCEPTCON */
	PATIENCE_MS = 3000,
	PAUSE_US = 20000
};

static bool read_words(const char *hex, size_t digits, struct addr *out)
{
	if (digits != WORD_DIGITS && digits != 4 * WORD_DIGITS)
		return false;
	*out = (struct addr){ .kind = digits == WORD_DIGITS ? ADDR_IP4 : ADDR_IP6 };
	for (size_t i = 0; i < digits / WORD_DIGITS; i++) {
		char text[WORD_DIGITS + 1] = "";
		uint32_t word;

		memcpy(text, hex + i * WORD_DIGITS, WORD_DIGITS);
		word = (uint32_t)strtoul(text, NULL, 16);
		memcpy(out->ip + i * sizeof(word), &word, sizeof(word));
	}
	return true;
}

bool inuse_parse(const char *line, struct addr *out, unsigned long *out_inode)
{
	char hex[4 * WORD_DIGITS + 1];
	unsigned port, state;

	if (sscanf(line, " %*u: %32[0-9A-Fa-f]:%x %*[0-9A-Fa-f]:%*x %x %*s %*s %*s %*u %*u %lu",
		    hex, &port, &state, out_inode) != 4)
		return false;
	if (state != STATE_LISTEN || port > UINT16_MAX || !read_words(hex, strlen(hex), out))
		return false;
	out->port = (uint16_t)port;
	return true;
}

static bool is_any(const struct addr *at)
{
	static const unsigned char zero[sizeof(at->ip)];

	return memcmp(at->ip, zero, sizeof(zero)) == 0;
}

static bool overlap(const struct addr *a, const struct addr *b)
{
	return a->kind == b->kind && a->port == b->port &&
		(is_any(a) || is_any(b) || memcmp(a->ip, b->ip, sizeof(a->ip)) == 0);
}

static bool is_ours(unsigned long inode)
{
	char want[64], path[300], target[64];
	DIR *dir = opendir("/proc/self/fd");
	const struct dirent *entry;
	bool found = false;

	snprintf(want, sizeof(want), "socket:[%lu]", inode);
	while (dir && !found && (entry = readdir(dir))) {
		ssize_t len;

		snprintf(path, sizeof(path), "/proc/self/fd/%s", entry->d_name);
		len = readlink(path, target, sizeof(target) - 1);
		target[MAX(len, 0)] = '\0';
		found = strcmp(target, want) == 0;
	}
	if (dir)
		closedir(dir);
	return found;
}

/* A line of /proc/net/unix: address, references, protocol, flags, type, state, inode, path. */
static bool is_ours_unix(const char *path)
{
	FILE *table = fopen("/proc/self/net/unix", "re");
	char line[LINE_BYTES], bound[sizeof(((struct sockaddr_un *)NULL)->sun_path) + 1];
	unsigned long inode;
	unsigned flags;
	bool ours = false;

	while (table && !ours && fgets(line, sizeof(line), table))
		ours = sscanf(line, "%*s %*s %*s %x %*s %*s %lu %108s", &flags, &inode, bound) ==
				3 &&
			(flags & UNIX_LISTENS) && strcmp(bound, path) == 0 && is_ours(inode);
	if (table)
		fclose(table);
	return ours;
}

/* The ring of a killed process may hold its socket for a moment longer than it lived. */
static bool is_alive(int fd)
{
	struct ucred peer;
	socklen_t len = sizeof(peer);

	return getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &len) || peer.pid <= 0 ||
		kill(peer.pid, 0) == 0 || errno != ESRCH;
}

/* Binding takes the name from whoever has it, so whoever answers there is asked. */
static bool others_listen_unix(const struct addr *at)
{
	struct sockaddr_storage to;
	socklen_t len;
	bool found = false;
	int fd;

	if (!addr_to_sockaddr(at, &to, &len))
		return false;
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return false;
	if (connect(fd, (struct sockaddr *)&to, len) == 0)
		found = is_alive(fd);
	else
		found = errno == EAGAIN; /* nobody takes what waits there, but somebody listens */
	close(fd);
	return found && !is_ours_unix(at->path);
}

static bool others_listen(const struct addr *at)
{
	FILE *table = NULL;
	char line[LINE_BYTES];
	struct addr there;
	unsigned long inode;
	bool found = false;

	/* A simulated process has its network to itself. */
	if (!sim_active() && at->kind == ADDR_UNIX)
		return others_listen_unix(at);
	if (!sim_active() && at->port && (at->kind == ADDR_IP4 || at->kind == ADDR_IP6))
		table = fopen(at->kind == ADDR_IP4 ? "/proc/self/net/tcp" : "/proc/self/net/tcp6",
			"re");
	while (table && !found && fgets(line, sizeof(line), table))
		found = inuse_parse(line, &there, &inode) && overlap(at, &there) && !is_ours(inode);
	if (table)
		fclose(table);
	return found;
}

bool inuse_by_others(const struct addr *at)
{
	static msec patient_until;

	if (!patient_until)
		patient_until = clock_now() + PATIENCE_MS;
	while (others_listen(at)) {
		if (clock_now() >= patient_until)
			return true;
		usleep(PAUSE_US);
	}
	return false;
}
