/* SPDX-License-Identifier: GPL-2.0-or-later */
/* export.c - the mail of an account as an mbox or a Maildir, with flags and dates.
 *
 * Into a Maildir the names of the files say which messages are there, so another call goes on behind the
 * last one. Into an mbox a small file beside it says so, and how long the mbox was then: what was half
 * written is cut away. Messages come in pieces and are written as they come. */
#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/base/crypt.h"
#include "server/commands.h"
#include "server/export_int.h"
#include "server/remote.h"

/* --- Asking ------------------------------------------------------------------------------------------ */

/* Takes the request over. NULL: failed, and told. */
static json_t *ask(struct remote *r, json_t *request)
{
	json_t *answer = remote_call(r, request);
	const char *error = json_string_value(json_object_get(answer, "error"));

	if (!error)
		return answer;
	cli_fail("%s", error);
	json_decref(answer);
	return NULL;
}

/* Every row of a list, a page at a time. */
static bool each_row(struct remote *r, json_t *request, bool (*each)(void *arg, const json_t *row),
	void *arg)
{
	bool good = true;

	for (bool more = true; more && good;) {
		json_t *answer = ask(r, json_deep_copy(request));
		json_t *next = json_object_get(answer, "next"), *row;
		size_t i;

		good = answer != NULL;
		json_array_foreach(json_object_get(answer, "rows"), i, row) if (good) good =
			each(arg, row);
		more = next != NULL;
		if (next)
			json_object_set(request, "after", next);
		json_decref(answer);
	}
	json_decref(request);
	return good;
}

static void forget_ahead(struct export *ex)
{
	json_decref(ex->ahead);
	ex->ahead = NULL;
	ex->ahead_at = 0;
	ex->data = SLICE("");
}

/* From `offset` of a message on; behind it others, where there is room. Returns the answer. */
static json_t *fetch(struct export *ex, json_int_t uid, json_int_t offset)
{
	slice data;
	json_t *answer;
	const char *error;

	forget_ahead(ex);
	remote_send(ex->remote,
		json_pack("{s:s,s:s,s:s,s:I,s:I,s:b}", "do", "message show", "name", ex->account,
			"mailbox", ex->mailbox, "uid", uid, "offset", offset, "many",
			(int)!ex->one),
		SLICE(""));
	answer = remote_answer(ex->remote, &data);
	error = json_string_value(json_object_get(answer, "error"));
	if (error || !json_is_array(json_object_get(answer, "messages"))) {
		cli_fail("%s", error ? error : "the server answers in another way");
		json_decref(answer);
		return NULL;
	}
	ex->ahead = json_incref(json_object_get(answer, "messages"));
	memcpy(ex->buf, data.ptr, data.len);
	ex->data = slice_of(ex->buf, data.len);
	return answer;
}

/* What is here of the message, if it is the next one. */
static bool take_ahead(struct export *ex, json_int_t uid, slice *out)
{
	const json_t *pair = json_array_get(ex->ahead, ex->ahead_at);
	json_int_t len = json_integer_value(json_array_get(pair, 1));

	if (!pair || json_integer_value(json_array_get(pair, 0)) != uid || len < 0)
		return false;
	*out = slice_sub(ex->data, 0, (size_t)len);
	ex->data = slice_skip(ex->data, out->len);
	ex->ahead_at++;
	return true;
}

bool export_body(struct export *ex, json_int_t uid, bool (*each)(struct export *ex, slice bytes))
{
	json_int_t offset = 0;
	bool good = true;
	slice bytes;

	if (take_ahead(ex, uid, &bytes))
		return each(ex, bytes);
	do {
		json_t *answer = fetch(ex, uid, offset);

		good = answer && take_ahead(ex, uid, &bytes) && each(ex, bytes);
		offset = json_integer_value(json_object_get(answer, "next"));
		json_decref(answer);
	} while (good && offset);
	return good;
}

void export_mark(slice name, char out[EXPORT_MARK])
{
	unsigned char digest[SHA256_BYTES];
	struct out o = out_fixed(out, EXPORT_MARK - 1);
	struct sha256 h;

	sha256_init(&h);
	sha256_add(&h, name);
	sha256_end(&h, digest);
	out_char(&o, '-');
	codec_put_hex(&o, slice_of(digest, 4));
	out[o.len] = '\0';
}

/* --- Commands ----------------------------------------------------------------------------------------- */

static bool to_stdout(struct export *ex, slice bytes)
{
	return fwrite(bytes.ptr, 1, bytes.len, stdout) == bytes.len;
}

int command_message_show(struct cli *cli)
{
	struct export *ex = calloc(1, sizeof(*ex));
	slice uid = slice_str(cli->operands[2]);
	uint64_t n;
	int status = CLI_FAILED;

	must(ex);
	ex->account = cli->operands[0];
	ex->mailbox = cli->operands[1];
	ex->one = true;
	if (!text_parse_uint(uid, UINT32_MAX, &n) || n == 0)
		cli_fail("not a message number: %.*s", SLICE_ARG(uid));
	else if ((ex->remote = command_connect(cli)) && export_body(ex, (json_int_t)n, to_stdout))
		status = fflush(stdout) ? cli_fail("standard output: %s", strerror(errno)) : CLI_OK;
	remote_close(ex->remote);
	forget_ahead(ex);
	free(ex);
	return status;
}

static bool each_message(void *arg, const json_t *row)
{
	struct export *ex = arg;

	ex->uid = json_integer_value(json_object_get(row, "uid"));
	if (!ex->format->message(ex, row))
		return false;
	ex->exported++;
	return true;
}

static bool each_mailbox(void *arg, const json_t *row)
{
	struct export *ex = arg;
	const char *name = json_string_value(json_object_get(row, "mailbox"));
	char from[40];
	bool good;

	if (ex->only && strcmp(ex->only, name) != 0)
		return true;
	ex->mailbox = name;
	ex->uid = 0;
	ex->uid_validity = json_integer_value(json_object_get(row, "uid_validity"));
	ex->mailboxes++;
	forget_ahead(ex);
	if (!ex->format->open(ex))
		return false;
	snprintf(from, sizeof(from), "%lld:*", (long long)ex->uid + 1);
	/* Behind the last one "*" would name the last one again. */
	good = ex->uid + 1 >= json_integer_value(json_object_get(row, "uid_next")) ||
		each_row(ex->remote,
			json_pack("{s:s,s:s,s:s,s:s}", "do", "message list", "name", ex->account,
				"mailbox", name, "uids", from),
			each_message, ex);
	return ex->format->close(ex) && good;
}

static bool choose_format(struct export *ex, const char *path)
{
	const char *format = cli_flag(ex->cli, "format");
	struct stat st;
	bool folder = !stat(path, &st) && S_ISDIR(st.st_mode);
	size_t len = strlen(path);

	folder = folder || (len && path[len - 1] == '/');
	if (!format)
		ex->format = folder ? &export_maildir : &export_mbox;
	else if (!strcmp(format, "mbox"))
		ex->format = &export_mbox;
	else if (!strcmp(format, "maildir"))
		ex->format = &export_maildir;
	ex->single = !folder && ex->format == &export_mbox;
	if (ex->single && !ex->only)
		ex->only = "INBOX";
	return ex->format != NULL;
}

static int run(struct export *ex)
{
	json_t *answer;

	if (!each_row(ex->remote, json_pack("{s:s,s:s}", "do", "mailbox list", "name", ex->account),
		    each_mailbox, ex))
		return CLI_FAILED;
	if (ex->only && !ex->mailboxes)
		return cli_fail("mailbox %s: not found", ex->only);
	answer = json_pack("{s:I,s:I}", "exported", (json_int_t)ex->exported, "mailboxes",
		(json_int_t)ex->mailboxes);
	cli_print_object(ex->cli, answer);
	json_decref(answer);
	return CLI_OK;
}

int command_export(struct cli *cli)
{
	struct export *ex = calloc(1, sizeof(*ex));
	int status = CLI_FAILED;

	must(ex);
	ex->cli = cli;
	ex->account = cli->operands[0];
	ex->only = cli_flag(cli, "mailbox");
	snprintf(ex->path, sizeof(ex->path), "%.3700s", cli->operands[1]);
	if (!choose_format(ex, ex->path))
		cli_fail("--format: mbox or maildir");
	else if ((ex->remote = command_connect(cli)))
		status = run(ex);
	remote_close(ex->remote);
	forget_ahead(ex);
	free(ex);
	return status;
}
