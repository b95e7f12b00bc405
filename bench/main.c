/* SPDX-License-Identifier: GPL-2.0-or-later */
/* ringpost-bench: load generators and a sink for any mail server. One row per command. */
#include "bench/commands.h"

#include <stdio.h>

static const struct command {
	const char *name;
	const char *summary;
	int (*run)(char **argv);
} commands[] = {
	{ "smtp", "submit mail as fast as the server takes it, or at a fixed rate", bench_smtp },
	{ "imap", "read and change mailboxes by IMAP, the same ways", bench_imap },
	{ "pop3", "read maildrops by POP3, the same ways", bench_pop3 },
	{ "sink", "be the world: accept mail, check signatures, count doubles and gaps",
		bench_sink },
	{ "idle", "open many sessions and keep them idle, to weigh the server's memory",
		bench_idle },
	{ "sign", "count RSA signatures and SHA-256, by engine and beside openssl", bench_sign },
	{ "carry", "what this machine would allow: read, sum and send, no mail in between",
		bench_carry },
};

static int usage(FILE *to, int status)
{
	fprintf(to, "usage: ringpost-bench COMMAND [options]   (COMMAND --help explains)\n\n");
	for (size_t i = 0; i < array_len(commands); i++)
		fprintf(to, "  %-6s %s\n", commands[i].name, commands[i].summary);
	return status;
}

int main(int argc, char **argv)
{
	if (argc < 2)
		return usage(stderr, 2);
	if (slice_eq(slice_str(argv[1]), SLICE("--help")))
		return usage(stdout, 0);
	for (size_t i = 0; i < array_len(commands); i++)
		if (slice_eq(slice_str(argv[1]), slice_str(commands[i].name)))
			return commands[i].run(argv + 2);
	fprintf(stderr, "%s: no such command\n", argv[1]);
	return usage(stderr, 2);
}
