/* SPDX-License-Identifier: GPL-2.0-or-later */
/* log.c - the rings of the threads, and the thread that writes them out.
 *
 * One writer per ring and one reader of all: head and tail are the only shared words. The writer
 * thread sleeps on a futex and naps a few milliseconds between two rounds, so a busy worker makes
 * a system call for the log at most once per nap. Lines carry the moment they were said, by which
 * the rings are merged: what one thread says because of another's line stands behind it. Threads
 * that asked for no ring share one under a mutex. */
#include "core/log_line.h"

#include "core/worker.h"

#include <errno.h>
#include <linux/futex.h>
#include <poll.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

enum { RING_BYTES = 256 * 1024, NAP_NS = 3 * 1000 * 1000, WRITE_MAX = 4096 };

struct ring {
	struct list_link link;
	_Alignas(64) uint64_t head; /* written by the thread */
	uint64_t dropped;
	_Alignas(64) uint64_t tail; /* written by the writer */
	uint64_t reported;
	/* Of one round of the writer. */
	struct ring *chain;
	uint64_t limit; /* what was there at its beginning */
	int64_t front;  /* when the next line was said; INT64_MAX: there is none */
	bool was_ended;
	bool ended; /* its thread is gone: free it when empty */
	size_t cap; /* a power of two */
	char buf[];
};

/* Stands before each line in a ring. */
struct line_head {
	int64_t said_at; /* CLOCK_MONOTONIC ns */
	uint64_t len;
};

const char *const log_level_words[] = { "error", "warn", "info", "debug", NULL };
const char *const log_format_words[] = { "text", "json", NULL };
int log_level_now = LOG_INFO;

static int format_now = LOG_TEXT;
static int fd_now = STDERR_FILENO;

static struct {
	pthread_mutex_t lock; /* the list, and writing into `shared` */
	struct list rings;
	struct ring *shared;
	size_t ring_bytes;
	pthread_t thread;
	uint64_t lost; /* dropped by rings that are gone */
	int running, stopping;
	uint32_t asleep;    /* futex: 1 while the writer waits */
	int64_t give_up_at; /* CLOCK_MONOTONIC ms, once stopping */
} writer = {
	.lock = PTHREAD_MUTEX_INITIALIZER,
	.rings = { { &writer.rings.head, &writer.rings.head } },
};

static _Thread_local struct ring *own;
/* Only for its destructor: a thread that ends gives its ring back. */
static pthread_key_t own_key;
static pthread_once_t own_once = PTHREAD_ONCE_INIT;

#define get(at) __atomic_load_n(at, __ATOMIC_SEQ_CST)
#define set(at, n) __atomic_store_n(at, n, __ATOMIC_SEQ_CST)

static int64_t mono_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * INT64_C(1000000000) + t.tv_nsec;
}

static int64_t mono_ms(void)
{
	return mono_ns() / 1000000;
}

/* --- Into the rings --- */

static void wake_writer(void)
{
	if (!get(&writer.asleep))
		return;
	set(&writer.asleep, 0);
	syscall(SYS_futex, &writer.asleep, FUTEX_WAKE_PRIVATE, 1, NULL, NULL, 0);
}

static void ring_fill(struct ring *r, uint64_t place, const void *from, size_t len)
{
	uint64_t at = place & (r->cap - 1);
	size_t first = MIN(len, r->cap - at);

	memcpy(r->buf + at, from, first);
	memcpy(r->buf, (const char *)from + first, len - first);
}

static void ring_read(const struct ring *r, uint64_t place, void *to, size_t len)
{
	uint64_t at = place & (r->cap - 1);
	size_t first = MIN(len, r->cap - at);

	memcpy(to, r->buf + at, first);
	memcpy((char *)to + first, r->buf, len - first);
}

static void ring_push(struct ring *r, const char *line, size_t len)
{
	struct line_head h = { .said_at = mono_ns(), .len = len };
	uint64_t head = r->head;

	if (r->cap - (head - get(&r->tail)) < sizeof(h) + len) {
		set(&r->dropped, r->dropped + 1);
		return;
	}
	ring_fill(r, head, &h, sizeof(h));
	ring_fill(r, head + sizeof(h), line, len);
	set(&r->head, head + sizeof(h) + len);
	wake_writer();
}

static void write_directly(const char *line, size_t len)
{
	while (len > 0) {
		ssize_t n = write(get(&fd_now), line, len);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return;
		line += n;
		len -= (size_t)n;
	}
}

void log_write(enum log_level level, const char *event, const struct log_field *fields,
	size_t count)
{
	char buf[LOG_LINE_MAX];
	const struct log_line line = { clock_wall(), level, event, fields, count };
	size_t len = log_line_put(&line, (enum log_format)get(&format_now), buf);

	if (!get(&writer.running)) {
		write_directly(buf, len);
	} else if (own) {
		ring_push(own, buf, len);
	} else {
		pthread_mutex_lock(&writer.lock);
		if (writer.shared)
			ring_push(writer.shared, buf, len);
		pthread_mutex_unlock(&writer.lock);
	}
}

void log_text(enum log_level level, const char *fmt, ...)
{
	char text[LOG_VALUE_MAX];
	va_list args;

	if (!log_on(level))
		return;
	va_start(args, fmt);
	vsnprintf(text, sizeof(text), fmt, args);
	va_end(args);
	const struct log_field field = log_str("text", text);

	log_write(level, "server", &field, 1);
}

/* --- Out of them --- */

/* False: the pipe is full and our patience (when stopping) is at its end. */
static bool wait_writable(int fd)
{
	for (;;) {
		struct pollfd p = { .fd = fd, .events = POLLOUT };

		if (poll(&p, 1, 50) != 0)
			return true;
		if (get(&writer.stopping) && mono_ms() > get(&writer.give_up_at))
			return false;
	}
}

/* Small pieces: a pipe that is writable takes one page without blocking, a socket says so. */
static bool write_patiently(const char *bytes, size_t len)
{
	int fd = get(&fd_now);

	while (len > 0) {
		size_t piece = MIN(len, (size_t)WRITE_MAX);

		if (!wait_writable(fd))
			return false;
		ssize_t n = send(fd, bytes, piece, MSG_DONTWAIT | MSG_NOSIGNAL);

		if (n < 0 && errno == ENOTSOCK)
			n = write(fd, bytes, piece);
		if (n < 0 && (errno == EINTR || errno == EAGAIN))
			continue;
		if (n <= 0)
			return false;
		bytes += n;
		len -= (size_t)n;
	}
	return true;
}

static void report_drops(struct ring *r)
{
	uint64_t dropped = get(&r->dropped);
	char buf[LOG_LINE_MAX];

	if (dropped == r->reported)
		return;
	const struct log_field field = log_uint("lines", dropped - r->reported);
	const struct log_line line = { clock_wall(), LOG_WARN, "log_dropped", &field, 1 };

	r->reported = dropped;
	write_patiently(buf, log_line_put(&line, (enum log_format)get(&format_now), buf));
}

/* Lines on their way out, of all rings. */
struct sheet {
	size_t len;
	char text[WRITE_MAX * 4];
};

static void sheet_out(struct sheet *s)
{
	write_patiently(s->text, s->len);
	s->len = 0;
}

static void find_front(struct ring *r)
{
	struct line_head h = { .said_at = INT64_MAX };

	if (r->tail != r->limit)
		ring_read(r, r->tail, &h, sizeof(h));
	r->front = h.said_at;
}

static void take_line(struct ring *r, struct sheet *s)
{
	struct line_head h;

	ring_read(r, r->tail, &h, sizeof(h));
	if (h.len > sizeof(s->text) - s->len)
		sheet_out(s);
	ring_read(r, r->tail + sizeof(h), s->text + s->len, h.len);
	s->len += h.len;
	set(&r->tail, r->tail + sizeof(h) + h.len);
	find_front(r);
}

/* Oldest first. A line said after `until` waits for the next round: one that led to it may have come
 * into its ring after we looked there. */
static void merge(struct ring *rings, int64_t until)
{
	struct sheet sheet = { 0 };

	for (;;) {
		struct ring *first = NULL;
		int64_t next = until; /* of the other rings */

		for (struct ring *r = rings; r; r = r->chain) {
			if (first && r->front >= first->front) {
				next = MIN(next, r->front);
			} else if (r->front <= until) {
				next = first ? first->front : next;
				first = r;
			}
		}
		if (!first)
			break;
		do
			take_line(first, &sheet);
		while (first->front <= next);
	}
	sheet_out(&sheet);
}

/* False: there was nothing. */
static bool drain(struct ring *rings, int64_t until)
{
	bool any = false;

	for (struct ring *r = rings; r; r = r->chain) {
		any |= r->tail != r->limit || get(&r->dropped) != r->reported;
		find_front(r);
	}
	if (any)
		merge(rings, until);
	for (struct ring *r = rings; r; r = r->chain)
		report_drops(r);
	return any;
}

/* The list is only appended to by others, and only we remove: hold the lock for the look, not
 * for the writing. */
static struct ring *look_at_all(void)
{
	struct ring *chain = NULL;

	pthread_mutex_lock(&writer.lock);
	list_each(&writer.rings, link)
	{
		struct ring *r = container_of(link, struct ring, link);

		r->was_ended = get(&r->ended); /* before the head: nothing comes behind it then */
		r->limit = get(&r->head);
		r->chain = chain;
		chain = r;
	}
	pthread_mutex_unlock(&writer.lock);
	return chain;
}

static void forget(struct ring *r)
{
	pthread_mutex_lock(&writer.lock);
	writer.lost += get(&r->dropped);
	list_remove(&r->link);
	pthread_mutex_unlock(&writer.lock);
	free(r);
}

static bool drain_all(void)
{
	int64_t until = mono_ns(); /* before we look */
	struct ring *rings = look_at_all();
	bool any = drain(rings, until);

	for (struct ring *r = rings, *next; r; r = next) {
		next = r->chain;
		if (r->was_ended && r->tail == r->limit)
			forget(r);
	}
	return any;
}

static void *writer_main(void *arg)
{
	for (;;) {
		bool stopping = get(&writer.stopping);

		if (drain_all()) {
			if (!stopping)
				nanosleep(&(struct timespec){ .tv_nsec = NAP_NS }, NULL);
			continue;
		}
		if (stopping)
			return arg;
		set(&writer.asleep, 1);
		if (!drain_all() && !get(&writer.stopping))
			syscall(SYS_futex, &writer.asleep, FUTEX_WAIT_PRIVATE, 1, NULL, NULL, 0);
		set(&writer.asleep, 0);
	}
}

/* --- Life --- */

static struct ring *ring_new(void)
{
	size_t cap = LOG_LINE_MAX * 2;

	while (cap < writer.ring_bytes)
		cap *= 2;
	struct ring *r = aligned_alloc(64, (sizeof(*r) + cap + 63) / 64 * 64);

	if (!r)
		return NULL;
	*r = (struct ring){ .cap = cap };
	list_push(&writer.rings, &r->link);
	return r;
}

enum err log_start(size_t ring_bytes)
{
	if (get(&writer.running))
		return ERR_EXISTS;
	pthread_mutex_lock(&writer.lock);
	writer.ring_bytes = ring_bytes ? ring_bytes : RING_BYTES;
	writer.shared = ring_new();
	pthread_mutex_unlock(&writer.lock);
	if (!writer.shared)
		return ERR_NOMEM;
	set(&writer.stopping, 0);
	if (pthread_create(&writer.thread, NULL, writer_main, NULL)) {
		forget(writer.shared);
		writer.shared = NULL;
		return ERR_NOMEM;
	}
	set(&writer.running, 1);
	return OK;
}

void log_stop(msec wait_ms)
{
	if (!get(&writer.running))
		return;
	set(&writer.give_up_at, mono_ms() + wait_ms);
	set(&writer.stopping, 1);
	set(&writer.asleep, 1);
	wake_writer();
	pthread_join(writer.thread, NULL);
	set(&writer.running, 0);
	/* What came between its last look and now. */
	drain_all();
	pthread_mutex_lock(&writer.lock);
	struct ring *shared = writer.shared;

	writer.shared = NULL;
	pthread_mutex_unlock(&writer.lock);
	forget(shared);
}

static void thread_ends(void *ring)
{
	own = ring;
	log_thread_stop();
}

static void make_key(void)
{
	must(pthread_key_create(&own_key, thread_ends) == 0);
}

void log_thread_start(void)
{
	if (own || !get(&writer.running))
		return;
	pthread_once(&own_once, make_key);
	pthread_mutex_lock(&writer.lock);
	own = ring_new();
	pthread_mutex_unlock(&writer.lock);
	pthread_setspecific(own_key, own);
}

void log_thread_stop(void)
{
	struct ring *r = own;

	own = NULL;
	if (!r)
		return;
	pthread_setspecific(own_key, NULL);
	if (get(&writer.running)) {
		set(&r->ended, true);
		return;
	}
	r->chain = NULL;
	r->limit = r->head;
	drain(r, INT64_MAX - 1);
	forget(r);
}

uint64_t log_dropped(void)
{
	pthread_mutex_lock(&writer.lock);
	uint64_t sum = writer.lost;

	list_each(&writer.rings, link) sum += get(&container_of(link, struct ring, link)->dropped);
	pthread_mutex_unlock(&writer.lock);
	return sum;
}

void log_set_level(enum log_level level)
{
	set(&log_level_now, (int)level);
}

void log_set_format(enum log_format format)
{
	set(&format_now, (int)format);
}

void log_set_fd(int fd)
{
	set(&fd_now, fd);
}
