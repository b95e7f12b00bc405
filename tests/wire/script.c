/* SPDX-License-Identifier: GPL-2.0-or-later */
/* script.c - reads a dialogue line by line and plays it. */
#include "tests/wire/script.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>

#include "core/base/codec.h"
#include "core/base/text.h"
#include "proto/sasl/sasl.h"

enum { YAML_MAX = 4096, FILE_MAX = 1 << 20, NAMES_MAX = 512, WORDS_MAX = 64 };

/* What a name in a pattern stood for. */
struct word {
	slice name;
	char value[128];
	size_t len;
};

struct play {
	const struct wire_transport *t;
	struct out *why;
	char yaml[YAML_MAX], service[32];
	bool bytewise, started, skip, connected[WIRE_SESSIONS];
	unsigned line, session;
	struct word words[WORDS_MAX];
	size_t word_count;
	const char *path;
};

static bool fail(struct play *p, const char *what, slice detail)
{
	out_printf(p->why, "%s:%u: %s%.*s", p->path, p->line, what, SLICE_ARG(detail));
	return false;
}

/* "$(name)" at the start; its length, 0: there is none. */
static size_t name_at(slice text, slice *out_name)
{
	ptrdiff_t end = slice_starts(text, SLICE("$(")) ? slice_find(text, ')') : -1;

	if (end < 0)
		return 0;
	*out_name = slice_sub(text, 2, (size_t)end);
	return (size_t)end + 1;
}

static const struct word *word_of(const struct play *p, slice name)
{
	for (size_t i = 0; i < p->word_count; i++)
		if (slice_eq(p->words[i].name, name))
			return &p->words[i];
	return NULL;
}

static bool in_word(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
		c == '-' || c == '_';
}

static bool glob(struct play *p, slice pattern, slice text);

/* A name that stands for nothing yet takes as much of a word as lets the rest match. */
static bool glob_name(struct play *p, slice name, slice rest, slice text)
{
	const struct word *known = word_of(p, name);
	struct word *fresh;

	if (known)
		return slice_starts(text, slice_of(known->value, known->len)) &&
			glob(p, rest, slice_skip(text, known->len));
	must(p->word_count < WORDS_MAX);
	fresh = &p->words[p->word_count++];
	*fresh = (struct word){ .name = name };
	while (fresh->len < text.len && fresh->len < sizeof(fresh->value) &&
		in_word(text.ptr[fresh->len])) {
		fresh->value[fresh->len] = text.ptr[fresh->len];
		fresh->len++;
	}
	for (; fresh->len; fresh->len--)
		if (glob(p, rest, slice_skip(text, fresh->len)))
			return true;
	p->word_count = (size_t)(fresh - p->words);
	return false;
}

/* `*` is any run of bytes. */
static bool glob(struct play *p, slice pattern, slice text)
{
	slice name;
	size_t len;

	while (pattern.len && pattern.ptr[0] != '*') {
		len = name_at(pattern, &name);
		if (len)
			return glob_name(p, name, slice_skip(pattern, len), text);
		if (!text.len || text.ptr[0] != pattern.ptr[0])
			return false;
		pattern = slice_skip(pattern, 1);
		text = slice_skip(text, 1);
	}
	if (!pattern.len)
		return !text.len;
	pattern = slice_skip(pattern, 1);
	for (size_t i = 0; i <= text.len; i++)
		if (glob(p, pattern, slice_skip(text, i)))
			return true;
	return false;
}

static void unescape(const struct play *p, slice in, struct out *o)
{
	for (size_t i = 0; i < in.len; i++) {
		unsigned char byte = 0;
		slice name;
		size_t len = name_at(slice_skip(in, i), &name);
		const struct word *word = len ? word_of(p, name) : NULL;

		if (word) {
			out_bytes(o, word->value, word->len);
			i += len - 1;
			continue;
		}
		if (in.ptr[i] != '\\' || i + 1 == in.len) {
			out_char(o, in.ptr[i]);
			continue;
		}
		switch (in.ptr[++i]) {
		case 'r':
			out_char(o, '\r');
			break;
		case 'n':
			out_char(o, '\n');
			break;
		case 't':
			out_char(o, '\t');
			break;
		case '0':
			out_char(o, '\0');
			break;
		case 'x':
			if (codec_get_hex(slice_sub(in, i + 1, i + 3), &byte, &len))
				out_char(o, (char)byte);
			i += 2;
			break;
		default:
			out_char(o, in.ptr[i]);
		}
	}
}

static bool up(struct play *p)
{
	if (!p->started && !p->t->start(p->service, p->yaml))
		return fail(p, "the server does not start", SLICE(""));
	p->started = true;
	return true;
}

static bool ready(struct play *p)
{
	if (!up(p))
		return false;
	if (!p->connected[p->session] && !p->t->connect())
		return fail(p, "no connection", SLICE(""));
	p->connected[p->session] = true;
	return true;
}

static void send_bytes(struct play *p, slice bytes)
{
	if (!p->bytewise) {
		p->t->send(bytes);
		return;
	}
	for (size_t i = 0; i < bytes.len; i++)
		p->t->send(slice_sub(bytes, i, i + 1));
}

static bool client(struct play *p, char kind, slice text)
{
	struct out o = out_heap(8 << 20);
	slice count;
	uint64_t n = 1;

	if (kind == '^' && (!slice_cut(&text, ' ', &count) || !text_parse_uint(count, 4 << 20, &n)))
		return fail(p, "C^ needs a count", text);
	for (uint64_t i = 0; i < n; i++)
		unescape(p, text, &o);
	if (kind == ':')
		out_str(&o, "\r\n");
	send_bytes(p, out_written(&o));
	out_heap_done(&o);
	return true;
}

static bool server(struct play *p, char kind, slice pattern)
{
	struct out line = out_heap(1 << 20);
	bool found = false, good = true;

	while (good && !found) {
		line.len = 0;
		good = p->t->line(&line);
		found = good && glob(p, pattern, out_written(&line));
		if (good && !found && kind == ':')
			good = false;
	}
	if (!found) {
		fail(p, "expected ", pattern);
		out_printf(p->why, ", got %.*s", SLICE_ARG(out_written(&line)));
	}
	out_heap_done(&line);
	return found;
}

static bool stored_has(struct play *p, slice pattern)
{
	slice all = p->t->stored(), line;
	char longer[1024];

	/* The star that ends an action is not the pattern's: what follows does not matter. */
	snprintf(longer, sizeof(longer), "%.*s*", SLICE_ARG(pattern));
	pattern = slice_str(longer);
	while (slice_cut(&all, '\n', &line)) {
		if (line.len && line.ptr[line.len - 1] == '\r')
			line.len--;
		if (glob(p, pattern, line))
			return true;
	}
	return false;
}

/* What AUTH is called, how it is answered. */
struct auth_words {
	const char *service, *ask, *more, *good;
};

static const struct auth_words *auth_words_of(const char *service)
{
	static const struct auth_words words[] = { { "imap", "t AUTHENTICATE", "+ ", "t OK " },
		{ "pop3", "AUTH", "+ ", "+OK " }, { "", "AUTH", "334 ", "235 " } };
	const struct auth_words *w = words;

	while (strncmp(service, w->service, strlen(w->service)) != 0)
		w++;
	return w;
}

/* The client's side of SCRAM, up to and with the server's last line. */
static bool scram(struct play *p, slice args)
{
	struct arena a = { 0 };
	struct sasl_client client_side;
	struct sasl_client_conf conf = { .nonce = SLICE("abcdefghijklmnopqrstuvwx") };
	struct out line = out_heap(1 << 20);
	slice how, response, challenge;
	bool good = true, plus;
	const struct auth_words *words = auth_words_of(p->service);
	slice more = slice_str(words->more);

	slice_cut(&args, ' ', &conf.user);
	slice_cut(&args, ' ', &conf.password);
	plus = slice_cut(&args, ' ', &how);
	if (plus && p->t->binding)
		conf.binding = p->t->binding();
	enum sasl_mech mech = plus ? SASL_SCRAM_SHA_256_PLUS : SASL_SCRAM_SHA_256;

	sasl_client_start(&client_side, &a, &conf, mech, mech);
	good = sasl_client_initial(&client_side, &response);
	out_printf(&line, "%s %.*s ", words->ask, SLICE_ARG(sasl_mech_name(mech)));
	while (good) {
		sasl_wire_put(&line, response);
		out_str(&line, "\r\n");
		send_bytes(p, out_written(&line));
		line.len = 0;
		if (!p->t->line(&line) || !slice_starts(out_written(&line), more))
			break;
		good = sasl_wire_get(&a, slice_skip(out_written(&line), more.len), &challenge) &&
			sasl_client_feed(&client_side, challenge, &response) == SASL_MORE;
		line.len = 0;
	}
	good = good && slice_starts(out_written(&line), slice_str(words->good)) &&
		sasl_client_done(&client_side);
	if (!good)
		fail(p, "SCRAM failed: ", out_written(&line));
	sasl_client_end(&client_side);
	out_heap_done(&line);
	arena_done(&a);
	return good;
}

static bool do_clock(struct play *p, slice arg)
{
	msec ms;

	if (!p->t->clock) {
		p->skip = true;
		return true;
	}
	if (!slice_starts(arg, SLICE("+")) || !text_parse_duration(slice_skip(arg, 1), &ms))
		return fail(p, "bad time ", arg);
	p->t->clock(ms);
	return true;
}

static bool count_is(struct play *p, slice arg)
{
	uint64_t want;

	if (!p->t->messages)
		return true;
	if (!text_parse_uint(arg, 1000000, &want))
		return fail(p, "bad count ", arg);
	return p->t->messages() == want ? true : fail(p, "another number of messages than ", arg);
}

static bool mail(struct play *p, slice text)
{
	struct out message = out_heap(1 << 20);

	unescape(p, text, &message);
	bool good = p->t->mail && p->t->mail(out_written(&message));

	out_heap_done(&message);
	return good ? true : fail(p, "not delivered: ", text);
}

static bool do_session(struct play *p, slice arg)
{
	uint64_t n;

	p->skip = !p->t->session;
	if (p->skip)
		return true;
	if (!text_parse_uint(arg, WIRE_SESSIONS, &n) || n == 0)
		return fail(p, "bad session ", arg);
	p->session = (unsigned)n - 1;
	p->t->session(p->session);
	return true;
}

static bool action(struct play *p, slice text)
{
	slice name;

	text = slice_sub(text, 1, text.len - 1);
	slice_cut(&text, ' ', &name);
	if (slice_eq(name, SLICE("clock")))
		return do_clock(p, text);
	if (slice_eq(name, SLICE("close")))
		return p->t->closed() ? true : fail(p, "the connection is still open", SLICE(""));
	if (slice_eq(name, SLICE("tls")))
		return ready(p) && p->t->tls() ? true : fail(p, "no TLS", SLICE(""));
	if (slice_eq(name, SLICE("messages")))
		return count_is(p, text);
	if (slice_eq(name, SLICE("mail")))
		return mail(p, text);
	if (slice_eq(name, SLICE("scram")))
		return scram(p, text);
	if (slice_eq(name, SLICE("stored")))
		return !p->t->stored || stored_has(p, text) ? true : fail(p, "not stored: ", text);
	if (slice_eq(name, SLICE("not-stored")))
		return !p->t->stored || !stored_has(p, text) ? true : fail(p, "stored: ", text);
	if (slice_eq(name, SLICE("hangup"))) {
		p->t->hangup();
		p->connected[p->session] = false;
		return true;
	}
	if (slice_eq(name, SLICE("connect")))
		return p->connected[p->session] = p->t->connect();
	if (slice_eq(name, SLICE("restart"))) {
		memset(p->connected, 0, sizeof(p->connected));
		p->session = 0;
		p->skip = !p->t->restart;
		return p->skip || p->t->restart();
	}
	if (slice_eq(name, SLICE("session")))
		return do_session(p, text);
	if (slice_eq(name, SLICE("deflate"))) {
		p->skip = !p->t->deflate;
		return p->skip || p->t->deflate() ? true : fail(p, "no DEFLATE", SLICE(""));
	}
	return fail(p, "unknown action ", name);
}

static bool header_line(struct play *p, slice line)
{
	slice name;

	slice_cut(&line, ' ', &name);
	if (slice_eq(name, SLICE("service"))) {
		snprintf(p->service, sizeof(p->service), "%.*s", SLICE_ARG(line));
		p->skip = p->skip || (p->t->serves && !p->t->serves(p->service));
	} else if (slice_eq(name, SLICE("config"))) {
		size_t at = strlen(p->yaml);

		snprintf(p->yaml + at, sizeof(p->yaml) - at, "%.*s\n", SLICE_ARG(line));
	} else if (slice_eq(name, SLICE("only"))) {
		p->skip = !slice_eq(line, slice_str(p->t->name));
	} else if (slice_eq(name, SLICE("whole"))) {
		p->skip = p->skip || p->bytewise;
	} else {
		return fail(p, "what is ", name);
	}
	return true;
}

static bool play_line(struct play *p, slice line)
{
	char kind = line.len > 1 ? line.ptr[1] : '\0';
	slice rest = slice_skip(line, line.len > 2 && line.ptr[2] == ' ' ? 3 : 2);

	if (line.len == 0 || line.ptr[0] == '#')
		return true;
	if (line.ptr[0] == 'C' && (kind == ':' || kind == '>' || kind == '^'))
		return ready(p) && client(p, kind, rest);
	if (line.ptr[0] == 'S' && (kind == ':' || kind == '~'))
		return ready(p) && server(p, kind, rest);
	if (line.ptr[0] == '*')
		return up(p) && action(p, line);
	return header_line(p, line);
}

static char *read_all(const char *path, size_t *len)
{
	FILE *file = fopen(path, "r");
	char *text = calloc(1, FILE_MAX);

	*len = file ? fread(text, 1, FILE_MAX - 1, file) : 0;
	if (file)
		fclose(file);
	return text;
}

enum wire_result wire_play(const struct wire_transport *t, const char *path, bool bytewise,
	struct out *why)
{
	struct play p = {
		.t = t, .why = why, .bytewise = bytewise, .path = path, .service = "smtp"
	};
	size_t len;
	char *text = read_all(path, &len);
	slice all = slice_of(text, len), line;
	bool good = len > 0;

	if (!good)
		fail(&p, "cannot be read", SLICE(""));
	while (good && !p.skip && slice_cut(&all, '\n', &line)) {
		p.line++;
		good = play_line(&p, line);
	}
	if (p.connected[p.session])
		t->hangup();
	if (p.started)
		t->stop();
	free(text);
	return !good ? WIRE_FAILED : p.skip ? WIRE_ELSEWHERE : WIRE_PASSED;
}

static int by_name(const void *x, const void *y)
{
	return strcmp(*(char *const *)x, *(char *const *)y);
}

int wire_play_all(const struct wire_transport *t, const char *folder)
{
	char *names[NAMES_MAX], path[1024];
	unsigned counts[3] = { 0 };
	size_t found = 0;
	DIR *dir = opendir(folder);
	struct dirent *entry;

	while (dir && (entry = readdir(dir)))
		if (slice_ends_nocase(slice_str(entry->d_name), SLICE(".wire")) &&
			found < NAMES_MAX)
			names[found++] = strdup(entry->d_name);
	if (dir)
		closedir(dir);
	qsort(names, found, sizeof(*names), by_name);
	for (size_t i = 0; i < found; i++) {
		for (int bytewise = 0; bytewise < (t->stored ? 2 : 1); bytewise++) {
			struct out why = out_heap(1 << 16);
			enum wire_result result;

			snprintf(path, sizeof(path), "%s/%s", folder, names[i]);
			result = wire_play(t, path, bytewise, &why);
			if (result == WIRE_FAILED)
				printf("not ok %s%s\n# %.*s\n", names[i],
					bytewise ? " (byte by byte)" : "",
					SLICE_ARG(out_written(&why)));
			if (result != WIRE_ELSEWHERE || !bytewise)
				counts[result]++;
			out_heap_done(&why);
		}
		free(names[i]);
	}
	printf("%u scripts are played elsewhere\n%u passed, %u failed, 0 skipped\n",
		counts[WIRE_ELSEWHERE], counts[WIRE_PASSED], counts[WIRE_FAILED]);
	return counts[WIRE_FAILED] || !counts[WIRE_PASSED];
}
