/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Who gets in: limits, refusals, and a process without descriptors. */
#include "core/listen.h"

#include "core/bufs.h"
#include "core/conn.h"
#include "core/dial.h"
#include "core/fiber.h"
#include "core/post.h"
#include "core/ring.h"
#include "core/room.h"
#include "tests/core/workers.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <unistd.h>

static unsigned open_now, accepted_all;

static size_t echo(struct conn *c, slice in)
{
	out_slice(conn_out(c), in);
	return in.len;
}

static void gone(struct conn *c, enum err why)
{
	(void)c;
	(void)why;
	open_now--;
}

static const struct conn_ops ops = { .data = echo, .closed = gone };

static void on_accept(struct listener *l, int fd, const struct addr *peer)
{
	struct conn *c;

	open_now++;
	accepted_all++;
	check(conn_open(listener_worker(l),
		      &(struct conn_open){ .fd = fd, .peer = peer, .ops = &ops, .listener = l },
		      &c) == OK);
}

static struct listener *serve(struct worker *w, const struct addr *at, struct listen_config config)
{
	struct listener *l = NULL;

	config.accepted = on_accept;
	check(listen_open(at, 0, &config.fd) == OK);
	check(listener_start(w, &config, &l) == OK);
	return l;
}

static struct conn *connect_to(struct worker *w, const struct addr *at)
{
	struct conn *c = NULL;

	check(dial(w, at, NULL, &c) == OK);
	return c;
}

static bool answers(struct conn *c)
{
	slice in = { 0 };

	out_str(conn_out(c), "?");
	bool ok = conn_wait_data(c, &in, 200) == OK;

	if (ok)
		conn_consume(c, in.len);
	return ok;
}

static void body_limit(struct worker *w)
{
	struct addr any = addr_ip4(0x7f000001, 0);
	struct listener *l = serve(w, &any, (struct listen_config){ .conns_max = 3 });
	struct addr at = listener_addr(l);
	struct conn *conns[4];
	struct listener_stats stats;

	for (unsigned i = 0; i < 4; i++)
		conns[i] = connect_to(w, &at);
	for (unsigned i = 0; i < 3; i++)
		check(answers(conns[i]));
	check(!answers(conns[3])); /* waits in the backlog */
	listener_stats(l, &stats);
	check(stats.conns == 3 && stats.pauses == 1);
	conn_close(conns[0]);
	check(answers(conns[3]));
	for (unsigned i = 1; i < 4; i++)
		conn_close(conns[i]);
	while (open_now)
		check(fiber_sleep(1) == OK);
	check(accepted_all == 4);
}

Test(listen, stops_at_its_limit_and_resumes)
{
	run_on_workers(1, body_limit);
}

static void body_client(struct worker *w)
{
	struct listen_clients *clients = listen_clients_new();
	struct addr any = addr_ip4(0x7f000001, 0);
	struct listener *l = serve(w, &any,
		(struct listen_config){ .client_conns_max = 2,
			.clients = clients,
			.refusal = SLICE("421 too many\r\n") });
	struct addr at = listener_addr(l);
	struct conn *conns[3];
	slice in = { 0 };

	for (unsigned i = 0; i < 2; i++) {
		conns[i] = connect_to(w, &at);
		check(answers(conns[i]));
	}
	conns[2] = connect_to(w, &at);
	check(conn_wait_data(conns[2], &in, 5000) == OK);
	check(slice_eq(in, SLICE("421 too many\r\n")));
	conn_close(conns[2]);
	conn_close(conns[0]);
	while (open_now > 1)
		check(fiber_sleep(1) == OK);
	conns[0] = connect_to(w, &at);
	check(answers(conns[0]));
	conn_close(conns[0]);
	conn_close(conns[1]);
	while (open_now)
		check(fiber_sleep(1) == OK);
	listener_stop(l);
	check(fiber_sleep(5) == OK);
	listen_clients_free(clients);
}

Test(listen, one_client_cannot_take_everything)
{
	run_on_workers(1, body_client);
}

/* --- No descriptors left --- */

enum { FD_LIMIT = 100 };

/* Take every descriptor but one, which the dialling side needs. */
static int take_all_fds(int taken[FD_LIMIT])
{
	int count = 0, fd;

	while ((fd = dup(0)) >= 0)
		taken[count++] = fd;
	close(taken[--count]);
	return count;
}

static void body_emfile(struct worker *w)
{
	struct addr any = addr_ip4(0x7f000001, 0);
	struct rlimit limit;
	struct listener_stats stats;
	int taken[FD_LIMIT];

	/* An accept obeys the limit of the moment it was submitted. */
	check(getrlimit(RLIMIT_NOFILE, &limit) == 0);
	limit.rlim_cur = FD_LIMIT;
	check(setrlimit(RLIMIT_NOFILE, &limit) == 0);
	struct listener *l = serve(w, &any, (struct listen_config){ 0 });
	struct addr at = listener_addr(l);
	struct conn *c = connect_to(w, &at), *late;
	slice in = { 0 };

	check(answers(c));
	int count = take_all_fds(taken);

	late = connect_to(w, &at);
	check(!answers(late));
	listener_stats(l, &stats);
	check(stats.errors >= 1 && stats.errors < 20); /* it neither gave up nor spins */
	check(answers(c));
	while (count)
		close(taken[--count]);
	check(conn_wait_data(late, &in, 5000) == OK);
	conn_close(late);
	conn_close(c);
}

Test(listen, out_of_descriptors_it_waits)
{
	run_on_workers(1, body_emfile);
}

/* --- Places of the process --- */

enum { PLACES = 8, PLACES_KEPT = 3 };

/* What comes in may take all but what is kept; what goes out always finds that, and no more than is
 * free; an operator's door does not care. */
static void body_room(struct worker *w)
{
	struct addr any = addr_ip4(0x7f000001, 0);
	struct listener *l = serve(w, &any, (struct listen_config){ 0 });
	struct listener *side = serve(w, &any, (struct listen_config){ .operators = true });
	struct addr at = listener_addr(l), side_at = listener_addr(side);
	struct conn *conns[PLACES + LISTEN_BATCH + 1], *second;
	struct room_stats n;
	slice in = { 0 };
	unsigned i;

	/* Both ends are this process: each connection takes two places. */
	room_set(PLACES, PLACES_KEPT);
	conns[0] = connect_to(w, &at);
	conns[1] = connect_to(w, &at);
	check(answers(conns[0]) && answers(conns[1]));
	room_stats(&n);
	check(n.in == 2 && n.out == 2 && room_left_in() == 3);
	/* Two more come in, and with them four go out: all is taken. */
	for (i = 2; i < 4; i++) {
		conns[i] = connect_to(w, &at);
		check(answers(conns[i]));
	}
	room_stats(&n);
	check(n.in == 4 && n.out == 4 && room_left_in() == 0);
	check(dial(w, &at, NULL, &second) == ERR_NOFILES);
	room_stats(&n);
	check(n.in == 4 && n.out == 4);

	/* More places, all kept for outgoing ones. Accepts that were in flight may overshoot. */
	room_set(100, 100);
	do
		conns[i] = connect_to(w, &at);
	while (answers(conns[i++]) && i < array_len(conns));
	check(i <= 4 + LISTEN_BATCH + 1 && room_left_in() == 0);
	second = connect_to(w, &side_at);
	check(answers(second));
	room_set(100, PLACES_KEPT); /* and it gets in without anybody's knocking again */
	check(conn_wait_data(conns[i - 1], &in, 60000) == OK);
	conn_close(second);
	while (i)
		conn_close(conns[--i]);
	do {
		check(fiber_sleep(1) == OK);
		room_stats(&n);
	} while (n.in || n.out);
	room_set(0, 0);
}

Test(listen, places_are_shared_with_what_goes_out)
{
	run_on_workers(1, body_room);
}

/* --- The kernel has no buffers, no memory, no descriptors --- */

#ifdef RP_FAULTS
enum { BURST = 12 };

/* Two listeners on one worker; accepts of both fail for a while. Whoever came meanwhile is served in
 * the end, whoever was there all the time, and neither door starves the other. */
static void body_failing_accepts(struct worker *w)
{
	static const enum err reasons[] = { ERR_BUSY, ERR_NOMEM, ERR_NOFILES, ERR_IO };
	struct addr any = addr_ip4(0x7f000001, 0);
	struct listener *doors[2];
	struct addr at[2];

	check(ring_err(-ENOBUFS) == ERR_BUSY && ring_err(-ENOMEM) == ERR_NOMEM);
	for (unsigned i = 0; i < 2; i++) {
		doors[i] = serve(w, &any, (struct listen_config){ 0 });
		at[i] = listener_addr(doors[i]);
	}
	for (unsigned n = 0; n < array_len(reasons); n++) {
		struct conn *there = connect_to(w, &at[0]), *late[BURST];
		struct listener_stats before[2], after[2];
		struct ring_faults faults = { .fail_accepts = 20, .fail_accepts_with = reasons[n] };

		check(answers(there));
		for (unsigned i = 0; i < 2; i++)
			listener_stats(doors[i], &before[i]);
		ring_set_faults(w, &faults);
		for (unsigned i = 0; i < BURST; i++)
			late[i] = connect_to(w, &at[i % 2]);
		check(answers(there));
		for (unsigned i = 0; i < BURST; i++) {
			slice in = { 0 };

			out_str(conn_out(late[i]), "?");
			check(conn_wait_data(late[i], &in, 60000) == OK);
			conn_close(late[i]);
		}
		conn_close(there);
		for (unsigned i = 0; i < 2; i++) {
			listener_stats(doors[i], &after[i]);
			check(after[i].errors > before[i].errors);
			check(after[i].errors - before[i].errors <= 20); /* it does not spin */
			check(after[i].accepted - before[i].accepted == BURST / 2);
		}
		while (open_now)
			check(fiber_sleep(1) == OK);
	}
	ring_set_faults(w, &(struct ring_faults){ 0 });
}

Test(listen, accepts_that_fail_are_made_again)
{
	run_on_workers(1, body_failing_accepts);
}
#endif

/* --- Too much memory in use --- */

/* Sessions hold more than the limit: nobody gets in; they let go of it: everybody does. */
static void body_memory(struct worker *w)
{
	struct addr any = addr_ip4(0x7f000001, 0);
	struct listener *l = serve(w, &any, (struct listen_config){ 0 });
	struct addr at = listener_addr(l);
	struct conn *first[4], *late[8];
	struct listener_stats stats;

	/* The accepts in flight take four more, whatever is used by then. */
	for (unsigned i = 0; i < 4; i++) {
		first[i] = connect_to(w, &at);
		check(answers(first[i]));
	}
	bufs_account(w, 1 << 20);
	check(bufs_over_limit(w));
	for (unsigned i = 0; i < 8; i++)
		late[i] = connect_to(w, &at);
	unsigned served = 0;
	bool heard[8] = { false };

	for (unsigned i = 0; i < 8; i++)
		served += heard[i] = answers(late[i]);
	check(served <= 4);
	listener_stats(l, &stats);
	check(stats.errors >= 1 && stats.errors < 40);
	for (unsigned i = 0; i < 4; i++)
		check(answers(first[i])); /* who is in goes on */
	bufs_account(w, -(1 << 20));
	for (unsigned i = 0; i < 8; i++) {
		slice in = { 0 };

		check(heard[i] || conn_wait_data(late[i], &in, 60000) == OK);
		conn_close(late[i]);
	}
	for (unsigned i = 0; i < 4; i++)
		conn_close(first[i]);
	check(accepted_all == 12);
}

Test(listen, over_the_memory_limit_it_waits)
{
	test_config.bufs_max_bytes = 512 * 1024;
	run_on_workers(1, body_memory);
}

/* --- Unix and IPv6 --- */

static void body_unix(struct worker *w)
{
	char dir[] = "/tmp/listen-XXXXXX", path[64];

	check(mkdtemp(dir) != NULL);
	snprintf(path, sizeof(path), "%s/sock", dir);
	struct addr at = { .kind = ADDR_UNIX, .path = path };
	struct listener *l = serve(w, &at, (struct listen_config){ 0 });
	struct conn *c = connect_to(w, &at);

	check(conn_peer(c)->kind == ADDR_UNIX);
	check(answers(c));
	conn_close(c);
	listener_stop(l);
	/* The file of a listener that is gone does not keep the next one out. */
	l = serve(w, &at, (struct listen_config){ 0 });
	c = connect_to(w, &at);
	check(answers(c));
	conn_close(c);
	unlink(path);
	rmdir(dir);
}

Test(listen, unix_sockets)
{
	run_on_workers(1, body_unix);
}

Test(listen, what_is_no_socket_is_left_alone)
{
	char dir[] = "/tmp/listen-XXXXXX", path[64], text[8] = "";
	struct addr at = { .kind = ADDR_UNIX, .path = path };
	int fd;

	cr_assert(mkdtemp(dir));
	snprintf(path, sizeof(path), "%s/file", dir);
	FILE *file = fopen(path, "w+");
	cr_assert(file);
	fputs("mine", file);
	fflush(file);
	cr_expect_eq(listen_open(&at, 0, &fd), ERR_EXISTS);
	rewind(file);
	cr_expect(fgets(text, sizeof(text), file) && strcmp(text, "mine") == 0);
	fclose(file);
	cr_expect_eq(unlink(path), 0, "it is there still");
	rmdir(dir);
}

static _Atomic unsigned per_worker[2];
static struct addr shared_at;

static void count_worker(struct listener *l, int fd, const struct addr *peer)
{
	atomic_fetch_add(&per_worker[worker_index(listener_worker(l))], 1);
	ring_close(fd);
	listener_gone(l, peer);
}

static enum err listen_there(struct worker *w, void *arg)
{
	struct listen_config config = { .accepted = count_worker };
	struct listener *l;

	(void)arg;
	enum err err = listen_open(&shared_at, 0, &config.fd);

	return err ? err : listener_start(w, &config, &l);
}

static void body_shared(struct worker *w)
{
	struct listen_config config = { .accepted = count_worker };
	struct listener *l;

	shared_at = addr_ip4(0x7f000001, 0);
	check(listen_open(&shared_at, 0, &config.fd) == OK);
	shared_at = listen_addr(config.fd);
	check(listener_start(w, &config, &l) == OK);
	check(post_call_fiber(1, listen_there, NULL) == OK);
	for (unsigned i = 0; i < 200; i++)
		conn_close(connect_to(w, &shared_at));
	while (per_worker[0] + per_worker[1] < 200)
		check(fiber_sleep(1) == OK);
	check(per_worker[0] && per_worker[1]);
}

Test(listen, workers_share_a_port)
{
	run_on_workers(2, body_shared);
}
