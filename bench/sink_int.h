/* SPDX-License-Identifier: GPL-2.0-or-later */
/* sink_int.h - what the parts of the sink share: its settings, read-only while it runs, and each
 * worker's numbers, written by that worker alone and read by the printing thread. */
#ifndef BENCH_SINK_INT_H
#define BENCH_SINK_INT_H

#include "bench/keyfile.h"
#include "bench/script.h"
#include "bench/track.h"
#include "core/addr.h"
#include "core/base/histogram.h"

struct listener;
struct tls_server;

/* X-macro: the counters, in the order they are printed. */
#define SINK_COUNTERS(X)   \
	X(connections)     \
	X(accepted)        \
	X(recipients)      \
	X(bytes)           \
	X(tls)             \
	X(signatures_good) \
	X(signatures_bad)  \
	X(unsigned_mail)   \
	X(no_sequence)     \
	X(refused)         \
	X(dropped)         \
	X(greylisted)      \
	X(greylist_full)

struct sink_stats {
#define X(name) uint64_t name;
	SINK_COUNTERS(X)
#undef X
	struct histogram end_to_end; /* microseconds from the generator's clock to the final dot */
};

#define sink_count(stats, name, n) \
	__atomic_store_n(&(stats)->name, (stats)->name + (n), __ATOMIC_RELAXED)

struct sink {
	struct script script;
	struct keyfile keys;
	struct track track;
	struct tls_server *tls;
	const char *hostname;
	slice auth;            /* "\0user\0password", base64; empty: AUTH is not offered */
	unsigned without;      /* SMTP_CAP_* not offered */
	uint64_t verify_every; /* 0: no signature is looked at */
	bool lmtp;
	atomic_uint_fast64_t accepted; /* of all workers: for `after N` of the script */
	struct sink_stats *stats;      /* one a worker */
};

/* A connection came in: it is the session's until closed. Runs on the listener's worker. */
void sink_session_open(struct sink *sink, struct listener *l, int fd, const struct addr *peer);

/* How the hop of one message looks to the sink; see sink_mail.c. */
struct sink_mail;
struct sink_mail *sink_mail_new(struct sink *sink, struct sink_stats *stats);
/* Content bytes as they come. */
void sink_mail_add(struct sink_mail *mail, slice piece);
/* It was accepted: count it, check its signatures, mark its number. `now_ns` is monotonic. */
void sink_mail_accept(struct sink_mail *mail, uint64_t now_ns);
/* Ready for another message of the same session. */
void sink_mail_reset(struct sink_mail *mail);
void sink_mail_free(struct sink_mail *mail);

#endif
