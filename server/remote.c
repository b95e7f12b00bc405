/* SPDX-License-Identifier: GPL-2.0-or-later */
/* remote.c - ask the running server, or the data folder of a stopped one.
 *
 * An answer is one line of at most CONTROL_ANSWER_MAX bytes. */
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

static enum err receive_line(const struct remote *r, struct out *line)
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
		out_bytes(line, buf, (size_t)got);
		if (!out_ok(line))
			return ERR_TOO_LARGE;
		if (buf[got - 1] == '\n')
			return OK;
	}
}

static json_t *ask(const struct remote *r, const json_t *request)
{
	char *text = json_dumps(request, JSON_COMPACT);
	struct out line = out_heap(CONTROL_ANSWER_MAX + READ_BYTES);
	json_t *answer = NULL;
	json_error_t error;
	enum err err = ERR_CLOSED;

	if (text && send_all(r->fd, text, strlen(text)) && send_all(r->fd, "\n", 1))
		err = receive_line(r, &line);
	if (!err)
		answer = json_loadb(line.buf, line.len, 0, &error);
	free(text);
	out_heap_done(&line);
	if (answer)
		return answer;
	return admin_error(err == ERR_TIMEOUT ? "the server does not answer" :
						"the server closed the connection");
}

bool remote_is_served(const struct remote *r)
{
	return !r->offline;
}

json_t *remote_call(struct remote *r, json_t *request)
{
	json_t *answer = r->offline ? offline_run(r->offline, request) : ask(r, request);

	json_decref(request);
	return answer;
}
