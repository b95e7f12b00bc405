/* SPDX-License-Identifier: GPL-2.0-or-later */
/* import.c - mail of other programs into the mailboxes of an account.
 *
 * Messages are sent in order, small ones many together, large ones in pieces, the next before the last was
 * answered, over the control socket of a running server or to the data folder of a stopped one. How far it
 * got stands in a file that is written now and then, once all before was answered; what may have arrived after that
 * is known by the keys of the messages: so whenever it is interrupted, another call goes on and nothing is
 * there twice. */
#include "server/import_int.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "server/cli.h"
#include "server/commands.h"
#include "server/remote.h"
#include "server/uidl.h"

enum { SAVE_EVERY = 1000, STATE_VERSION = 1 };
enum { AHEAD = 2, HEADS_BYTES = 24 * 1024 }; /* CONTROL_REQUEST_MAX */

/* --- How far it got ------------------------------------------------------------------------------- */

static bool save_state(struct import *im)
{
	char temporary[IMPORT_PATH + 8];

	snprintf(temporary, sizeof(temporary), "%s.new", im->state_path);
	if (json_dump_file(im->state, temporary, JSON_INDENT(1)) ||
		rename(temporary, im->state_path)) {
		cli_fail("%s: %s; --state names another file", im->state_path, strerror(errno));
		return false;
	}
	im->unsaved = 0;
	return true;
}

static bool load_state(struct import *im)
{
	json_error_t error;
	const char *account, *source;

	if (access(im->state_path, F_OK)) {
		im->state = json_pack("{s:i,s:s,s:s,s:{}}", "version", STATE_VERSION, "account",
			im->account, "source", im->source, "folders");
		if (im->state)
			return true;
		cli_fail("the name of the source is no UTF-8");
		return false;
	}
	im->state = json_load_file(im->state_path, 0, &error);
	account = json_string_value(json_object_get(im->state, "account"));
	source = json_string_value(json_object_get(im->state, "source"));
	if (account && source && json_object_get(im->state, "folders") &&
		!strcmp(account, im->account) && !strcmp(source, im->source))
		return true;
	cli_fail("%s: is of another import; remove it, or name another one by --state",
		im->state_path);
	return false;
}

/* --- Asking ------------------------------------------------------------------------------------------ */

/* NULL: failed, and told. */
static json_t *next_answer(struct import *im)
{
	slice data;
	json_t *answer = remote_answer(im->remote, &data);
	const char *error = json_string_value(json_object_get(answer, "error"));

	if (!error)
		return answer;
	cli_fail("%s", error);
	json_decref(answer);
	return NULL;
}

/* Until at most so many are unanswered. */
static bool catch_up(struct import *im, unsigned unanswered)
{
	while (im->ahead > unanswered) {
		json_t *answer = next_answer(im);

		im->ahead--;
		if (!answer)
			return false;
		json_decref(answer);
	}
	return true;
}

/* Takes the request over. */
static bool send_ahead(struct import *im, json_t *request, slice data)
{
	if (!catch_up(im, AHEAD - 1)) {
		json_decref(request);
		return false;
	}
	remote_send(im->remote, request, data);
	im->ahead++;
	return true;
}

/* Takes the request over; all before it is answered first. NULL: failed, and told. */
static json_t *ask(struct import *im, json_t *request)
{
	if (!request)
		cli_fail("a name is no UTF-8");
	if (!request || !catch_up(im, 0)) {
		json_decref(request);
		return NULL;
	}
	remote_send(im->remote, request, SLICE(""));
	return next_answer(im);
}

/* Those in `piece` that are complete; the begin of another one stays. */
static bool send_whole(struct import *im)
{
	json_t *request;

	if (!json_array_size(im->whole))
		return true;
	request = json_pack("{s:s,s:o}", "do", "import messages", "messages", im->whole);
	im->whole = json_array();
	im->heads_bytes = 0;
	if (!send_ahead(im, request, slice_of(im->piece, im->begin)))
		return false;
	im->piece_len -= im->begin;
	memmove(im->piece, im->piece + im->begin, im->piece_len);
	im->begin = 0;
	return true;
}

/* What was stored so far stands below the uid that the mailbox gives next. */
static bool mark(struct import *im)
{
	json_t *answer = !send_whole(im) ?
		NULL :
		ask(im,
			json_pack("{s:s,s:s,s:s}", "do", "import begin", "name", im->account,
				"mailbox", im->mailbox));

	if (!answer)
		return false;
	json_object_set(im->folder, "uid", json_object_get(answer, "uid_next"));
	if (im->at[0])
		json_object_set_new(im->folder, "at", json_string(im->at));
	json_decref(answer);
	return save_state(im);
}

/* Two messages may have come with the same key, so they are counted. True: one was there. */
static bool count_recent(struct import *im, const char *key, int more)
{
	json_int_t before = json_integer_value(json_object_get(im->recent, key));

	if (before + more > 0)
		(void)json_object_set_new(im->recent, key, json_integer(before + more));
	else
		(void)json_object_del(im->recent, key);
	return before > 0;
}

/* Of the messages from a uid on, in their order. */
static bool ask_keys(struct import *im, json_int_t from,
	void (*each)(struct import *, const char *))
{
	do {
		json_t *answer = ask(im,
			json_pack("{s:s,s:s,s:s,s:I}", "do", "import keys", "name", im->account,
				"mailbox", im->mailbox, "from", from));
		const json_t *key;
		size_t i;

		if (!answer)
			return false;
		json_array_foreach(json_object_get(answer, "keys"), i, key)
			each(im, json_string_value(key));
		from = json_integer_value(json_object_get(answer, "next"));
		json_decref(answer);
	} while (from);
	return true;
}

static void add_recent(struct import *im, const char *key)
{
	(void)count_recent(im, key, 1);
}

static void take_id(struct import *im, const char *key)
{
	if (uidl_may_be_shown(slice_str(key)))
		(void)import_ids_take(&im->ids, slice_str(key));
}

static bool ask_recent(struct import *im)
{
	json_int_t from = json_integer_value(json_object_get(im->folder, "uid"));

	return !from || ask_keys(im, from, add_recent);
}

bool import_folder(struct import *im, slice folder, slice mailbox)
{
	json_t *folders = json_object_get(im->state, "folders"), *answer;
	char *name = arena_str(&im->arena, folder);
	bool fresh;

	/* The folder before. */
	if (im->folder && im->unsaved && !mark(im))
		return false;
	im->folders++;
	if (mailbox.len >= sizeof(im->mailbox)) {
		cli_fail("mailbox %.*s: too long a name", SLICE_ARG(mailbox));
		return false;
	}
	snprintf(im->mailbox, sizeof(im->mailbox), "%.*s", SLICE_ARG(mailbox));
	im->folder = json_object_get(folders, name);
	fresh = !im->folder;
	if (fresh && json_object_set_new(folders, name, json_object())) {
		cli_fail("%s: the name is no UTF-8", name);
		return false;
	}
	im->folder = json_object_get(folders, name);
	snprintf(im->at, sizeof(im->at), "%s",
		json_string_value(json_object_get(im->folder, "at")) ?: "");
	arena_reset(&im->arena);
	json_object_clear(im->recent);
	import_ids_done(&im->ids);
	im->ids_known = false;
	if (fresh)
		return mark(im);
	/* It may have been removed since. */
	answer = ask(im,
		json_pack("{s:s,s:s,s:s}", "do", "import begin", "name", im->account, "mailbox",
			im->mailbox));
	json_decref(answer);
	return answer && ask_recent(im);
}

slice import_at(const struct import *im)
{
	return slice_str(im->at);
}

/* --- One message -------------------------------------------------------------------------------------- */

/* Those that stand in the mailbox are taken. */
static bool ask_taken(struct import *im)
{
	im->ids_known = true;
	return ask_keys(im, 0, take_id);
}

/* Who came to its id first keeps it. *out_key: what the message is, or was, stored under. */
static bool choose_key(struct import *im, const struct import_head *head,
	char out_key[UIDL_MAX + 1], bool *out_there)
{
	char uidl[UIDL_MAX + 1];

	import_key_of_place(im, head->place, out_key);
	*out_there = count_recent(im, out_key, -1);
	if (*out_there || !uidl_may_be_shown(head->uidl))
		return true;
	snprintf(uidl, sizeof(uidl), "%.*s", SLICE_ARG(head->uidl));
	*out_there = count_recent(im, uidl, -1);
	if (!*out_there && !im->ids_known && !ask_taken(im))
		return false;
	if (*out_there || import_ids_take(&im->ids, head->uidl))
		snprintf(out_key, sizeof(uidl), "%s", uidl);
	return true;
}

bool import_begin(struct import *im, const struct import_head *head, bool *out_skip)
{
	char key[UIDL_MAX + 1];

	if (!choose_key(im, head, key, out_skip))
		return false;
	if (*out_skip) {
		im->skipped++;
		return true;
	}
	im->head = json_pack("{s:s#,s:s}", "flags", head->flags.len ? head->flags.ptr : "",
		(int)head->flags.len, "key", key);
	if (!im->head) { /* a keyword that is no UTF-8 is lost, the message is not */
		im->head = json_pack("{s:s}", "key", key);
		must(im->head);
	}
	im->heads_bytes += head->flags.len + 160;
	if (head->date > 0)
		json_object_set_new(im->head, "received", json_integer(head->date));
	im->begin = im->piece_len;
	im->last_cr = false;
	return true;
}

static bool send_piece(struct import *im, bool more)
{
	json_t *request = im->head ? im->head : json_object();
	slice data = slice_of(im->piece, im->piece_len);

	im->head = NULL;
	json_object_set_new(request, "do", json_string("import message"));
	if (more)
		json_object_set_new(request, "more", json_true());
	im->piece_len = im->begin = 0;
	return send_ahead(im, request, data);
}

/* Others make room, else it goes in pieces. */
static bool make_room(struct import *im)
{
	if (im->piece_len < sizeof(im->piece))
		return true;
	return im->begin ? send_whole(im) : send_piece(im, true);
}

static bool put(struct import *im, slice bytes)
{
	while (bytes.len) {
		slice part;

		if (!make_room(im))
			return false;
		part = slice_sub(bytes, 0, sizeof(im->piece) - im->piece_len);
		memcpy(im->piece + im->piece_len, part.ptr, part.len);
		im->piece_len += part.len;
		bytes = slice_skip(bytes, part.len);
	}
	return true;
}

bool import_bytes(struct import *im, slice bytes)
{
	while (bytes.len) {
		ptrdiff_t end = slice_find(bytes, '\n');
		slice line = end < 0 ? bytes : slice_sub(bytes, 0, (size_t)end);
		bool cr = line.len ? line.ptr[line.len - 1] == '\r' : im->last_cr;

		if (!put(im, line))
			return false;
		if (end >= 0 && !put(im, cr ? SLICE("\n") : SLICE("\r\n")))
			return false;
		im->last_cr = end < 0 && cr;
		bytes = slice_skip(bytes, line.len + (end >= 0));
	}
	return true;
}

static bool move_on(struct import *im, slice at)
{
	snprintf(im->at, sizeof(im->at), "%.*s", SLICE_ARG(at));
	arena_reset(&im->arena);
	return ++im->unsaved < SAVE_EVERY || mark(im);
}

static bool end_whole(struct import *im)
{
	json_object_set_new(im->head, "size",
		json_integer((json_int_t)(im->piece_len - im->begin)));
	json_array_append_new(im->whole, im->head);
	im->head = NULL;
	im->begin = im->piece_len;
	return (json_array_size(im->whole) < IMPORT_TOGETHER && im->heads_bytes < HEADS_BYTES) ||
		send_whole(im);
}

bool import_end(struct import *im, slice at)
{
	if (!(im->head ? end_whole(im) : send_piece(im, false)))
		return false;
	im->imported++;
	return move_on(im, at);
}

bool import_skip(struct import *im, slice at)
{
	return move_on(im, at);
}

bool import_give_up(struct import *im, slice what, slice at)
{
	fprintf(stderr, "ringpost: %.*s: cannot be read, passed over\n", SLICE_ARG(what));
	json_decref(im->head);
	im->head = NULL;
	im->failed++;
	return move_on(im, at);
}

/* --- The command --------------------------------------------------------------------------------------- */

static bool set_paths(struct import *im, const char *path)
{
	const char *state = cli_flag(im->cli, "state");
	char *real = realpath(path, NULL);

	if (!real || strlen(real) >= sizeof(im->source) - 300) {
		cli_fail("%s: %s", path, real ? "too long a path" : strerror(errno));
		free(real);
		return false;
	}
	snprintf(im->source, sizeof(im->source), "%s", real);
	free(real);
	if (state)
		snprintf(im->state_path, sizeof(im->state_path), "%s", state);
	else
		snprintf(im->state_path, sizeof(im->state_path), "%.3700s.%.300s.import",
			im->source, im->account);
	return true;
}

static bool (*reader_for(const struct import *im))(struct import *im)
{
	const char *format = cli_flag(im->cli, "format");

	if (format && !strcmp(format, "mbox"))
		return import_mbox_tree;
	if (format && !strcmp(format, "maildir"))
		return import_maildir_tree;
	if (format)
		return NULL;
	if (import_is_maildir(im->source))
		return import_maildir_tree;
	return import_is_mbox(im->source) ? import_mbox_tree : NULL;
}

static int run(struct import *im)
{
	bool (*reader)(struct import * im) = reader_for(im);
	json_t *answer;
	bool good;

	if (!reader)
		return cli_fail("%s: neither a Maildir nor an mbox nor a folder of those; or "
				"--format names no such thing (mbox, maildir)",
			im->source);
	good = reader(im);
	if (im->folder && im->unsaved && good)
		good = mark(im);
	answer = json_pack("{s:I,s:I,s:I,s:I}", "imported", (json_int_t)im->imported,
		"already_there", (json_int_t)im->skipped, "failed", (json_int_t)im->failed,
		"mailboxes", (json_int_t)im->folders);
	if (good)
		cli_print_object(im->cli, answer);
	json_decref(answer);
	return good && !im->failed ? CLI_OK : CLI_FAILED;
}

int command_import(struct cli *cli)
{
	struct import *im = calloc(1, sizeof(*im));
	int status = CLI_FAILED;

	must(im);
	im->cli = cli;
	im->account = cli->operands[0];
	im->under = slice_str(cli_flag(cli, "mailbox"));
	im->recent = json_object();
	im->whole = json_array();
	if (set_paths(im, cli->operands[1]) && load_state(im))
		im->remote = command_connect(cli);
	if (im->remote)
		status = run(im);
	remote_close(im->remote);
	json_decref(im->head);
	json_decref(im->whole);
	json_decref(im->recent);
	import_ids_done(&im->ids);
	json_decref(im->state);
	arena_done(&im->arena);
	free(im);
	return status;
}
