/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Reading key records: a name, then quoted strings (in parentheses over several lines) or bare text. */
#include "bench/keyfile.h"

#include "core/base/text.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

enum { FILE_MAX = 16 << 20 };

struct record {
	struct map_link link;
	slice name, data;
};

static uint64_t hash_name(const struct keyfile *k, slice name, char lower[256])
{
	size_t len = MIN(name.len, (size_t)255);

	memcpy(lower, name.ptr, len);
	text_lower_all(lower, len);
	return map_hash(&k->seed, slice_of(lower, len));
}

static void add(struct keyfile *k, slice name, slice data)
{
	struct record *r = arena_new(&k->arena, struct record);
	char lower[256];

	if (name.len && name.ptr[name.len - 1] == '.')
		name.len--;
	r->name = arena_dup(&k->arena, name);
	r->data = data;
	must(map_insert(&k->records, &r->link, hash_name(k, name, lower)));
	k->count++;
}

static slice lower_dup(struct keyfile *k, slice name)
{
	char *copy = arena_str(&k->arena, name);

	text_lower_all(copy, name.len);
	return slice_of(copy, name.len);
}

/* Puts together what stands in quotes, from the front of *text to the end of the entry. */
static slice join_quoted(struct keyfile *k, slice entry)
{
	struct out o = out_arena(&k->arena);
	slice before, inside;

	while (slice_cut(&entry, '"', &before) && slice_cut(&entry, '"', &inside))
		out_slice(&o, inside);
	return out_written(&o);
}

/* An entry is a line, or up to the closing parenthesis when one opens on it. */
static slice cut_entry(slice *text, unsigned *line)
{
	slice all = *text, first;

	if (!slice_cut(text, '\n', &first))
		return first = (slice){ 0 };
	++*line;
	if (slice_find(first, '(') < 0)
		return first;
	ptrdiff_t close = slice_find(all, ')');

	if (close < 0)
		return first;
	slice entry = slice_sub(all, 0, (size_t)close + 1);

	for (size_t i = first.len; i < entry.len; i++)
		*line += entry.ptr[i] == '\n' && i > first.len;
	if (entry.len > first.len) {
		*text = slice_skip(all, entry.len);
		slice_cut(text, '\n', &first);
	}
	return entry;
}

enum err keyfile_parse(struct keyfile *k, slice text, unsigned *out_line)
{
	*out_line = 0;
	while (text.len) {
		slice entry = slice_trim(cut_entry(&text, out_line)), name;

		if (entry.len && entry.ptr[entry.len - 1] == '\r')
			entry.len--;
		if (entry.len == 0 || entry.ptr[0] == ';' || entry.ptr[0] == '#')
			continue;
		slice rest = entry;
		size_t at = 0;

		while (at < entry.len && entry.ptr[at] != ' ' && entry.ptr[at] != '\t')
			at++;
		name = slice_sub(entry, 0, at);
		rest = slice_skip(entry, at);
		ptrdiff_t data = slice_search(rest, SLICE("v=DKIM1"));

		name = lower_dup(k, name);
		if (data < 0 || slice_search(name, SLICE("._domainkey.")) < 0)
			return ERR_INVALID;
		add(k, name,
			slice_find(rest, '"') >= 0 ?
				join_quoted(k, rest) :
				arena_dup(&k->arena, slice_trim(slice_skip(rest, (size_t)data))));
	}
	return OK;
}

enum err keyfile_load(struct keyfile *k, const char *path, unsigned *out_line)
{
	FILE *f = fopen(path, "re");
	struct out text = out_heap(FILE_MAX);
	char buf[4096];
	size_t n;

	*out_line = 0;
	if (!f)
		return errno == ENOENT ? ERR_NOT_FOUND : ERR_IO;
	while ((n = fread(buf, 1, sizeof(buf), f)) > 0)
		out_bytes(&text, buf, n);
	enum err err = ferror(f) || !out_ok(&text) ? ERR_IO :
						     keyfile_parse(k, out_written(&text), out_line);

	fclose(f);
	out_heap_done(&text);
	return err;
}

slice keyfile_find(const struct keyfile *k, slice name)
{
	char lower[256];
	struct map_link *link = map_find(&k->records, hash_name(k, name, lower));

	for (; link; link = map_find_next(&k->records, link)) {
		const struct record *r = container_of(link, struct record, link);

		if (slice_eq_nocase(r->name, name))
			return r->data;
	}
	return (slice){ 0 };
}

void keyfile_done(struct keyfile *k)
{
	map_done(&k->records);
	arena_done(&k->arena);
	*k = (struct keyfile){ 0 };
}
