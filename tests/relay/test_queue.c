/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The queue over time: restarts, parking, holding, listing, changing. */
#include "tests/relay/peer.h"
#include "tests/relay/rig.h"

#include <arpa/inet.h>
#include <stdlib.h>
#include <unistd.h>

#include "core/fiber.h"

static const char hello[] = "From: a@s.test\r\nSubject: hi\r\n\r\nbody\r\n";

static struct peer *peer;
static char yaml[2000];
static struct rig the;
static _Atomic bool open_now;

static const char *route(const char *more)
{
	return rig_route(&the, peer->port, more);
}

static void begin(unsigned workers)
{
	peer = peer_start(0);
	atomic_store(&open_now, false);
	rig_make(&the, workers);
}

static void finish(void)
{
	peer_stop(peer);
	rig_remove(&the);
}

static const char *when_open(struct peer *p, unsigned session, const char *line)
{
	return strncmp(line, "RCPT", 4) == 0 && !atomic_load(&open_now) ? "450 4.2.1 not yet" :
									  NULL;
}

enum { MANY = 300 };

static void send_many(struct rig *rig, struct worker *w)
{
	for (int i = 0; i < MANY; i++) {
		char to[64];
		struct rig_mail mail = { .from = "a@s.test", .to = to, .text = hello };

		snprintf(to, sizeof(to), "u%d@d%d.test", i, i % 5);
		check(rig_send(rig, w, &mail, NULL) == OK);
	}
}

static void each_came_once(void)
{
	for (int i = 0; i < MANY; i++) {
		unsigned found = 0;
		char to[64];

		snprintf(to, sizeof(to), "<u%d@", i);
		for (unsigned k = 0; k < atomic_load(&peer->count); k++)
			found += strstr(peer->messages[k].rcpts[0], to) != NULL;
		cr_assert_eq(found, 1u, "%s came %u times", to, found);
	}
}

static bool all_came(void *arg)
{
	return atomic_load(&peer->count) >= MANY;
}

static void only_send(struct rig *rig, struct worker *w)
{
	send_many(rig, w);
}

static void deliver_all(struct rig *rig, struct worker *w)
{
	atomic_store(&open_now, true);
	check(rig_wait(all_came, NULL, 60000));
	check(rig_idle(w, 20000));
}

Test(queue, what_was_accepted_survives_restarts)
{
	begin(2);
	peer->script = when_open;
	the.drain_ms = 50;
	rig_run(&the, route(""), only_send);
	cr_assert_lt(atomic_load(&peer->count), 1u);
	rig_run(&the, route(""), deliver_all);
	each_came_once();
	finish();
}

static void wait_until_parked(struct rig *rig, struct worker *w)
{
	send_many(rig, w);
	check(rig_idle(w, 1000) == false);
}

Test(queue, parked_mail_survives_restarts)
{
	begin(2);
	peer->script = when_open;
	rig_run(&the, route(""), wait_until_parked);
	rig_run(&the, route(""), deliver_all);
	each_came_once();
	finish();
}

static void send_and_deliver(struct rig *rig, struct worker *w)
{
	send_many(rig, w);
	deliver_all(rig, w);
}

Test(queue, what_has_no_room_in_memory_is_parked_and_comes_back)
{
	begin(2);
	rig_run(&the, route("  queue: { path_ready: 5 }\n  connections: 1\n"), send_and_deliver);
	each_came_once();
	finish();
}

Test(queue, what_waits_for_long_is_parked_and_comes_back)
{
	begin(1);
	rig_run(&the, route("  queue: { park_after: 20ms }\n  connections: 1\n"), send_and_deliver);
	each_came_once();
	finish();
}

static const char *by_lot(struct peer *p, unsigned session, const char *line)
{
	static _Thread_local unsigned state;
	bool rcpt = strncmp(line, "RCPT", 4) == 0;

	if (!state)
		state = session * 2654435761u + 1;
	state = state * 1103515245u + 12345;
	if ((rcpt || strcmp(line, ".") == 0) && state >> 16 & 1)
		return "451 4.3.0 by lot";
	return strncmp(line, "MAIL", 4) == 0 && (state >> 17 & 15) == 0 ? "421 4.3.2 by lot" : NULL;
}

Test(queue, many_retries_deliver_each_once)
{
	begin(2);
	peer->script = by_lot;
	rig_run(&the, route(""), send_and_deliver);
	each_came_once();
	finish();
}

/* ---------------------------------------------------------------------------------------------- */

static struct queue_filter all_of(const char *domain)
{
	return (struct queue_filter){
		.index = QUEUE_ALL, .state = -1, .domain = slice_str(domain)
	};
}

static size_t list(struct worker *w, const struct queue_filter *f, enum queue_state state)
{
	struct queue_cursor cursor = { 0 };
	size_t count = 0;

	while (!cursor.done) {
		struct arena a = { 0 };
		struct queue_page page = { .arena = &a, .max = 100 };

		check(queue_list(w, f, &cursor, &page) == OK);
		for (size_t i = 0; i < page.count; i++) {
			count += page.rows[i].state == state;
			check(page.rows[i].sender.len == 0 ||
				slice_eq(page.rows[i].sender, SLICE("a@s.test")));
			check(page.rows[i].recipient.len > 0);
		}
		arena_done(&a);
	}
	return count;
}

static bool parked_all(void *arg)
{
	struct relay_stats stats;

	relay_stats(&stats);
	return stats.rcpts_parked + stats.rcpts_held >= MANY && stats.rcpts_ready == 0;
}

static void hold_and_release(struct rig *rig, struct worker *w)
{
	struct queue_filter d1 = all_of("d1.test"), d2 = all_of("d2.test"), every = all_of("");
	uint64_t changed;

	send_many(rig, w);
	check(rig_wait(parked_all, NULL, 20000));
	check(queue_act(w, &d1, QUEUE_HOLD, &changed) == OK);
	check(changed == MANY / 5);
	check(list(w, &d1, QUEUE_HELD) == MANY / 5);
	check(queue_act(w, &d2, QUEUE_REMOVE, &changed) == OK);
	check(changed == MANY / 5);
	check(queue_act(w, &every, QUEUE_RETRY, &changed) == OK);
	check(changed == MANY / 5 * 3);
	check(rig_idle(w, 3000) == false);
	check(atomic_load(&peer->count) == MANY / 5 * 3);
	check(list(w, &every, QUEUE_HELD) == MANY / 5);
	check(queue_act(w, &d1, QUEUE_RELEASE, &changed) == OK);
	check(changed == MANY / 5);
	check(rig_idle(w, 20000));
	check(atomic_load(&peer->count) == MANY / 5 * 4);
}

static const char *at_first_later(struct peer *p, unsigned session, const char *line)
{
	return strncmp(line, "RCPT", 4) == 0 && atomic_load(&p->mails) <= MANY ?
		"450 4.2.1 not yet" :
		NULL;
}

Test(queue, operators_hold_remove_retry_and_release)
{
	begin(2);
	peer->script = at_first_later;
	snprintf(yaml, sizeof(yaml),
		"relay:\n  retry: { first: 1h, factor: 1, max: 1h, expire: 5d, warn: 0 }\n"
		"  routes:\n    - { domain: \"*\", hosts: [ 127.0.0.1 ], port: %u, tls: none }\n",
		peer->port);
	rig_run(&the, yaml, hold_and_release);
	finish();
}

/* --- A body that is damaged on the disk --- */

enum { LARGE = 300000, OTHERS = 12 };
#define MARK "here it will be damaged"

static void send_large(struct rig *rig, struct worker *w)
{
	char *text = malloc(LARGE + sizeof(hello)), to[64];
	struct rig_mail mail = { .from = "a@s.test", .to = to, .text = text };
	size_t head = sizeof(hello) - 7;

	memcpy(text, hello, head);
	for (size_t i = 0; i < LARGE; i++)
		text[head + i] = i % 72 == 70 ? '\r' : i % 72 == 71 ? '\n' : 'x';
	text[head + LARGE] = 0;
	for (int i = 0; i <= OTHERS; i++) {
		snprintf(to, sizeof(to), "u%d@d%d.test", i, i % 5);
		if (i == 0)
			memcpy(text + head + LARGE / 72 / 2 * 72, MARK, sizeof(MARK) - 1);
		check(rig_send(rig, w, &mail, NULL) == OK);
		memset(text + head + LARGE / 72 / 2 * 72, 'x', sizeof(MARK) - 1);
	}
	free(text);
	check(rig_idle(w, 1500) == false);
	/* What is written now says that all before it is in the index. */
	mail.text = hello;
	snprintf(to, sizeof(to), "last@d1.test");
	check(rig_send(rig, w, &mail, NULL) == OK);
	check(rig_idle(w, 500) == false);
}

/* One byte of it, wherever it stands. */
static void damage_mark(void)
{
	char command[600];

	snprintf(command, sizeof(command),
		"f=$(grep -l '%s' %s/journal/slot-*) && sed -i 's/%s/here it wull be damaged/' $f",
		MARK, the.dir.path, MARK);
	cr_assert_eq(system(command), 0);
}

static bool others_came(void *arg)
{
	return atomic_load(&peer->count) >= OTHERS + 1;
}

static bool one_is_held(void *arg)
{
	struct relay_stats stats;

	relay_stats(&stats);
	return stats.rcpts_held == 1;
}

static void hold_damaged(struct rig *rig, struct worker *w)
{
	struct arena a = { 0 };
	struct queue_filter f = all_of("");
	struct queue_cursor cursor = { 0 };
	struct queue_page page = { .arena = &a, .max = 10 };
	uint64_t changed = 0;

	atomic_store(&open_now, true);
	check(rig_wait(others_came, NULL, 20000));
	check(rig_wait(one_is_held, NULL, 20000));
	f.state = QUEUE_HELD;
	while (!page.count && !cursor.done)
		check(queue_list(w, &f, &cursor, &page) == OK);
	check(page.count == 1);
	if (page.count) {
		check(slice_eq(page.rows[0].recipient, SLICE("u0@d0.test")));
		check(slice_search(page.rows[0].held_by, SLICE("damaged")) >= 0);
		check(slice_search(page.rows[0].last_reply, SLICE("damaged")) >= 0);
	}
	arena_done(&a);
	/* Who sent it can still be told. */
	check(queue_act(w, &f, QUEUE_BOUNCE, &changed) == OK && changed == 1);
	check(rig_idle(w, 20000));
}

Test(queue, damaged_mail_is_held_with_a_reason)
{
	begin(1);
	peer->script = when_open;
	rig_run(&the, route(""), send_large);
	damage_mark();
	rig_run(&the, route(""), hold_damaged);
	cr_expect_eq(atomic_load(&peer->count), OTHERS + 2u);
	for (unsigned i = 0; i < atomic_load(&peer->count); i++) {
		const struct peer_message *m = &peer->messages[i];
		bool report = strstr(m->rcpts[0], "a@s.test") != NULL;

		cr_expect(report || !strstr(m->rcpts[0], "<u0@"));
		cr_expect_eq(strstr(m->data, "Final-Recipient:") != NULL, report);
	}
	finish();
}

static void list_by_id(struct rig *rig, struct worker *w)
{
	struct rig_mail mail = { .from = "a@s.test", .to = "x@d.test y@e.test", .text = hello };
	struct queue_filter f = all_of("");
	queue_id id = 0, other = 0;
	char text[32];
	struct out o = out_fixed(text, sizeof(text));
	uint32_t index;

	check(rig_send(rig, w, &mail, &id) == OK);
	check(rig_send(rig, w, &mail, &other) == OK);
	queue_id_put_rcpt(&o, id, 1);
	check(queue_id_parse(out_written(&o), &f.id, &index) && f.id == id && index == 1);
	check(rig_idle(w, 500) == false);
	check(list(w, &f, QUEUE_PARKED) == 2);
	f.index = 1;
	check(list(w, &f, QUEUE_PARKED) == 1);
	struct queue_counts counts;

	check(queue_count(w, &f, &counts) == OK && counts.by_state[QUEUE_PARKED] == 1);
	f = all_of("");
	f.sender = SLICE("@other.test");
	check(list(w, &f, QUEUE_PARKED) == 0);
}

Test(queue, lists_are_filtered)
{
	begin(1);
	peer->script = when_open;
	snprintf(yaml, sizeof(yaml),
		"relay:\n  retry: { first: 1h, factor: 1, max: 1h, expire: 5d, warn: 0 }\n"
		"  routes:\n    - { domain: \"*\", hosts: [ 127.0.0.1 ], port: %u, tls: none }\n",
		peer->port);
	rig_run(&the, yaml, list_by_id);
	finish();
}

/* --- What was acknowledged is seen, and can be changed, at once --- */

static void list_at_once(struct rig *rig, struct worker *w)
{
	struct rig_mail mail = {
		.from = "a@s.test", .to = "x@d.test", .text = hello, .hold_ms = 3600 * 1000
	};
	struct queue_filter f = all_of("");
	struct queue_counts counts;

	for (unsigned i = 1; i <= 20; i++) {
		check(rig_send(rig, w, &mail, &f.id) == OK);
		check(list(w, &f, QUEUE_PARKED) == 1);
		f.id = 0;
		check(queue_count(w, &f, &counts) == OK);
		check(counts.by_state[QUEUE_PARKED] == i);
	}
}

Test(queue, lists_show_what_was_accepted_just_now)
{
	begin(2);
	rig_run(&the, route(""), list_at_once);
	finish();
}

static void hold_by_route(struct rig *rig, struct worker *w)
{
	struct rig_mail mail = {
		.from = "a@s.test", .to = "x@d.test", .text = hello, .hold_ms = 60 * 1000
	};
	struct queue_filter f = all_of("");
	struct queue_cursor cursor = { 0 };
	struct arena a = { 0 };
	struct queue_page page = { .arena = &a, .max = 10 };

	check(rig_send(rig, w, &mail, NULL) == OK);
	while (!page.count && !cursor.done)
		check(queue_list(w, &f, &cursor, &page) == OK);
	check(page.count == 1);
	/* Its age begins when it may go. */
	check(page.count && page.rows[0].expires_at == page.rows[0].due_at + 7200 * 1000);
	arena_done(&a);
}

Test(queue, expiry_is_that_of_the_route)
{
	begin(1);
	rig_run(&the,
		"relay:\n  retry: { expire: 5d }\n  routes:\n"
		"    - { domain: d.test, hosts: [ 127.0.0.1 ], port: 9, retry: { expire: 2h } }\n",
		hold_by_route);
	finish();
}

static bool one_is_ready(void *arg)
{
	struct queue_filter every = all_of("");

	return list(arg, &every, QUEUE_READY) == 1;
}

static void change_unresolved(struct rig *rig, struct worker *w)
{
	struct rig_mail mail = {
		.from = "a@s.test", .to = "x@h.test x@r.test x@k.test", .text = hello
	};
	struct queue_filter h = all_of("h.test"), r = all_of("r.test"), k = all_of("k.test");
	struct queue_filter every = all_of("");
	uint64_t changed = 0;

	check(rig_send(rig, w, &mail, NULL) == OK);
	check(list(w, &every, QUEUE_READY) == 3);
	check(queue_act(w, &h, QUEUE_HOLD, &changed) == OK && changed == 1);
	check(queue_act(w, &r, QUEUE_REMOVE, &changed) == OK && changed == 1);
	check(list(w, &every, QUEUE_READY) == 1);
	check(list(w, &k, QUEUE_READY) == 1);
	check(list(w, &every, QUEUE_HELD) == 1);
	check(list(w, &h, QUEUE_HELD) == 1);
	check(queue_act(w, &k, QUEUE_BOUNCE, &changed) == OK && changed == 1);
	/* The report is new mail, and its domain has to be found too. */
	check(rig_wait(one_is_ready, w, 20000));
}

Test(queue, what_waits_for_names_can_be_changed)
{
	struct sockaddr_in silent = { .sin_family = AF_INET };
	socklen_t len = sizeof(silent);
	int fd = socket(AF_INET, SOCK_DGRAM, 0);

	silent.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	cr_assert_eq(bind(fd, (struct sockaddr *)&silent, len), 0);
	cr_assert_eq(getsockname(fd, (struct sockaddr *)&silent, &len), 0);
	snprintf(yaml, sizeof(yaml), "resolver: { servers: [ 127.0.0.1@%u ], timeout: 10m }\n",
		ntohs(silent.sin_port));
	begin(2);
	the.drain_ms = 50;
	rig_run(&the, yaml, change_unresolved);
	close(fd);
	finish();
}

Test(queue, ids_read_back)
{
	static const queue_id ids[] = { 1, 31, 32, 0x400000420, UINT64_MAX };

	for (size_t i = 0; i < array_len(ids); i++) {
		char text[32];
		struct out o = out_fixed(text, sizeof(text));
		queue_id id;
		uint32_t index;

		queue_id_put(&o, ids[i]);
		cr_assert(queue_id_parse(out_written(&o), &id, &index));
		cr_assert(id == ids[i] && index == QUEUE_ALL);
	}
	queue_id id;
	uint32_t index;

	cr_assert_not(queue_id_parse(SLICE(""), &id, &index));
	cr_assert_not(queue_id_parse(SLICE("0"), &id, &index));
	cr_assert_not(queue_id_parse(SLICE("l"), &id, &index));
	cr_assert_not(queue_id_parse(SLICE("zzzzzzzzzzzzzz"), &id, &index));
	cr_assert_not(queue_id_parse(SLICE("1.x"), &id, &index));
}

static void drain_refuses(struct rig *rig, struct worker *w)
{
	struct rig_mail mail = { .from = "a@s.test", .to = "x@d.test", .text = hello };
	queue_id id;

	check(queue_admit(w) == OK);
	check(rig_send(rig, w, &mail, &id) == OK && id != 0);
	check(rig_idle(w, 10000));
}

Test(queue, unreachable_destination_rests_and_recovers)
{
	static struct peer gone;
	uint16_t port;

	begin(1);
	port = peer->port;
	peer_stop(peer);
	gone.port = port;
	peer = &gone;
	the.drain_ms = 50;
	rig_run(&the, route(""), only_send);
	peer = peer_start(port);
	rig_run(&the, route(""), deliver_all);
	each_came_once();
	rig_run(&the, route(""), drain_refuses);
	finish();
}

/* --- What is logged first --------------------------------------------------------------------- */

static queue_id told;
static bool told_before;

static void on_accepted(const struct queue_mail *mail, queue_id id)
{
	struct relay_stats n;

	relay_stats(&n);
	told = id;
	told_before = n.accepted_messages == 1 &&
		n.rcpts_ready + n.rcpts_active + n.rcpts_parked + n.attempts == 0;
}

static void send_and_be_told(struct rig *rig, struct worker *w)
{
	struct rig_mail mail = {
		.from = "a@s.test", .to = "b@d.test", .text = hello, .accepted = on_accepted
	};
	queue_id id = 0;

	check(rig_send(rig, w, &mail, &id) == OK);
	check(id != 0 && told == id);
	check(told_before);
	check(rig_idle(w, 20000));
}

Test(queue, accepted_is_told_before_anything_becomes_of_it)
{
	begin(1);
	atomic_store(&open_now, true);
	rig_run(&the, route(""), send_and_be_told);
	cr_assert_eq(atomic_load(&peer->count), 1u);
	finish();
}

/* --- Lanes --------------------------------------------------------------------------------------- */

enum { CAMPAIGN = 2000, OVERTAKEN_MAX = 30 };

static const char *dot_when_open(struct peer *p, unsigned session, const char *line)
{
	while (strcmp(line, ".") == 0 && !atomic_load(&open_now))
		usleep(1000);
	return NULL;
}

static bool first_is_out(void *arg)
{
	return atomic_load(&peer->mails) > 0;
}

/* While the whole campaign waits for one connection, one other message comes. */
static void campaign(struct rig *rig, struct worker *w)
{
	struct rig_mail bulk = {
		.from = "a@s.test", .to = "bulk@d.test", .text = hello, .bulk = true
	};
	struct rig_mail urgent = { .from = "a@s.test", .to = "urgent@d.test", .text = hello };

	for (int i = 0; i < CAMPAIGN; i++)
		check(rig_send(rig, w, &bulk, NULL) == OK);
	check(rig_wait(first_is_out, NULL, 20000));
	check(rig_send(rig, w, &urgent, NULL) == OK);
	/* Every way a message may take off this worker and back has come to its end. */
	(void)!fiber_sleep(100);
	atomic_store(&open_now, true);
	check(rig_idle(w, 120000));
}

static void urgent_comes_first(const char *more)
{
	unsigned at = UINT32_MAX;

	begin(1);
	peer->script = dot_when_open;
	rig_run(&the, route(more), campaign);
	cr_assert_eq(atomic_load(&peer->count), CAMPAIGN + 1u);
	for (unsigned i = 0; i < CAMPAIGN + 1u; i++)
		if (strstr(peer->messages[i].rcpts[0], "<urgent@"))
			at = i;
	cr_assert_leq(at, OVERTAKEN_MAX, "%u came first", at);
	finish();
}

Test(queue, transactional_mail_overtakes_a_campaign)
{
	urgent_comes_first("  connections: 1\n");
}

Test(queue, transactional_mail_overtakes_when_memory_is_full)
{
	urgent_comes_first("  connections: 1\n  queue: { path_ready: 100, ready: 200 }\n");
}

Test(queue, transactional_mail_overtakes_when_the_worker_is_full)
{
	urgent_comes_first("  connections: 1\n  queue: { path_ready: 10000, ready: 200 }\n");
}
