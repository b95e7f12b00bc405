/* SPDX-License-Identifier: GPL-2.0-or-later */
/* import_mbox.c - files of messages one behind the other, each begun by a line "From sender date".
 *
 * Such a line counts where a blank one is before it (or nothing) and a date stands in it; ">From" loses
 * its mark, as mboxrd has it. The date is the message's; Status, X-Status, X-Keywords and X-UIDL
 * are read and left out. A file is read in pieces and no line need fit into one. A place is an offset. */
#include "server/import_int.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

#include "core/base/text.h"
#include "proto/mime/header.h"
#include "server/cli.h"

enum { BUFFER = 64 * 1024, HEADER_MAX = 256 * 1024, FROM_MAX = 1024, DEPTH_MAX = 32 };

struct mbox {
	struct import *im;
	FILE *file;
	char buf[BUFFER];
	size_t len, used;
	uint64_t offset; /* of buf[used] */
	bool at_line, after_blank, ended;
};

/* --- Pieces of lines --------------------------------------------------------------------------------- */

/* A line, or a part of one too long for the buffer; with its end. Empty: the file is over. */
static slice peek(struct mbox *m)
{
	const char *end = memchr(m->buf + m->used, '\n', m->len - m->used);

	if (!end && !m->ended && m->len - m->used < sizeof(m->buf)) {
		size_t got;

		memmove(m->buf, m->buf + m->used, m->len - m->used);
		m->len -= m->used;
		m->used = 0;
		got = fread(m->buf + m->len, 1, sizeof(m->buf) - m->len, m->file);
		m->ended = got == 0;
		m->len += got;
		end = memchr(m->buf, '\n', m->len);
	}
	return slice_of(m->buf + m->used,
		end ? (size_t)(end - m->buf) + 1 - m->used : m->len - m->used);
}

static bool is_blank(const struct mbox *m, slice line)
{
	return m->at_line && (slice_eq(line, SLICE("\n")) || slice_eq(line, SLICE("\r\n")));
}

static void consume(struct mbox *m, slice line)
{
	m->after_blank = is_blank(m, line);
	m->at_line = line.len && line.ptr[line.len - 1] == '\n';
	m->used += line.len;
	m->offset += line.len;
}

/* --- "From sender Thu Jan  1 00:00:00 2026" ---------------------------------------------------------- */

static int month_of(slice word)
{
	static const char months[] = "JanFebMarAprMayJunJulAugSepOctNovDec";

	for (int i = 0; word.len == 3 && i < 12; i++)
		if (slice_eq_nocase(word, slice_of(months + i * 3, 3)))
			return i + 1;
	return 0;
}

static bool read_time(slice word, struct text_date *d)
{
	uint64_t parts[3] = { 0 };
	slice part;
	size_t n = 0;

	for (; n < 3 && slice_cut(&word, ':', &part); n++)
		if (!text_parse_uint(part, 60, &parts[n]))
			return false;
	d->hour = (int)parts[0];
	d->minute = (int)parts[1];
	d->second = (int)parts[2];
	return n >= 2 && !word.len && d->hour < 24 && d->minute < 60;
}

/* "+0200"; names of zones are not believed. */
static bool read_zone(slice word, struct text_date *d)
{
	uint64_t n;

	if (word.len != 5 || (word.ptr[0] != '+' && word.ptr[0] != '-') ||
		!text_parse_uint(slice_skip(word, 1), 9999, &n))
		return false;
	d->zone_minutes = (int)(n / 100 * 60 + n % 100) * (word.ptr[0] == '-' ? -1 : 1);
	return true;
}

static bool next_word(slice *rest, slice *out)
{
	while (slice_cut(rest, ' ', out))
		if (out->len)
			return true;
	return false;
}

/* Behind the month: day, time, and year and zone in any order. */
static bool read_date(slice rest, int month, wall_ms *out)
{
	struct text_date d = { .month = month };
	uint64_t n;
	slice word;

	if (!next_word(&rest, &word) || !text_parse_uint(word, 31, &n) || n == 0)
		return false;
	d.day = (int)n;
	if (!next_word(&rest, &word) || !read_time(word, &d))
		return false;
	while (next_word(&rest, &word))
		if (!read_zone(word, &d) && text_parse_uint(word, 9999, &n) && n >= 1970)
			d.year = (int)n;
	if (d.year)
		*out = text_date_to_wall(&d);
	return d.year != 0;
}

static bool read_from_line(slice line, wall_ms *out)
{
	slice word;

	if (!slice_starts(line, SLICE("From ")) || line.len > FROM_MAX)
		return false;
	while (line.len && (line.ptr[line.len - 1] == '\n' || line.ptr[line.len - 1] == '\r'))
		line.len--;
	line = slice_skip(line, 5);
	while (next_word(&line, &word))
		if (month_of(word) && read_date(line, month_of(word), out))
			return true;
	return false;
}

static bool is_separator(const struct mbox *m, slice line)
{
	wall_ms date;

	return m->at_line && m->after_blank && read_from_line(line, &date);
}

/* --- The header -------------------------------------------------------------------------------------- */

static const struct {
	char letter;
	const char *flag;
} letters[] = { { 'R', "\\Seen" }, { 'A', "\\Answered" }, { 'F', "\\Flagged" },
	{ 'D', "\\Deleted" }, { 'T', "\\Draft" } };

static void add_words(struct out *flags, slice value)
{
	char copy[1024];
	struct out o = out_fixed(copy, sizeof(copy));
	slice rest, word;

	header_unfold(&o, value);
	for (size_t i = 0; i < o.len; i++)
		if (copy[i] == ',' || copy[i] == '\t')
			copy[i] = ' ';
	rest = out_written(&o);
	while (next_word(&rest, &word))
		out_printf(flags, "%s%.*s", flags->len ? "," : "", SLICE_ARG(word));
}

/* True: the field is ours to read, and not part of the message. */
static bool read_field(const struct header_field *f, struct out *flags, slice *uidl)
{
	if (slice_eq_nocase(f->name, SLICE("X-UIDL"))) {
		*uidl = slice_trim(f->value);
		return true;
	}
	if (slice_eq_nocase(f->name, SLICE("X-Keywords"))) {
		add_words(flags, f->value);
		return true;
	}
	if (!slice_eq_nocase(f->name, SLICE("Status")) &&
		!slice_eq_nocase(f->name, SLICE("X-Status")))
		return false;
	for (size_t i = 0; i < array_len(letters); i++)
		if (slice_find(f->value, letters[i].letter) >= 0)
			out_printf(flags, "%s%s", flags->len ? "," : "", letters[i].flag);
	return true;
}

/* ">From " and ">>From " lose a mark, in a header too: export puts one there. */
static slice unquote(const struct mbox *m, slice line)
{
	size_t marks = 0;

	while (m->at_line && marks < line.len && line.ptr[marks] == '>')
		marks++;
	return marks && slice_starts(slice_skip(line, marks), SLICE("From ")) ?
		slice_skip(line, 1) :
		line;
}

/* Up to the blank line or the limit. */
static slice collect_header(struct mbox *m, struct out *o)
{
	for (slice line; (line = peek(m)).len && !is_separator(m, line);) {
		bool blank = is_blank(m, line);

		out_slice(o, unquote(m, line));
		consume(m, line);
		if (blank || o->len > HEADER_MAX)
			break;
	}
	return out_written(o);
}

/* The fields that are the message's. */
static bool send_header(struct mbox *m, slice block)
{
	struct arena *a = &m->im->arena;
	struct out flags = out_arena(a);
	struct header_field f;
	slice rest = block, uidl;

	while (header_next(&rest, &f))
		if (!read_field(&f, &flags, &uidl) && !import_bytes(m->im, f.whole))
			return false;
	return import_bytes(m->im, rest);
}

/* --- Messages ---------------------------------------------------------------------------------------- */

/* Up to the next separator. The blank line before it is not the message's, nor is one at the end. */
static bool send_body(struct mbox *m, bool skip)
{
	bool held = false, good = true;

	for (slice line; good && (line = peek(m)).len && !is_separator(m, line);) {
		bool blank = is_blank(m, line);

		if (held && !skip)
			good = import_bytes(m->im, SLICE("\n"));
		held = blank;
		if (!blank && !skip && good)
			good = import_bytes(m->im, unquote(m, line));
		consume(m, line);
	}
	return good;
}

static bool take_message(struct mbox *m)
{
	char place[24], at[24];
	struct arena *a = &m->im->arena;
	struct out block = out_heap(HEADER_MAX + 2 * BUFFER), flags = out_arena(a);
	struct import_head head = { .place = slice_str(place) };
	struct header_field f;
	bool skip = false, good;
	slice line = peek(m), rest, header;

	snprintf(place, sizeof(place), "%llu", (unsigned long long)m->offset);
	head.place = slice_str(place);
	(void)read_from_line(line, &head.date);
	consume(m, line);
	header = rest = collect_header(m, &block);
	while (header_next(&rest, &f))
		(void)read_field(&f, &flags, &head.uidl);
	head.flags = out_written(&flags);
	good = import_begin(m->im, &head, &skip) && (skip || send_header(m, header)) &&
		send_body(m, skip);
	out_heap_done(&block);
	snprintf(at, sizeof(at), "%llu", (unsigned long long)m->offset);
	if (!good)
		return false;
	return skip ? import_skip(m->im, slice_str(at)) : import_end(m->im, slice_str(at));
}

/* The next message; blank lines are passed over: a file that grew may have some behind its old end. */
static bool at_message(struct mbox *m)
{
	wall_ms date;

	while (is_blank(m, peek(m)))
		consume(m, peek(m));
	m->after_blank = true;
	return !peek(m).len || read_from_line(peek(m), &date);
}

static bool take_file(struct import *im, const char *path)
{
	struct mbox *m = calloc(1, sizeof(*m));
	uint64_t from = 0;
	bool good = true;

	must(m);
	m->im = im;
	m->at_line = m->after_blank = true;
	m->file = fopen(path, "rb");
	if (text_parse_uint(import_at(im), INT64_MAX, &from))
		m->offset = from;
	if (!m->file || fseeko(m->file, (off_t)from, SEEK_SET)) {
		cli_fail("%s: %s", path, strerror(errno));
		good = false;
	} else if (!at_message(m)) {
		cli_fail("%s: at byte %llu stands no message of an mbox", path,
			(unsigned long long)from);
		good = false;
	}
	while (good && peek(m).len)
		good = take_message(m);
	if (good && m->file && ferror(m->file)) {
		cli_fail("%s: cannot be read", path);
		good = false;
	}
	if (m->file)
		fclose(m->file);
	free(m);
	return good;
}

/* --- Folders of them --------------------------------------------------------------------------------- */

bool import_is_mbox(const char *path)
{
	char head[5] = "";
	struct stat st;
	FILE *file;

	if (!stat(path, &st) && S_ISDIR(st.st_mode))
		return true;
	file = fopen(path, "rb");
	if (!file)
		return false;
	size_t got = fread(head, 1, sizeof(head), file);

	fclose(file);
	return got == 0 || (got == sizeof(head) && !memcmp(head, "From ", sizeof(head)));
}

static int no_hidden(const struct dirent *e)
{
	return e->d_name[0] != '.';
}

/* "Work.mbox" in folder "A" is A/Work. */
static bool take_entry(struct import *im, const char *path, slice folder, slice above);

static bool take_folder(struct import *im, const char *path, slice folder, slice mailbox)
{
	struct dirent **names;
	int count = scandir(path, &names, no_hidden, alphasort);
	bool good = count >= 0;

	if (!good)
		cli_fail("%s: %s", path, strerror(errno));
	for (int i = 0; i < count; i++) {
		char below[IMPORT_PATH], name[IMPORT_PATH];

		snprintf(below, sizeof(below), "%s/%s", path, names[i]->d_name);
		snprintf(name, sizeof(name), "%.*s%s%s", SLICE_ARG(folder), folder.len ? "/" : "",
			names[i]->d_name);
		if (good)
			good = take_entry(im, below, slice_str(name), mailbox);
		free(names[i]);
	}
	if (count >= 0)
		free(names);
	return good;
}

static bool take_entry(struct import *im, const char *path, slice folder, slice above)
{
	ptrdiff_t slash = slice_rfind(folder, '/');
	slice name = slice_skip(folder, (size_t)(slash + 1));
	char mailbox[IMPORT_PATH];
	struct stat st;
	size_t depth = 0;

	for (size_t i = 0; i < folder.len; i++)
		depth += folder.ptr[i] == '/';
	if (stat(path, &st) || depth > DEPTH_MAX)
		return true;
	if (!S_ISDIR(st.st_mode) &&
		(!slice_ends_nocase(name, SLICE(".mbox")) || !import_is_mbox(path)))
		return true;
	if (!S_ISDIR(st.st_mode))
		name.len -= SLICE(".mbox").len;
	snprintf(mailbox, sizeof(mailbox), "%.*s%s%.*s", SLICE_ARG(above), above.len ? "/" : "",
		SLICE_ARG(name));
	if (S_ISDIR(st.st_mode))
		return take_folder(im, path, folder, slice_str(mailbox));
	return import_folder(im, folder, slice_str(mailbox)) && take_file(im, path);
}

bool import_mbox_tree(struct import *im)
{
	struct stat st;

	if (!stat(im->source, &st) && S_ISDIR(st.st_mode))
		return take_folder(im, im->source, SLICE(""), im->under);
	return import_folder(im, SLICE(""), im->under.len ? im->under : SLICE("INBOX")) &&
		take_file(im, im->source);
}
