/* SPDX-License-Identifier: GPL-2.0-or-later */
/* rig.h - a whole relay for a test: store in a folder of its own, workers, configuration.
 *
 * rig_run starts everything, runs the body on a fiber of worker 0, drains and stops. It may be called
 * again on the same rig: a restart. Inside the body use check() rather than Criterion's
 * assertions, which leave by longjmp. */
#ifndef TESTS_RELAY_RIG_H
#define TESTS_RELAY_RIG_H

#include "relay/queue.h"
#include "relay/relay.h"
#include "store/store.h"
#include "core/worker.h"
#include "tests/support/tmpdir.h"

#include <criterion/criterion.h>
#include <stdatomic.h>
#include <stdio.h>

extern _Atomic unsigned rig_failures; /* rig_run asserts that there were none */
#define check(cond)                                                                \
	do {                                                                       \
		if (!(cond)) {                                                     \
			fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #cond); \
			atomic_fetch_add(&rig_failures, 1);                        \
		}                                                                  \
	} while (0)

struct rig {
	struct tmpdir dir;
	struct store *st;
	const char *yaml;
	unsigned workers;
	msec drain_ms;
	void (*body)(struct rig *rig, struct worker *w);
	void *arg;
	struct conf *conf;
	_Atomic unsigned opened, drained;
	char route[2000];
};

void rig_make(struct rig *rig, unsigned workers);
void rig_remove(struct rig *rig);
/* YAML, in the rig: everything goes to a port of this host, and again soon; `more` are rows of relay. */
const char *rig_route(struct rig *rig, unsigned port, const char *more);
void rig_run(struct rig *rig, const char *yaml, void (*body)(struct rig *rig, struct worker *w));

/* (fiber) One message; recipients are separated by spaces. The header ends by an empty line. */
struct rig_mail {
	const char *from, *to, *text;
	uint8_t notify, origin, ret;
	bool eight_bit, smtputf8, bulk;
	int8_t priority; /* 0: none was given */
	msec hold_ms;
	void (*accepted)(const struct queue_mail *mail, queue_id id);
};
enum err rig_send(struct rig *rig, struct worker *w, const struct rig_mail *mail, queue_id *out);
/* (fiber) Wait until `done` is true, at most `ms`. */
bool rig_wait(bool (*done)(void *arg), void *arg, msec ms);
/* Recipients accepted and not finished. */
uint64_t rig_waiting(struct worker *w);
/* (fiber) Wait until there are none, and none come. */
bool rig_idle(struct worker *w, msec ms);

#endif
