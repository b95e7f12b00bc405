/* SPDX-License-Identifier: GPL-2.0-or-later */
/* remote.c - ask the running server, or the data folder of a stopped one.
 *
 * An answer is one line of at most CONTROL_ANSWER_MAX bytes, and at most CONTROL_DATA_MAX behind it. Without a server
 * a request is answered when it is sent, and the answer kept. */
#include "server/remote.h"

#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "server/admin.h"
#include "server/control.h"
#include "server/door.h"
#include "server/offline.h"

enum { READ_BYTES = 65536 };

struct remote {
	struct setup *setup;
	struct offline *offline; /* nobody serves */
	int fd;                  /* -1: none */
	char control[SETUP_CONTROL_PATH];
	msec timeout_ms;
	struct out in; /* received; of it `used` belongs to answers that were fetched */
	size_t used;
	bool broken; /* a request could not be sent */
	/* Offline: answers that wait to be fetched, and what stands behind the last one fetched. */
	struct kept {
		json_t *answer;
		struct out data;
	} kept[REMOTE_AHEAD], last;
	size_t kept_len;
};

/* The ring of a killed server may hold its listening socket for a moment longer than it lived, and
 * takes connections that nobody will serve. */
static bool is_ghost(int fd)
{
	struct ucred peer;
	socklen_t len = sizeof(peer);

	return getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &len) == 0 && peer.pid > 0 &&
		kill(peer.pid, 0) < 0 && errno == ESRCH;
}

static int dial(const char *path, msec timeout_ms)
{
	struct sockaddr_un at = { .sun_family = AF_UNIX };
	struct timeval most = { .tv_sec = (time_t)(timeout_ms / 1000),
		.tv_usec = (suseconds_t)(timeout_ms % 1000 * 1000) };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (fd < 0 || strlen(path) >= sizeof(at.sun_path))
		return fd;
	memcpy(at.sun_path, path, strlen(path) + 1);
	/* Of connect too: a backlog that nobody empties is full in the end (EAGAIN). */
	setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &most, sizeof(most));
	if (connect(fd, (struct sockaddr *)&at, sizeof(at)) == 0 && !is_ghost(fd))
		return fd;
	int saved = errno;

	close(fd);
	errno = saved;
	return -1;
}

enum err remote_open(const char *config, msec timeout_ms, struct out *why, struct remote **out)
{
	struct remote *r = calloc(1, sizeof(*r));
	const char *path;
	enum err err;

	if (!r)
		return ERR_NOMEM;
	r->fd = -1;
	r->in = out_heap(CONTROL_ANSWER_MAX + CONTROL_DATA_MAX + READ_BYTES);
	r->timeout_ms = timeout_ms;
	err = setup_load_options(config, why, &r->setup);
	if (!err) {
		path = setup_control_path(r->setup->service, r->control);
		r->fd = dial(path, timeout_ms);
		if (r->fd < 0 && errno == EACCES) {
			out_printf(why, "%s: not permitted; use the server's user, or root\n",
				path);
			err = ERR_DENIED;
		} else if (r->fd < 0 && errno == EAGAIN) {
			out_printf(why, "%s: the server takes no more connections\n", path);
			err = ERR_TIMEOUT;
		} else if (r->fd < 0) {
			r->offline = offline_new(r->setup);
			err = r->offline ? OK : ERR_NOMEM;
		}
	}
	if (err) {
		remote_close(r);
		return err;
	}
	*out = r;
	return OK;
}

void remote_close(struct remote *r)
{
	if (!r)
		return;
	if (r->fd >= 0)
		close(r->fd);
	for (size_t i = 0; i < r->kept_len; i++) {
		json_decref(r->kept[i].answer);
		out_heap_done(&r->kept[i].data);
	}
	out_heap_done(&r->last.data);
	out_heap_done(&r->in);
	offline_free(r->offline);
	setup_put(r->setup);
	free(r);
}

static bool send_all(int fd, const char *bytes, size_t len)
{
	while (len) {
		ssize_t sent = send(fd, bytes, len, MSG_NOSIGNAL);

		if (sent < 0 && errno == EINTR)
			continue;
		if (sent <= 0)
			return false;
		bytes += sent;
		len -= (size_t)sent;
	}
	return true;
}

/* Something to read, or the end, within the time. */
static bool says_something(int fd, msec timeout_ms)
{
	struct pollfd poll_fd = { .fd = fd, .events = POLLIN };
	int got;

	do
		got = poll(&poll_fd, 1, (int)MIN(timeout_ms, INT_MAX));
	while (got < 0 && errno == EINTR);
	return got > 0;
}

/* A long request is no reason to give up, as long as the server answers another one meanwhile. */
static bool is_alive(const struct remote *r)
{
	static const char ping[] = "{\"do\":\"ping\"}\n";
	int fd = dial(r->control, r->timeout_ms);
	bool alive = fd >= 0 && send_all(fd, ping, sizeof(ping) - 1) &&
		says_something(fd, r->timeout_ms);

	if (fd >= 0)
		close(fd);
	return alive;
}

/* Some more bytes. */
static enum err receive(struct remote *r)
{
	char buf[READ_BYTES];

	for (;;) {
		if (!says_something(r->fd, r->timeout_ms) && !is_alive(r))
			return ERR_TIMEOUT;
		ssize_t got = recv(r->fd, buf, sizeof(buf), MSG_DONTWAIT);

		if (got < 0 && (errno == EINTR || errno == EAGAIN))
			continue;
		if (got <= 0)
			return ERR_CLOSED;
		out_bytes(&r->in, buf, (size_t)got);
		return out_ok(&r->in) ? OK : ERR_TOO_LARGE;
	}
}

static void forget_used(struct remote *r)
{
	if (!r->used)
		return;
	memmove(r->in.buf, r->in.buf + r->used, r->in.len - r->used);
	r->in.len -= r->used;
	r->used = 0;
}

static enum err receive_line(struct remote *r, slice *out)
{
	size_t looked = 0;

	for (;;) {
		ptrdiff_t end = slice_find(slice_skip(out_written(&r->in), looked), '\n');
		enum err err;

		if (end >= 0) {
			*out = slice_sub(out_written(&r->in), 0, looked + (size_t)end);
			return OK;
		}
		looked = r->in.len;
		err = receive(r);
		if (err)
			return err;
	}
}

/* The answer's own bytes behind its line. */
static enum err receive_data(struct remote *r, const json_t *answer, size_t at, slice *out)
{
	json_int_t bytes = json_integer_value(json_object_get(answer, "behind"));
	enum err err = bytes < 0 || bytes > CONTROL_DATA_MAX ? ERR_CORRUPT : OK;

	while (!err && r->in.len < at + (size_t)bytes)
		err = receive(r);
	if (!err) {
		*out = slice_sub(slice_skip(out_written(&r->in), at), 0, (size_t)bytes);
		r->used = at + (size_t)bytes;
	}
	return err;
}

static json_t *receive_answer(struct remote *r, slice *out_data)
{
	json_t *answer = NULL;
	json_error_t error;
	slice line;
	enum err err = r->broken ? ERR_CLOSED : OK;

	forget_used(r);
	if (!err)
		err = receive_line(r, &line);
	if (!err) {
		size_t at = line.len + 1;

		answer = json_loadb(line.ptr, line.len, 0, &error);
		err = answer ? receive_data(r, answer, at, out_data) : ERR_CLOSED;
	}
	if (!err)
		return answer;
	json_decref(answer);
	r->broken = true;
	return admin_error(err == ERR_TIMEOUT ? "the server does not answer" :
						"the server closed the connection");
}

bool remote_is_served(const struct remote *r)
{
	return !r->offline;
}

static void send_request(struct remote *r, json_t *request, slice data)
{
	char *text;

	if (data.len)
		json_object_set_new(request, "behind", json_integer((json_int_t)data.len));
	text = json_dumps(request, JSON_COMPACT);
	r->broken = r->broken || !text || !send_all(r->fd, text, strlen(text)) ||
		!send_all(r->fd, "\n", 1) || !send_all(r->fd, data.ptr, data.len);
	free(text);
}

void remote_send(struct remote *r, json_t *request, slice data)
{
	must(data.len <= CONTROL_DATA_MAX);
	if (r->offline) {
		must(r->kept_len < REMOTE_AHEAD);
		struct kept *k = &r->kept[r->kept_len++];

		k->data = out_heap(CONTROL_DATA_MAX);
		k->answer = offline_run(r->offline, request, data, &k->data);
	} else {
		send_request(r, request, data);
	}
	json_decref(request);
}

json_t *remote_answer(struct remote *r, slice *out_data)
{
	*out_data = SLICE("");
	if (!r->offline)
		return receive_answer(r, out_data);
	must(r->kept_len);
	out_heap_done(&r->last.data);
	r->last = r->kept[0];
	memmove(r->kept, r->kept + 1, --r->kept_len * sizeof(r->kept[0]));
	*out_data = out_written(&r->last.data);
	return r->last.answer;
}

json_t *remote_call(struct remote *r, json_t *request)
{
	slice data;

	remote_send(r, request, SLICE(""));
	return remote_answer(r, &data);
}
