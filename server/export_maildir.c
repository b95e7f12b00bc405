/* SPDX-License-Identifier: GPL-2.0-or-later */
/* export_maildir.c - Maildir++: INBOX is the folder itself, A/B is ".A.B" in it.
 *
 * A file's name has the message's number, its time is the internal date, line ends are LF. Keywords are
 * letters that a dovecot-keywords file names. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "proto/imap/mutf7.h"
#include "server/export_int.h"

static bool fail(const char *path)
{
	cli_fail("%s: %s", path, strerror(errno));
	return false;
}

/* --- Folders ------------------------------------------------------------------------------------------- */

/* A dot inside a level would make two of it: it is written as code, which import_maildir.c knows. */
static void put_level(struct out *o, slice level)
{
	char buf[1024];
	struct out name = out_fixed(buf, sizeof(buf));

	out_char(o, '.');
	if (!imap_mutf7_encode(&name, level))
		out_slice(&name, level);
	for (size_t i = 0; i < name.len; i++)
		if (buf[i] == '.')
			out_str(o, "&AC4-");
		else
			out_char(o, buf[i]);
}

static void put_levels(struct out *o, slice name)
{
	slice level;

	while (slice_cut(&name, '/', &level))
		put_level(o, level);
}

/* What file systems find too long loses its end, and gets a mark by which it differs from others. */
static void put_name(const struct export *ex, struct out *o)
{
	char buf[1024], mark[EXPORT_MARK];
	size_t at = o->len, len = strlen(ex->mailbox);

	put_levels(o, slice_str(ex->mailbox));
	if (o->len - at <= NAME_MAX)
		return;
	export_mark(slice_str(ex->mailbox), mark);
	while (o->len - at > NAME_MAX && len) {
		for (len--; len && ((unsigned char)ex->mailbox[len] & 0xc0) == 0x80;)
			len--;
		snprintf(buf, sizeof(buf), "%.*s%s", (int)len, ex->mailbox, mark);
		o->len = at;
		put_levels(o, slice_str(buf));
	}
	fprintf(stderr, "ringpost: %s: too long a name for a file, exported as %s\n", ex->mailbox,
		buf);
}

static bool make_folder(struct export *ex, const char *sub)
{
	char path[EXPORT_PATH + 32];

	snprintf(path, sizeof(path), "%s%s%s", ex->here, *sub ? "/" : "", sub);
	return !mkdir(path, 0700) || errno == EEXIST || fail(path);
}

static bool make_folders(struct export *ex)
{
	struct out o = out_fixed(ex->here, sizeof(ex->here) - 1);
	bool top = ex->only || !strcmp(ex->mailbox, "INBOX");
	int fd;

	memset(ex->here, 0, sizeof(ex->here));
	out_str(&o, ex->path);
	while (o.len > 1 && ex->here[o.len - 1] == '/')
		ex->here[--o.len] = '\0';
	if (!make_folder(ex, ""))
		return false;
	if (!top) {
		out_char(&o, '/');
		put_name(ex, &o);
	}
	ex->here[o.len] = '\0';
	if (!out_ok(&o)) {
		cli_fail("%s: too long a path", ex->path);
		return false;
	}
	if (!make_folder(ex, "") || !make_folder(ex, "cur") || !make_folder(ex, "new") ||
		!make_folder(ex, "tmp"))
		return false;
	if (top)
		return true;
	out_str(&o, "/maildirfolder");
	ex->here[o.len] = '\0';
	fd = open(ex->here, O_CREAT | O_WRONLY | O_CLOEXEC, 0600);
	if (fd >= 0)
		close(fd);
	ex->here[o.len - strlen("/maildirfolder")] = '\0';
	return fd >= 0 || fail(ex->here);
}

/* The highest number that a name of ours has. */
static bool find_last(struct export *ex)
{
	char path[EXPORT_PATH + 8], want[48];
	struct dirent *e;
	DIR *dir;

	snprintf(path, sizeof(path), "%s/cur", ex->here);
	snprintf(want, sizeof(want), "V%lld.ringpost", (long long)ex->uid_validity);
	dir = opendir(path);
	if (!dir)
		return fail(path);
	while ((e = readdir(dir))) {
		slice name = slice_str(e->d_name);
		ptrdiff_t end = slice_search(name, slice_str(want)), begin = slice_find(name, 'U');
		uint64_t uid;

		if (end > begin && begin >= 0 &&
			text_parse_uint(slice_sub(name, (size_t)begin + 1, (size_t)end), UINT32_MAX,
				&uid))
			ex->uid = MAX(ex->uid, (json_int_t)uid);
	}
	closedir(dir);
	return true;
}

/* --- Keywords --------------------------------------------------------------------------------------------- */

static void keywords_path(const struct export *ex, char out[EXPORT_PATH + 32])
{
	snprintf(out, EXPORT_PATH + 32, "%s/dovecot-keywords", ex->here);
}

static void read_keywords(struct export *ex)
{
	char path[EXPORT_PATH + 32], line[256];
	FILE *file;

	ex->keyword_count = 0;
	keywords_path(ex, path);
	file = fopen(path, "r");
	while (file && fgets(line, sizeof(line), file) && ex->keyword_count < EXPORT_KEYWORDS) {
		slice rest = slice_of(line, strcspn(line, "\r\n")), number;

		if (slice_cut(&rest, ' ', &number))
			snprintf(ex->keywords[ex->keyword_count++], sizeof(ex->keywords[0]), "%.*s",
				SLICE_ARG(rest));
	}
	if (file)
		fclose(file);
}

/* Its letter, or 0 when all are taken. */
static char letter_of(struct export *ex, const char *keyword)
{
	char path[EXPORT_PATH + 32];
	FILE *file;
	size_t n = 0;

	while (n < ex->keyword_count && strcmp(ex->keywords[n], keyword) != 0)
		n++;
	if (n == EXPORT_KEYWORDS || strlen(keyword) >= sizeof(ex->keywords[0]))
		return 0;
	if (n < ex->keyword_count)
		return (char)('a' + n);
	keywords_path(ex, path);
	file = fopen(path, "a");
	if (!file)
		return 0;
	fprintf(file, "%zu %s\n", n, keyword);
	fclose(file);
	snprintf(ex->keywords[ex->keyword_count++], sizeof(ex->keywords[0]), "%s", keyword);
	return (char)('a' + n);
}

/* In order of the letters, each once. */
static void put_flags(struct export *ex, const json_t *list, struct out *o)
{
	static const struct {
		const char *flag;
		char letter;
	} letters[] = { { "\\Draft", 'D' }, { "\\Flagged", 'F' }, { "$Forwarded", 'P' },
		{ "\\Answered", 'R' }, { "\\Seen", 'S' }, { "\\Deleted", 'T' } };
	bool have[128] = { 0 };
	const json_t *flag;
	size_t i;

	json_array_foreach((json_t *)list, i, flag)
	{
		const char *word = json_string_value(flag);
		char letter = 0;

		for (size_t n = 0; n < array_len(letters); n++)
			if (!strcmp(word, letters[n].flag))
				letter = letters[n].letter;
		if (!letter && word[0] != '\\')
			letter = letter_of(ex, word);
		have[(unsigned char)letter & 127] = true;
	}
	for (size_t n = 1; n < sizeof(have); n++)
		if (have[n])
			out_char(o, (char)n);
}

/* --- Messages --------------------------------------------------------------------------------------------- */

static bool put_bytes(struct export *ex, slice bytes)
{
	while (bytes.len) {
		ptrdiff_t cr = slice_find(bytes, '\r');
		slice part = cr < 0 ? bytes : slice_sub(bytes, 0, (size_t)cr);

		if (ex->last_cr && bytes.ptr[0] != '\n')
			putc('\r', ex->file);
		fwrite(part.ptr, 1, part.len, ex->file);
		ex->last_cr = cr >= 0;
		bytes = slice_skip(bytes, part.len + (cr >= 0));
	}
	return !ferror(ex->file) || fail(ex->here);
}

/* Under its name only when it is whole. */
static bool put_message(struct export *ex, const json_t *row)
{
	char temporary[EXPORT_PATH + 128], name[EXPORT_PATH + 256] = "";
	struct out o = out_fixed(name, sizeof(name) - 1);
	const char *received = json_string_value(json_object_get(row, "received"));
	wall_ms at = 0;
	bool good;

	if (!received || !text_parse_timestamp(slice_str(received), &at))
		at = 0;
	snprintf(temporary, sizeof(temporary), "%s/tmp/U%lldV%lld.ringpost", ex->here,
		(long long)ex->uid, (long long)ex->uid_validity);
	out_printf(&o, "%s/cur/%lld.M%06lldU%lldV%lld.ringpost:2,", ex->here,
		(long long)(at / 1000), (long long)(at % 1000 * 1000), (long long)ex->uid,
		(long long)ex->uid_validity);
	put_flags(ex, json_object_get(row, "flags"), &o);
	ex->last_cr = false;
	ex->file = fopen(temporary, "wb");
	if (!ex->file)
		return fail(temporary);
	good = export_body(ex, ex->uid, put_bytes);
	if (good && ex->last_cr)
		putc('\r', ex->file);
	if (good &&
		(fflush(ex->file) ||
			futimens(fileno(ex->file),
				(struct timespec[2]){
					{ .tv_sec = at / 1000, .tv_nsec = at % 1000 * 1000000 },
					{ .tv_sec = at / 1000, .tv_nsec = at % 1000 * 1000000 } })))
		good = fail(temporary);
	if (fclose(ex->file) && good)
		good = fail(temporary);
	ex->file = NULL;
	return good && (!rename(temporary, name) || fail(name));
}

static bool open_folder(struct export *ex)
{
	if (!make_folders(ex) || !find_last(ex))
		return false;
	read_keywords(ex);
	return true;
}

static bool close_folder(struct export *ex)
{
	(void)ex;
	return true;
}

const struct export_format export_maildir = {
	.open = open_folder, .message = put_message, .close = close_folder
};
