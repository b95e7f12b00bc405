/* SPDX-License-Identifier: GPL-2.0-or-later */
/* import_maildir.c - a Maildir, and with it the folders of Maildir++ (".A.B" is A/B).
 *
 * Messages are taken in order of their names, which begin with when they came, so that numbers grow with
 * time; the place is the name before the flags, which stays when those change. A folder of millions is
 * gone through a helping at a time: each pass keeps the next names alone. The date of a message is its
 * file's. Keywords are those of a dovecot-keywords file. */
#include "server/import_int.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/base/text.h"
#include "proto/imap/mutf7.h"
#include "server/cli.h"

enum { HELPING = 16384, BUFFER = 64 * 1024, KEYWORDS = 26 };

struct maildir {
	struct import *im;
	char path[IMPORT_PATH];   /* of the folder */
	char *names[2 * HELPING]; /* "cur/..." */
	size_t len;
	bool more; /* there are names beyond */
	char keywords[KEYWORDS][128];
};

/* The part of "cur/name:2,S" that names the message. */
static slice base_of(const char *name)
{
	slice text = slice_skip(slice_str(name), 4);
	ptrdiff_t colon = slice_find(text, ':');

	return colon < 0 ? text : slice_sub(text, 0, (size_t)colon);
}

static int compare_names(const void *left, const void *right)
{
	return slice_cmp(base_of(*(char *const *)left), base_of(*(char *const *)right));
}

/* --- The next names ------------------------------------------------------------------------------------- */

static void keep_first(struct maildir *md)
{
	qsort(md->names, md->len, sizeof(md->names[0]), compare_names);
	for (; md->len > HELPING; md->more = true)
		free(md->names[--md->len]);
}

static void add_name(struct maildir *md, const char *sub, const char *name, slice after)
{
	char full[300];

	snprintf(full, sizeof(full), "%s/%s", sub, name);
	if (slice_cmp(base_of(full), after) <= 0)
		return;
	md->names[md->len] = strdup(full);
	must(md->names[md->len]);
	if (++md->len == array_len(md->names))
		keep_first(md);
}

/* "new" first: what is moved to "cur" meanwhile is then met there, and once. */
static bool collect(struct maildir *md, slice after)
{
	static const char *const subs[] = { "new", "cur" };
	char path[IMPORT_PATH + 8];

	md->len = 0;
	md->more = false;
	for (size_t i = 0; i < array_len(subs); i++) {
		struct dirent *e;
		DIR *dir;

		snprintf(path, sizeof(path), "%s/%s", md->path, subs[i]);
		dir = opendir(path);
		if (!dir && errno == ENOENT)
			continue;
		if (!dir) {
			cli_fail("%s: %s", path, strerror(errno));
			return false;
		}
		while ((e = readdir(dir)))
			if (e->d_name[0] != '.')
				add_name(md, subs[i], e->d_name, after);
		closedir(dir);
	}
	keep_first(md);
	return true;
}

static void forget_names(struct maildir *md)
{
	while (md->len)
		free(md->names[--md->len]);
}

/* --- Flags ------------------------------------------------------------------------------------------- */

/* "0 $Forwarded" is what the letter a stands for. */
static void read_keywords(struct maildir *md)
{
	char path[IMPORT_PATH + 20], line[256];
	FILE *file;

	memset(md->keywords, 0, sizeof(md->keywords));
	snprintf(path, sizeof(path), "%s/dovecot-keywords", md->path);
	file = fopen(path, "r");
	while (file && fgets(line, sizeof(line), file)) {
		slice rest = slice_of(line, strcspn(line, "\r\n")), number;
		uint64_t n;

		if (slice_cut(&rest, ' ', &number) && text_parse_uint(number, KEYWORDS - 1, &n))
			snprintf(md->keywords[n], sizeof(md->keywords[n]), "%.*s", SLICE_ARG(rest));
	}
	if (file)
		fclose(file);
}

static slice flags_of(struct maildir *md, const char *name)
{
	static const struct {
		char letter;
		const char *flag;
	} letters[] = { { 'S', "\\Seen" }, { 'R', "\\Answered" }, { 'F', "\\Flagged" },
		{ 'T', "\\Deleted" }, { 'D', "\\Draft" }, { 'P', "$Forwarded" } };
	struct out o = out_arena(&md->im->arena);
	slice info = slice_str(name);
	ptrdiff_t at = slice_search(info, SLICE(":2,"));

	if (at < 0)
		return SLICE("");
	for (info = slice_skip(info, (size_t)at + 3); info.len; info = slice_skip(info, 1)) {
		const char *word = NULL;

		for (size_t i = 0; i < array_len(letters); i++)
			if (info.ptr[0] == letters[i].letter)
				word = letters[i].flag;
		if (info.ptr[0] >= 'a' && info.ptr[0] <= 'z' && md->keywords[info.ptr[0] - 'a'][0])
			word = md->keywords[info.ptr[0] - 'a'];
		if (word)
			out_printf(&o, "%s%s", o.len ? "," : "", word);
	}
	return out_written(&o);
}

/* --- Messages ---------------------------------------------------------------------------------------- */

static bool send_file(struct maildir *md, int fd)
{
	char buf[BUFFER];
	ssize_t got;

	while ((got = read(fd, buf, sizeof(buf))) > 0)
		if (!import_bytes(md->im, slice_of(buf, (size_t)got)))
			return false;
	return got == 0;
}

/* Its flags may change while we look: then it has another name. */
static int open_message(struct maildir *md, const char *name, struct stat *st)
{
	char path[IMPORT_PATH + 310];
	int fd;

	snprintf(path, sizeof(path), "%s/%s", md->path, name);
	fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	if (fd >= 0 && (fstat(fd, st) || !S_ISREG(st->st_mode))) {
		close(fd);
		return -1;
	}
	return fd;
}

static bool take_message(struct maildir *md, const char *name)
{
	slice base = arena_dup(&md->im->arena, base_of(name));
	struct import_head head = { .place = base };
	struct stat st;
	int fd = open_message(md, name, &st);
	bool skip = false, good;

	if (fd < 0)
		return import_give_up(md->im, slice_str(name), base);
	head.flags = flags_of(md, name);
	head.date = (wall_ms)st.st_mtim.tv_sec * 1000 + st.st_mtim.tv_nsec / 1000000;
	good = import_begin(md->im, &head, &skip) && (skip || send_file(md, fd));
	close(fd);
	if (!good)
		return false;
	return skip ? import_skip(md->im, base) : import_end(md->im, base);
}

static bool take_folder(struct maildir *md)
{
	bool good = true;

	read_keywords(md);
	do {
		char after[300];

		snprintf(after, sizeof(after), "%.*s", SLICE_ARG(import_at(md->im)));
		good = collect(md, slice_str(after));
		for (size_t i = 0; good && i < md->len; i++)
			good = take_message(md, md->names[i]);
		forget_names(md);
	} while (good && md->more);
	return good;
}

/* --- Folders ------------------------------------------------------------------------------------------ */

bool import_is_maildir(const char *path)
{
	char cur[IMPORT_PATH + 8];
	struct stat st;

	snprintf(cur, sizeof(cur), "%s/cur", path);
	return !stat(cur, &st) && S_ISDIR(st.st_mode);
}

/* ".A.B" as its name here; each level in modified UTF-7, as most write it, or else as it is. A dot
 * inside a level is one that we wrote as code. */
static slice mailbox_of(struct import *im, const char *folder)
{
	struct out o = out_arena(&im->arena);
	slice rest = slice_str(folder + 1), level;

	if (im->under.len)
		out_printf(&o, "%.*s/", SLICE_ARG(im->under));
	for (bool first = true; slice_cut(&rest, '.', &level); first = false) {
		struct out name = out_arena(&im->arena);
		slice dot;

		if (!first)
			out_char(&o, '/');
		for (ptrdiff_t at; (at = slice_search(level, SLICE("&AC4-"))) >= 0;
			level = slice_skip(level, (size_t)at + 5)) {
			dot = slice_sub(level, 0, (size_t)at);
			if (!imap_mutf7_decode(&name, dot))
				out_slice(&name, dot);
			out_char(&name, '.');
		}
		if (!imap_mutf7_decode(&name, level))
			out_slice(&name, level);
		out_slice(&o, out_written(&name));
	}
	return out_written(&o);
}

static int is_subfolder(const struct dirent *e)
{
	return e->d_name[0] == '.' && e->d_name[1] && strcmp(e->d_name, "..") != 0;
}

static bool take_subfolders(struct maildir *md)
{
	struct dirent **names;
	int count = scandir(md->im->source, &names, is_subfolder, alphasort);
	bool good = count >= 0;

	for (int i = 0; i < count; i++) {
		struct import *im = md->im;
		char *name = names[i]->d_name;

		snprintf(md->path, sizeof(md->path), "%.3800s/%s", im->source, name);
		if (good && import_is_maildir(md->path))
			good = import_folder(im, slice_str(name), mailbox_of(im, name)) &&
				take_folder(md);
		free(names[i]);
	}
	if (count >= 0)
		free(names);
	return good;
}

bool import_maildir_tree(struct import *im)
{
	struct maildir *md = calloc(1, sizeof(*md));
	bool good;

	must(md);
	md->im = im;
	snprintf(md->path, sizeof(md->path), "%s", im->source);
	good = import_folder(im, SLICE(""), im->under.len ? im->under : SLICE("INBOX")) &&
		take_folder(md) && take_subfolders(md);
	free(md);
	return good;
}
