/* SPDX-License-Identifier: GPL-2.0-or-later */
/* remote.c - ask the running server, or the data folder of a stopped one.
 *
 * An answer is one line of at most CONTROL_ANSWER_MAX bytes. */
#include "server/remote.h"

#include <errno.h>
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

static int dial(const char *path)
{
	struct sockaddr_un at = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (fd < 0 || strlen(path) >= sizeof(at.sun_path))
		return fd;
	memcpy(at.sun_path, path, strlen(path) + 1);
	if (connect(fd, (struct sockaddr *)&at, sizeof(at)) == 0 && !is_ghost(fd))
		return fd;
	close(fd);
	return -1;
}

enum err remote_open(const char *config, struct out *why, struct remote **out)
{
	struct remote *r = calloc(1, sizeof(*r));
	char control[SETUP_CONTROL_PATH];
	const char *path;
	enum err err;

	if (!r)
		return ERR_NOMEM;
	r->fd = -1;
	err = setup_load_options(config, why, &r->setup);
	if (!err) {
		path = setup_control_path(r->setup->service, control);
		r->fd = dial(path);
		if (r->fd < 0 && errno == EACCES) {
			out_printf(why, "%s: not permitted; use the server's user, or root\n",
				path);
			err = ERR_DENIED;
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

static bool receive_line(int fd, struct out *line)
{
	char buf[READ_BYTES];

	for (;;) {
		ssize_t got = recv(fd, buf, sizeof(buf), 0);

		if (got < 0 && errno == EINTR)
			continue;
		if (got <= 0)
			return false;
		out_bytes(line, buf, (size_t)got);
		if (!out_ok(line))
			return false;
		if (buf[got - 1] == '\n')
			return true;
	}
}

static json_t *ask(int fd, const json_t *request)
{
	char *text = json_dumps(request, JSON_COMPACT);
	struct out line = out_heap(CONTROL_ANSWER_MAX + READ_BYTES);
	json_t *answer = NULL;
	json_error_t error;

	if (text && send_all(fd, text, strlen(text)) && send_all(fd, "\n", 1) &&
		receive_line(fd, &line))
		answer = json_loadb(line.buf, line.len, 0, &error);
	free(text);
	out_heap_done(&line);
	return answer ? answer : admin_error("the server closed the connection");
}

bool remote_is_served(const struct remote *r)
{
	return !r->offline;
}

json_t *remote_call(struct remote *r, json_t *request)
{
	json_t *answer = r->offline ? offline_run(r->offline, request) : ask(r->fd, request);

	json_decref(request);
	return answer;
}
