/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What a server could at best do: bytes read from a file that the page cache holds, summed, and sent to a
 * program on the same machine, with nothing of mail in between. MB per CPU second of the one who sends. Reading
 * mailboxes is told beside it, for both go up and down with the machine. */
#include "bench/args.h"
#include "bench/commands.h"

#include "core/base/codec.h"

#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { FILE_BYTES = 64 << 20 };

struct carry_args {
	uint64_t total, piece;
	bool json;
};

#define AT(member) offsetof(struct carry_args, member)
static const struct arg_row rows[] = {
	{ "bytes", ARG_SIZE, AT(total), 1 << 20, 1ull << 40, "SIZE", "all of them (default 1G)" },
	{ "piece", ARG_SIZE, AT(piece), 512, FILE_BYTES, "SIZE",
		"read and sent at a time (default 256K)" },
	{ "json", ARG_FLAG, AT(json), 0, 0, NULL, "for programs" },
	{ 0 },
};

static double cpu_seconds(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &ts);
	return (double)ts.tv_sec + (double)ts.tv_nsec / 1e9;
}

/* A file of its own, in the page cache since it was written. */
static FILE *make_file(char *buf, size_t piece)
{
	FILE *f = tmpfile();

	memset(buf, 'x', piece);
	for (size_t at = 0; f && at < FILE_BYTES; at += piece)
		if (pwrite(fileno(f), buf, piece, (off_t)at) != (ssize_t)piece) {
			fclose(f);
			f = NULL;
		}
	return f;
}

/* The other side, a process of its own: takes all there is. */
static void take(const struct sockaddr_in *to, char *buf, size_t piece)
{
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (fd < 0 || connect(fd, (const struct sockaddr *)to, sizeof(*to)))
		_exit(1);
	while (read(fd, buf, piece) > 0)
		;
	_exit(0);
}

static int accept_one(char *buf, size_t piece, pid_t *taker)
{
	struct sockaddr_in at = { .sin_family = AF_INET,
		.sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t len = sizeof(at);
	int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), fd = -1;

	if (listener >= 0 && !bind(listener, (struct sockaddr *)&at, sizeof(at)) &&
		!listen(listener, 1) && !getsockname(listener, (struct sockaddr *)&at, &len)) {
		*taker = fork();
		if (*taker == 0)
			take(&at, buf, piece);
		fd = *taker < 0 ? -1 : accept(listener, NULL, NULL);
	}
	if (listener >= 0)
		close(listener);
	return fd;
}

static bool send_all(int fd, const char *bytes, size_t len)
{
	while (len) {
		ssize_t n = send(fd, bytes, len, MSG_NOSIGNAL);

		if (n <= 0)
			return false;
		bytes += n;
		len -= (size_t)n;
	}
	return true;
}

/* The sums are printed by nobody, but nothing may find out. */
static bool carry(int file, int fd, const struct carry_args *args, char *buf)
{
	volatile uint32_t sum = 0;
	uint64_t at = 0;

	for (uint64_t done = 0; done < args->total; done += args->piece) {
		if (at + args->piece > FILE_BYTES)
			at = 0;
		if (pread(file, buf, args->piece, (off_t)at) != (ssize_t)args->piece)
			return false;
		sum = codec_crc32c(sum, buf, args->piece);
		if (!send_all(fd, buf, args->piece))
			return false;
		at += args->piece;
	}
	return true;
}

static int measure(const struct carry_args *args)
{
	char *buf = malloc(args->piece);
	FILE *f = buf ? make_file(buf, args->piece) : NULL;
	pid_t taker = -1;
	int fd = f ? accept_one(buf, args->piece, &taker) : -1;
	double before = cpu_seconds();
	bool good = fd >= 0 && carry(fileno(f), fd, args, buf);

	if (good)
		printf(args->json ? "{\"title\": \"carry\", \"mb_per_cpu_second\": %.0f}\n" :
				    "%.0f MB per CPU second\n",
			(double)args->total / 1e6 / (cpu_seconds() - before));
	else
		perror("carry");
	if (fd >= 0)
		close(fd);
	if (taker > 0)
		(void)waitpid(taker, NULL, 0);
	if (f)
		fclose(f);
	free(buf);
	return good ? 0 : 1;
}

int bench_carry(char **argv)
{
	struct carry_args args = { .total = 1 << 30, .piece = 256 << 10 };
	bool help, good = args_parse(rows, argv, &args, &help);

	if (help) {
		args_help("carry", "what this machine's copies and sockets would allow", rows);
		return 0;
	}
	return good ? measure(&args) : 2;
}
