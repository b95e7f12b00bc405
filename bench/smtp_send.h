/* SPDX-License-Identifier: GPL-2.0-or-later */
/* smtp_send.h - one message after the other by SMTP or LMTP: the load generator's kind for `smtp`.
 *
 * The plan is the command's, made before the run and read-only in it. Nothing here fails but what the
 * server makes fail. */
#ifndef BENCH_SMTP_SEND_H
#define BENCH_SMTP_SEND_H

#include "bench/load.h"

struct template;

struct smtp_plan {
	struct template *template;
	const char *from, *to; /* with %n: the message's number; %d: number modulo domains */
	uint64_t recipients, domains, thread;
	bool pipelining, bdat;
};

extern const struct load_kind smtp_kind;

#endif
