/* SPDX-License-Identifier: GPL-2.0-or-later */
/* peer.c - the scripted next hop: one thread listens, one serves each session. */
#include "tests/relay/peer.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "core/base/base.h"

enum { LINE = 4096, DATA_MAX = 64 << 20 };

struct session {
	struct peer *peer;
	FILE *in, *out;
	unsigned number;
	struct peer_message now;
	char *data;
	size_t len, cap;
	bool open;
};

static void grow(struct session *s, const char *bytes, size_t len)
{
	if (s->len + len + 1 > s->cap) {
		s->cap = (s->len + len + 1) * 2;
		s->data = realloc(s->data, s->cap);
		must(s->data && s->cap < DATA_MAX);
	}
	memcpy(s->data + s->len, bytes, len);
	s->len += len;
	s->data[s->len] = 0;
}

static void forget(struct session *s)
{
	free(s->now.mail);
	for (unsigned i = 0; i < s->now.rcpt_count; i++)
		free(s->now.rcpts[i]);
	s->now = (struct peer_message){ 0 };
	s->len = 0;
}

static void keep(struct session *s, bool bdat)
{
	struct peer *p = s->peer;

	pthread_mutex_lock(&p->lock);
	unsigned at = atomic_load(&p->count);

	must(at < PEER_MESSAGES_MAX);
	s->now.session = s->number;
	s->now.bdat = bdat;
	s->now.data = s->data ? strdup(s->data) : strdup("");
	p->messages[at] = s->now;
	s->now = (struct peer_message){ 0 };
	s->len = 0;
	atomic_store(&p->count, at + 1);
	pthread_mutex_unlock(&p->lock);
}

/* An answer that never ends: a byte now and then, until the other side has gone. */
static void drip(struct session *s)
{
	const char *begin = "250-";

	while (fputc(*begin ? *begin++ : 'x', s->out) != EOF && fflush(s->out) == 0)
		usleep(20000);
}

/* The scripted answer, or the usual. Its first digit; 0: the session is over. */
static int say(struct session *s, const char *line, const char *usual)
{
	const char *(*script)(struct peer * p, unsigned session, const char *line) =
		s->peer->script;
	const char *text = script ? script(s->peer, s->number, line) : NULL;

	if (!text)
		text = usual;
	if (text[0] == '~') {
		drip(s);
		s->open = false;
		return 0;
	}
	if (text[0] == '!') {
		s->open = false;
		return 0;
	}
	fputs(text, s->out);
	fputs("\r\n", s->out);
	if (strncmp(text, "421", 3) == 0 || text[strlen(text) - 1] == '!')
		s->open = false;
	return text[0];
}

static void take_data(struct session *s)
{
	char line[LINE];
	unsigned accepted = s->now.rcpt_count;

	if (say(s, "DATA", accepted ? "354 go" : "554 no valid recipients") != '3')
		return;
	fflush(s->out);
	while (fgets(line, sizeof(line), s->in) && strcmp(line, ".\r\n") != 0)
		grow(s, line, strlen(line));
	if (feof(s->in)) {
		s->open = false;
		return;
	}
	if (s->peer->lmtp) {
		bool kept = false;

		for (unsigned i = 0; i < accepted; i++)
			kept = say(s, ".", "250 2.0.0 stored") == '2' || kept;
		if (kept) {
			keep(s, false);
			return;
		}
	} else if (say(s, ".", "250 2.0.0 taken") == '2') {
		keep(s, false);
		return;
	}
	forget(s);
}

static void take_bdat(struct session *s, const char *line)
{
	size_t size = strtoul(line + 5, NULL, 10);
	char *bytes = malloc(size + 1);
	bool last = strstr(line, "LAST") != NULL;

	must(bytes);
	if (fread(bytes, 1, size, s->in) != size)
		s->open = false;
	else
		grow(s, bytes, size);
	free(bytes);
	if (!s->open)
		return;
	if (!s->now.rcpt_count)
		say(s, line, "554 no recipients");
	else if (!last)
		say(s, line, "250 go on");
	else if (say(s, ".", "250 2.0.0 taken") == '2')
		keep(s, true);
	else
		forget(s);
}

static void command(struct session *s, const char *line)
{
	struct peer *p = s->peer;

	if (!strncasecmp(line, "EHLO", 4) || !strncasecmp(line, "LHLO", 4)) {
		const char *ehlo = p->ehlo;
		char text[LINE];

		snprintf(text, sizeof(text), "250-peer\r\n%s",
			ehlo ? ehlo : "250-PIPELINING\r\n250 8BITMIME");
		say(s, line, text);
	} else if (!strncasecmp(line, "MAIL", 4)) {
		forget(s);
		atomic_fetch_add(&p->mails, 1);
		if (say(s, line, "250 2.1.0 ok") == '2')
			s->now.mail = strdup(line);
	} else if (!strncasecmp(line, "RCPT", 4)) {
		if (!s->now.mail)
			say(s, line, "503 no mail");
		else if (say(s, line, "250 2.1.5 ok") == '2' && s->now.rcpt_count < PEER_RCPTS_MAX)
			s->now.rcpts[s->now.rcpt_count++] = strdup(line);
	} else if (!strcasecmp(line, "DATA")) {
		take_data(s);
	} else if (!strncasecmp(line, "BDAT", 4)) {
		take_bdat(s, line);
	} else if (!strcasecmp(line, "QUIT")) {
		say(s, line, "221 bye");
		s->open = false;
	} else if (!strcasecmp(line, "RSET")) {
		forget(s);
		say(s, line, "250 ok");
	} else {
		say(s, line, "500 what");
	}
}

static void *serve(void *arg)
{
	struct session *s = arg;
	char line[LINE];

	s->open = true;
	say(s, "", "220 peer ESMTP");
	while (s->open && fflush(s->out) == 0 && fgets(line, sizeof(line), s->in)) {
		line[strcspn(line, "\r\n")] = 0;
		command(s, line);
	}
	fflush(s->out);
	fclose(s->in);
	fclose(s->out);
	forget(s);
	free(s->data);
	atomic_fetch_sub(&s->peer->alive, 1);
	free(s);
	return NULL;
}

static void *listen_loop(void *arg)
{
	struct peer *p = arg;

	for (;;) {
		int fd = accept(p->fd, NULL, NULL);
		pthread_t thread;

		if (fd < 0)
			return NULL;
		struct session *s = calloc(1, sizeof(*s));
		int now = 1;

		setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &now, sizeof(now));

		must(s);
		s->peer = p;
		s->in = fdopen(fd, "r");
		s->out = fdopen(dup(fd), "w");
		must(s->in && s->out);
		s->number = atomic_fetch_add(&p->sessions, 1);
		atomic_fetch_add(&p->alive, 1);
		must(pthread_create(&thread, NULL, serve, s) == 0);
		pthread_detach(thread);
	}
}

struct peer *peer_start(uint16_t port)
{
	struct peer *p = calloc(1, sizeof(*p));
	struct sockaddr_in at = { .sin_family = AF_INET,
		.sin_port = htons(port),
		.sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t len = sizeof(at);
	int on = 1;

	must(p);
	signal(SIGPIPE, SIG_IGN);
	pthread_mutex_init(&p->lock, NULL);
	p->fd = socket(AF_INET, SOCK_STREAM, 0);
	must(p->fd >= 0);
	setsockopt(p->fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
	must(bind(p->fd, (struct sockaddr *)&at, sizeof(at)) == 0);
	must(listen(p->fd, 128) == 0);
	must(getsockname(p->fd, (struct sockaddr *)&at, &len) == 0);
	p->port = ntohs(at.sin_port);
	must(pthread_create(&p->thread, NULL, listen_loop, p) == 0);
	return p;
}

void peer_stop(struct peer *p)
{
	shutdown(p->fd, SHUT_RDWR);
	pthread_join(p->thread, NULL);
	close(p->fd);
	/* The relay has let go of its connections: sessions end by themselves. */
	while (atomic_load(&p->alive) > 0)
		usleep(1000);
	for (unsigned i = 0; i < atomic_load(&p->count); i++) {
		free(p->messages[i].mail);
		free(p->messages[i].data);
		for (unsigned k = 0; k < p->messages[i].rcpt_count; k++)
			free(p->messages[i].rcpts[k]);
	}
	pthread_mutex_destroy(&p->lock);
	free(p);
}

unsigned peer_rcpts(struct peer *p, const char *text)
{
	unsigned found = 0;

	for (unsigned i = 0; i < atomic_load(&p->count); i++)
		for (unsigned k = 0; k < p->messages[i].rcpt_count; k++)
			found += strstr(p->messages[i].rcpts[k], text) != NULL;
	return found;
}
