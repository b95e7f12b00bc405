/* SPDX-License-Identifier: GPL-2.0-or-later */
/* import.c - mail of other programs into the mailboxes of an account.
 *
 * Messages are sent one after the other, large ones in pieces, over the control socket of a running
 * server or to the data folder of a stopped one. How far it got stands in a file that is written now and
 * then; what may have arrived after that is known by the keys of the messages: so whenever it is
 * interrupted, another call goes on and nothing is there twice. */
#include "server/import_int.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/base/codec.h"
#include "core/base/crypt.h"
#include "core/base/text.h"
#include "server/cli.h"
#include "server/commands.h"
#include "server/remote.h"

enum { SAVE_EVERY = 100, STATE_VERSION = 1, UIDL_MAX = 70 };

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

/* Takes the request over. NULL: failed, and told. */
static json_t *ask(struct import *im, json_t *request)
{
	json_t *answer;
	const char *error;

	if (!request) {
		cli_fail("a name is no UTF-8");
		return NULL;
	}
	answer = remote_call(im->remote, request);
	error = json_string_value(json_object_get(answer, "error"));
	if (!error)
		return answer;
	cli_fail("%s", error);
	json_decref(answer);
	return NULL;
}

/* What was stored so far stands below the uid that the mailbox gives next. */
static bool mark(struct import *im)
{
	json_t *answer = ask(im,
		json_pack("{s:s,s:s,s:s}", "do", "import begin", "name", im->account, "mailbox",
			im->mailbox));

	if (!answer)
		return false;
	json_object_set(im->folder, "uid", json_object_get(answer, "uid_next"));
	json_decref(answer);
	return save_state(im);
}

static bool ask_recent(struct import *im)
{
	json_int_t from = json_integer_value(json_object_get(im->folder, "uid"));

	json_object_clear(im->recent);
	while (from) {
		json_t *answer = ask(im,
			json_pack("{s:s,s:s,s:s,s:I}", "do", "import keys", "name", im->account,
				"mailbox", im->mailbox, "from", from));
		const json_t *key;
		size_t i;

		if (!answer)
			return false;
		json_array_foreach(json_object_get(answer, "keys"), i, key)
			json_object_set_new(im->recent, json_string_value(key), json_true());
		from = json_integer_value(json_object_get(answer, "next"));
		json_decref(answer);
	}
	return true;
}

bool import_folder(struct import *im, slice folder, slice mailbox)
{
	json_t *folders = json_object_get(im->state, "folders"), *answer;
	char *name = arena_str(&im->arena, folder);
	bool fresh;

	im->folders++;
	snprintf(im->mailbox, sizeof(im->mailbox), "%.*s", SLICE_ARG(mailbox));
	im->folder = json_object_get(folders, name);
	fresh = !im->folder;
	if (fresh && json_object_set_new(folders, name, json_object())) {
		cli_fail("%s: the name is no UTF-8", name);
		return false;
	}
	im->folder = json_object_get(folders, name);
	arena_reset(&im->arena);
	json_object_clear(im->recent);
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
	return slice_str(json_string_value(json_object_get(im->folder, "at")));
}

/* --- One message -------------------------------------------------------------------------------------- */

static void make_key(const struct import *im, slice place, char out[IMPORT_KEY])
{
	unsigned char digest[SHA256_BYTES];
	struct out o = out_fixed(out, IMPORT_KEY - 1);
	struct sha256 h;

	sha256_init(&h);
	sha256_add(&h, slice_str(im->source));
	sha256_add(&h, slice_of("", 1));
	sha256_add(&h, slice_str(im->mailbox));
	sha256_add(&h, slice_of("", 1));
	sha256_add(&h, place);
	sha256_end(&h, digest);
	codec_put_hex(&o, slice_of(digest, (IMPORT_KEY - 1) / 2));
	out[IMPORT_KEY - 1] = '\0';
}

/* RFC 1939 7: 1 to 70 characters of 0x21 to 0x7e. */
static bool is_uidl(slice text)
{
	for (size_t i = 0; i < text.len; i++)
		if (text.ptr[i] < 0x21 || text.ptr[i] > 0x7e)
			return false;
	return text.len > 0 && text.len <= UIDL_MAX;
}

bool import_begin(struct import *im, const struct import_head *head, bool *out_skip)
{
	char key[UIDL_MAX + 1];

	make_key(im, head->place, key);
	if (is_uidl(head->uidl))
		snprintf(key, sizeof(key), "%.*s", SLICE_ARG(head->uidl));
	/* Each key counts once: two messages may have come with the same one. */
	*out_skip = json_object_del(im->recent, key) == 0;
	if (*out_skip) {
		im->skipped++;
		return true;
	}
	im->head = json_pack("{s:s,s:s#,s:s}", "do", "import message", "flags",
		head->flags.len ? head->flags.ptr : "", (int)head->flags.len, "key", key);
	if (!im->head) { /* a keyword that is no UTF-8 is lost, the message is not */
		im->head = json_pack("{s:s,s:s}", "do", "import message", "key", key);
		must(im->head);
	}
	if (head->date > 0)
		json_object_set_new(im->head, "received", json_integer(head->date));
	im->piece_len = 0;
	im->last_cr = false;
	return true;
}

static bool send_piece(struct import *im, bool more)
{
	char text[IMPORT_PIECE / 3 * 4 + 8];
	struct out o = out_fixed(text, sizeof(text));
	json_t *request = im->head ? im->head : json_pack("{s:s}", "do", "import message"), *answer;

	im->head = NULL;
	codec_put_base64(&o, slice_of(im->piece, im->piece_len));
	json_object_set_new(request, "data", json_stringn(text, o.len));
	if (more)
		json_object_set_new(request, "more", json_true());
	im->piece_len = 0;
	answer = ask(im, request);
	json_decref(answer);
	return answer != NULL;
}

static bool put_byte(struct import *im, char byte)
{
	im->piece[im->piece_len++] = byte;
	return im->piece_len < sizeof(im->piece) || send_piece(im, true);
}

bool import_bytes(struct import *im, slice bytes)
{
	for (size_t i = 0; i < bytes.len; i++) {
		char byte = bytes.ptr[i];

		if (byte == '\n' && !im->last_cr && !put_byte(im, '\r'))
			return false;
		if (!put_byte(im, byte))
			return false;
		im->last_cr = byte == '\r';
	}
	return true;
}

static bool move_on(struct import *im, slice at)
{
	json_object_set_new(im->folder, "at", json_stringn(at.ptr, at.len));
	arena_reset(&im->arena);
	return ++im->unsaved < SAVE_EVERY || mark(im);
}

bool import_end(struct import *im, slice at)
{
	if (!send_piece(im, false))
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
	/* Also of what failed: a second call need not go over it again. */
	if (im->folder && im->unsaved && good)
		good = mark(im);
	else if (im->unsaved)
		save_state(im);
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
	if (set_paths(im, cli->operands[1]) && load_state(im))
		im->remote = command_connect(cli);
	if (im->remote)
		status = run(im);
	remote_close(im->remote);
	json_decref(im->head);
	json_decref(im->recent);
	json_decref(im->state);
	arena_done(&im->arena);
	free(im);
	return status;
}
