/* SPDX-License-Identifier: GPL-2.0-or-later */
/* export_mbox.c - mboxrd: lines that begin like a separator get one mark more, line ends are LF.
 *
 * Flags, keywords and an imported UIDL go into fields before the others, as import_mbox.c reads them. */
#include <errno.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "server/export_int.h"

enum { SAVE_EVERY = 100 };

static bool fail(const struct export *ex, const char *path)
{
	(void)ex;
	cli_fail("%s: %s", path, strerror(errno));
	return false;
}

/* --- The file beside it --------------------------------------------------------------------------------- */

static void state_path(const struct export *ex, char out[EXPORT_PATH + 16])
{
	snprintf(out, EXPORT_PATH + 16, "%s.export", ex->here);
}

static bool save_state(struct export *ex)
{
	char path[EXPORT_PATH + 16], fresh[EXPORT_PATH + 32];
	json_t *state;
	bool good;

	if (fflush(ex->file))
		return fail(ex, ex->here);
	state_path(ex, path);
	snprintf(fresh, sizeof(fresh), "%s.new", path);
	state = json_pack("{s:I,s:I,s:I}", "uid", ex->uid, "uid_validity", ex->uid_validity,
		"bytes", (json_int_t)ftello(ex->file));
	good = !json_dump_file(state, fresh, 0) && !rename(fresh, path);
	json_decref(state);
	ex->unsaved = 0;
	return good || fail(ex, path);
}

/* Where an earlier call ended; all behind is cut away. */
static bool go_on(struct export *ex, off_t size)
{
	char path[EXPORT_PATH + 16];
	json_error_t error;
	json_t *state;
	json_int_t bytes, validity;

	state_path(ex, path);
	state = json_load_file(path, 0, &error);
	if (!state) {
		cli_fail("%s: is there already, and nothing says how it was made", ex->here);
		return false;
	}
	ex->uid = json_integer_value(json_object_get(state, "uid"));
	bytes = json_integer_value(json_object_get(state, "bytes"));
	validity = json_integer_value(json_object_get(state, "uid_validity"));
	json_decref(state);
	if (validity != ex->uid_validity || bytes > size) {
		cli_fail("%s: is of another mailbox, or was changed", ex->here);
		return false;
	}
	if (ftruncate(fileno(ex->file), (off_t)bytes) || fseeko(ex->file, (off_t)bytes, SEEK_SET))
		return fail(ex, ex->here);
	return true;
}

/* --- Files ------------------------------------------------------------------------------------------------ */

enum { LEVEL_MAX = 235 }; /* what stands behind it in a file's name has to go there too */

/* Names that a file system takes for something else begin with "_", and so do those that look like it then;
 * what is too long for it loses its end. */
static void put_level(struct out *o, slice level)
{
	char mark[EXPORT_MARK] = "";
	size_t marks = 0, len = level.len;

	while (marks < len && level.ptr[marks] == '_')
		marks++;
	if (marks < len && level.ptr[marks] == '.')
		out_char(o, '_');
	if (len > LEVEL_MAX) {
		export_mark(level, mark);
		for (len = LEVEL_MAX - EXPORT_MARK; ((unsigned char)level.ptr[len] & 0xc0) == 0x80;)
			len--;
	}
	out_printf(o, "%.*s%s", (int)len, level.ptr, mark);
}

/* Levels become folders. */
static bool choose_file(struct export *ex)
{
	struct out o = out_fixed(ex->here, sizeof(ex->here) - 1);
	slice rest = slice_str(ex->mailbox), level;

	out_str(&o, ex->path);
	if (!ex->single && mkdir(ex->here, 0700) && errno != EEXIST)
		return fail(ex, ex->path);
	while (!ex->single && slice_cut(&rest, '/', &level)) {
		out_char(&o, '/');
		put_level(&o, level);
		out_str(&o, rest.len ? "" : ".mbox");
		ex->here[o.len] = '\0';
		if (rest.len && mkdir(ex->here, 0700) && errno != EEXIST)
			return fail(ex, ex->here);
	}
	ex->here[o.len] = '\0';
	if (out_ok(&o))
		return true;
	cli_fail("%s: too long a path", ex->path);
	return false;
}

static bool open_file(struct export *ex)
{
	struct stat st;

	memset(ex->here, 0, sizeof(ex->here));
	if (!choose_file(ex))
		return false;
	ex->file = fopen(ex->here, "ab+");
	if (!ex->file || fstat(fileno(ex->file), &st))
		return fail(ex, ex->here);
	ex->unsaved = 0;
	if (st.st_size > 0 && !go_on(ex, st.st_size)) {
		fclose(ex->file);
		ex->file = NULL;
		return false;
	}
	return true;
}

static bool close_file(struct export *ex)
{
	bool good = save_state(ex);

	if (fclose(ex->file) && good)
		good = fail(ex, ex->here);
	ex->file = NULL;
	return good;
}

/* --- Messages --------------------------------------------------------------------------------------------- */

/* "Thu Jan  1 00:00:00 2026" */
static void put_separator(struct export *ex, const json_t *row)
{
	static const char names[] = "SunMonTueWedThuFriSatJanFebMarAprMayJunJulAugSepOctNovDec";
	const char *from = json_string_value(json_object_get(row, "from"));
	const char *received = json_string_value(json_object_get(row, "received"));
	struct text_date d;
	wall_ms at = 0;

	if (!received || !text_parse_timestamp(slice_str(received), &at))
		at = 0;
	d = text_date_of(at, 0);
	if (!from || !*from || strpbrk(from, " \t\r\n\""))
		from = "MAILER-DAEMON";
	fprintf(ex->file, "From %s %.3s %.3s %2d %02d:%02d:%02d %d\n", from, names + d.weekday * 3,
		names + 21 + (d.month - 1) * 3, d.day, d.hour, d.minute, d.second, d.year);
}

static void put_flags(struct export *ex, const json_t *row)
{
	static const struct {
		const char *flag;
		char letter;
	} letters[] = { { "\\Answered", 'A' }, { "\\Flagged", 'F' }, { "\\Deleted", 'D' },
		{ "\\Draft", 'T' } };
	const char *uidl = json_string_value(json_object_get(row, "uidl"));
	const json_t *list = json_object_get(row, "flags"), *flag;
	bool seen = false, keyword = false;
	size_t i;

	json_array_foreach((json_t *)list, i, flag) seen |=
		!strcmp(json_string_value(flag), "\\Seen");
	fprintf(ex->file, "Status: %sO\nX-Status: ", seen ? "R" : "");
	json_array_foreach((json_t *)list, i,
		flag) for (size_t n = 0; n < array_len(letters);
			   n++) if (!strcmp(json_string_value(flag), letters[n].flag))
		putc(letters[n].letter, ex->file);
	putc('\n', ex->file);
	json_array_foreach((json_t *)list, i, flag) if (json_string_value(flag)[0] != '\\')
	{
		fprintf(ex->file, "%s%s", keyword ? " " : "X-Keywords: ", json_string_value(flag));
		keyword = true;
	}
	if (keyword)
		putc('\n', ex->file);
	if (uidl && *uidl)
		fprintf(ex->file, "X-UIDL: %s\n", uidl);
}

/* Marks go through as they come; one more is put in behind them when "From " follows. */
enum { FROM_LEN = 5, IN_LINE = FROM_LEN };

/* What begins no line and ends none; returns how much that is. */
static size_t put_middle(struct export *ex, slice bytes)
{
	ptrdiff_t end = slice_find(bytes, '\n');
	slice middle = end < 0 ? bytes : slice_sub(bytes, 0, (size_t)end);

	if (ex->matched < IN_LINE || ex->last_cr)
		return 0;
	end = slice_find(middle, '\r');
	middle = end < 0 ? middle : slice_sub(middle, 0, (size_t)end);
	fwrite(middle.ptr, 1, middle.len, ex->file);
	ex->line_begins = ex->line_begins && !middle.len;
	return middle.len;
}

static bool put_bytes(struct export *ex, slice bytes)
{
	static const char from[] = "From ";

	for (size_t i = put_middle(ex, bytes); i < bytes.len;
		i += 1 + put_middle(ex, slice_skip(bytes, i + 1))) {
		char byte = bytes.ptr[i];

		if (ex->last_cr && byte != '\n')
			putc('\r', ex->file);
		ex->last_cr = byte == '\r';
		if (ex->last_cr)
			continue;
		if (ex->matched < IN_LINE) {
			if (byte == from[ex->matched]) {
				if (++ex->matched == FROM_LEN)
					fprintf(ex->file, ">%s", from);
				continue;
			}
			fwrite(from, 1, ex->matched, ex->file);
			ex->matched = byte == '>' && ex->matched == 0 ? 0 : IN_LINE;
		}
		putc(byte, ex->file);
		if (byte == '\n')
			ex->matched = 0;
		ex->line_begins = byte == '\n';
	}
	return !ferror(ex->file) || fail(ex, ex->here);
}

static bool put_message(struct export *ex, const json_t *row)
{
	put_separator(ex, row);
	put_flags(ex, row);
	ex->matched = 0;
	ex->line_begins = true;
	ex->last_cr = false;
	if (!export_body(ex, ex->uid, put_bytes))
		return false;
	if (ex->matched > 0 && ex->matched < IN_LINE) {
		fwrite("From ", 1, ex->matched, ex->file);
		ex->line_begins = false;
	}
	if (ex->last_cr)
		putc('\r', ex->file);
	fputs(ex->line_begins ? "\n" : "\n\n", ex->file);
	if (ferror(ex->file))
		return fail(ex, ex->here);
	return ++ex->unsaved < SAVE_EVERY || save_state(ex);
}

const struct export_format export_mbox = {
	.open = open_file, .message = put_message, .close = close_file
};
