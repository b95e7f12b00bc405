/* SPDX-License-Identifier: GPL-2.0-or-later */
/* imap_append.c - APPEND (RFC 9051 6.3.12), with MULTIAPPEND (RFC 3502) and literal8.
 *
 * What can be refused is refused before the client sends the message. Its bytes go from the receive
 * callback into the store and the summary, without a fiber and without a copy of the whole. A single
 * message is one record with its delivery in it. Of several the bodies are stored first, held and
 * in no mailbox (imap_kept.h); one record then delivers all of them, so a command that breaks off leaves
 * nothing. */
#include "server/imap/imap_int.h"

#include "core/worker.h"
#include "server/imap/imap_kept.h"
#include "server/summing.h"
#include "store/message.h"
#include "store/store.h"

enum {
	SLOW_BYTES = 64 * 1024, /* so many in the time of imap.send, or the client is too slow */
	COMMAND_MS = 2 * 3600 * 1000,
};

/* In the arena of the command, but for what the store and the summary hold. */
struct imap_append_state {
	struct imap_session *session;
	uint32_t mailbox;
	/* The message at hand. */
	struct imap_append_item item, *next; /* what was said of the one behind it */
	struct blob_writer body;
	struct summing summing;
	size_t window;   /* bytes since the deadline moved */
	msec until;      /* by then the whole command must be over */
	const char *bad; /* what is wrong with it: BAD */
	enum err err;
	bool binary;
	struct imap_kept kept;         /* those before */
	struct room_sum before, taken; /* all of them but the last, and all */
	/* Of what is said between messages: of the one at hand, and of the next. */
	struct arena said[2];
	unsigned turn;
};

void imap_append_drop(struct imap_session *s)
{
	struct imap_append_state *a = s->append;

	if (!a)
		return;
	s->append = NULL;
	summing_drop(&a->summing);
	blob_drop(&a->body);
	imap_kept_drop(&a->kept);
	arena_done(&a->said[0]);
	arena_done(&a->said[1]);
}

/* --- Before a message ----------------------------------------------------------------------------- */

static void may_resume(struct blob_writer *body)
{
	struct imap_append_state *a = container_of(body, struct imap_append_state, body);

	conn_resume(a->session->head.conn);
}

/* Who is slow in the middle of a message keeps parts of the journal from being freed: hence a limit for
 * the whole, too. */
static void move_deadline(struct imap_append_state *a)
{
	struct imap_session *s = a->session;
	msec now = worker_now(s->head.door->w);

	a->window = 0;
	conn_deadline(s->head.conn,
		a->until > now ? MIN((msec)s->head.setup->imap->send_ms, a->until - now) : 1);
}

static void accept_message(struct imap_append_state *a, const struct imap_part *part)
{
	struct imap_session *s = a->session;

	a->binary = part->binary;
	a->body.resume = may_resume;
	blob_begin(&a->body, imap_store_of(s));
	summing_begin(&a->summing, &a->body);
	if (imap_message_accept(&s->reader))
		out_str(imap_out(s), "+ Go on\r\n");
	s->input = IMAP_IN_MESSAGE;
	move_deadline(a);
}

/* In the order in which it costs. Room is looked for with what is under way, as it is not counted yet. */
static enum verdict offer(struct imap_append_state *a)
{
	struct imap_session *s = a->session;
	const struct imap_part *part = &s->run->part;
	enum err err;

	if (!part->message)
		return imap_bad(s, "A message literal was expected");
	if (a->item.utf8 && !part->binary) /* RFC 6855 4 */
		return imap_bad(s, "UTF8 wants a literal8");
	if (!part->bytes) /* RFC 3502 6.3.11 */
		return imap_no(s, IMAP_CODE_CANNOT, "An empty message: nothing was appended");
	if (part->bytes > (uint64_t)s->head.setup->imap->append_max)
		return imap_no(s, IMAP_CODE_TOOBIG, "The message is too large");
	if (imap_kept_full(&a->kept))
		return imap_no(s, IMAP_CODE_LIMIT, "Too many messages in one command");
	err = imap_has_room(s, &a->taken);
	if (err)
		return imap_no_err(s, err);
	accept_message(a, part);
	return DONE;
}

/* The fiber's part of every step ends here: either bytes are to come, or the command is over. */
static void end_step(struct imap_session *s)
{
	if (s->input == IMAP_IN_MESSAGE)
		return;
	if (s->run->part.message)
		imap_message_refuse(&s->reader);
	imap_append_drop(s);
}

enum verdict imap_do_append(struct imap_session *s, const union imap_args *args)
{
	struct imap_append_state *a = arena_new(&s->arena, struct imap_append_state);
	enum verdict verdict;
	enum err err = imap_find_destination(s, args->append.mailbox, &a->mailbox);

	a->session = s;
	a->item = args->append.item;
	a->until = worker_now(s->head.door->w) + COMMAND_MS;
	imap_kept_begin(&a->kept, imap_store_of(s));
	s->append = a;
	verdict = err ? imap_no_destination(s, err) : offer(a);
	end_step(s);
	s->run->open = s->input == IMAP_IN_MESSAGE;
	return verdict;
}

/* --- Its bytes ------------------------------------------------------------------------------------ */

static void stop_keeping(struct imap_append_state *a, const char *bad, enum err err)
{
	a->bad = bad;
	a->err = err;
	summing_drop(&a->summing);
	blob_drop(&a->body);
}

/* True: the budget of bodies in memory is used up. What is refused is only counted off. */
static bool keep(struct imap_append_state *a, slice piece)
{
	enum err err;

	if (a->bad || a->err || !piece.len)
		return false;
	if (!a->binary && memchr(piece.ptr, 0, piece.len)) {
		stop_keeping(a, "NUL in a literal that is no literal8", OK);
		return false;
	}
	if (imap_kept_too_long(&a->kept)) {
		stop_keeping(a, NULL, ERR_NOSPACE);
		imap_kept_drop(&a->kept);
		return false;
	}
	summing_add(&a->summing, piece);
	err = blob_write(&a->body, piece);
	if (err && err != ERR_BUSY)
		stop_keeping(a, NULL, err);
	return err == ERR_BUSY;
}

size_t imap_take_literal(struct imap_session *s, slice in, bool *stop)
{
	struct imap_append_state *a = s->append;
	slice piece = imap_message_take(&s->reader, in);

	a->window += piece.len;
	if (a->window >= SLOW_BYTES)
		move_deadline(a);
	if (keep(a, piece)) {
		conn_pause(s->head.conn);
		*stop = true;
	}
	if (!imap_message_left(&s->reader))
		s->input = IMAP_IN_COMMAND;
	return piece.len;
}

/* --- Behind a message ----------------------------------------------------------------------------- */

/* In the arena of the command. */
static enum err describe(struct imap_append_state *a, struct deliver *d)
{
	struct imap_session *s = a->session;
	struct deliver_target *target = arena_new(&s->arena, struct deliver_target);
	struct arena building = { 0 };
	struct out row = out_arena(&building);
	enum err err = summing_end(&a->summing, &row);

	*target = (struct deliver_target){ .account = s->account,
		.mailbox = a->mailbox,
		.flags = a->item.flags.system & MESSAGE_FLAGS,
		.keywords = imap_keyword_names(s, &a->item.flags),
		.received = a->item.has_date ? a->item.date.at : worker_wall(s->head.door->w) };
	*d = (struct deliver){ .targets = target, .target_count = 1 };
	imap_kept_describe(&s->arena, out_written(&row), d, target);
	d->summary = arena_dup(&s->arena, d->summary);
	arena_done(&building);
	return err;
}

static void count_in(struct imap_append_state *a, uint64_t bytes)
{
	a->before = a->taken;
	a->taken.bytes += bytes;
	a->taken.messages++;
}

/* One record: the body, and with `deliver` where it goes. Held then. */
static enum err store_body(struct imap_append_state *a, const struct deliver *d, bool deliver,
	struct blob_ref *out)
{
	struct imap_session *s = a->session;
	struct store_message msg = { .body = &a->body,
		.deliver = deliver ? d : NULL,
		.ask = deliver,
		.at = worker_wall(s->head.door->w) };
	enum err err = store_message_append(imap_store_of(s), &msg, out);

	if (!err)
		count_in(a, out->size);
	return err;
}

/* One of several, among those before it then. */
static enum err keep_body(struct imap_append_state *a)
{
	struct arena *arena = &a->session->arena;
	struct arena_mark mark = arena_mark(arena);
	struct blob_ref ref;
	struct deliver d;
	enum err err = describe(a, &d);

	if (!err)
		err = store_body(a, &d, false, &ref);
	if (!err)
		err = imap_kept_add(&a->kept, &d, &ref);
	arena_rollback(arena, mark);
	return err;
}

static enum verdict appended(struct imap_append_state *a, const struct delivered *at, modseq pos)
{
	struct imap_session *s = a->session;
	struct out code = out_arena(&s->arena);

	/* The message is safe, whether it can be shown at once or not. */
	(void)!imap_came(s, at->mailbox, pos);
	if (at->mailbox != a->mailbox) { /* deleted in this moment */
		imap_ok(s);
		s->run->text = SLICE("The mailbox is gone, the message is in INBOX");
		return DONE;
	}
	out_printf(&code, "APPENDUID %u %u", at->uid_validity, at->uid);
	if (a->kept.len > 1)
		out_printf(&code, ":%zu", at->uid + a->kept.len - 1);
	return imap_ok_code(s, out_written(&code));
}

/* Where a stored message came to. */
static enum verdict tell_where(struct imap_append_state *a, modseq pos)
{
	struct imap_session *s = a->session;
	struct delivered at;
	enum err err = message_delivered(imap_store_of(s), pos, s->account, &at);

	if (!err)
		return appended(a, &at, pos);
	if (err == ERR_NOT_FOUND) /* the account is gone */
		return imap_no_destination(s, err);
	imap_wrote(s, pos); /* durable; only its uid cannot be told */
	return imap_ok(s);
}

static enum verdict finish_one(struct imap_append_state *a)
{
	struct imap_session *s = a->session;
	struct room_sum none = { 0 }, one = { .bytes = a->body.size, .messages = 1 };
	struct blob_ref ref = { 0 };
	struct deliver d;
	struct room *room;
	enum verdict verdict;
	enum err err = imap_take_room(s, &none, &one, &room);

	if (!err)
		err = describe(a, &d);
	if (!err)
		err = store_body(a, &d, true, &ref);
	room_end(room, err ? 0 : ref.id);
	if (err)
		return imap_no_err(s, err);
	verdict = tell_where(a, ref.id);
	store_release(imap_store_of(s), &ref);
	return verdict;
}

static enum verdict finish_many(struct imap_append_state *a)
{
	struct imap_session *s = a->session;
	struct delivered first;
	struct room *room = NULL;
	modseq pos = 0;
	enum err err = keep_body(a);

	if (!err)
		err = imap_take_room(s, &a->before, &a->taken, &room);
	if (!err)
		err = imap_kept_deliver(&a->kept, &imap_station_of(s->head.door->w)->kept, &first,
			&pos);
	room_end(room, pos);
	if (err == ERR_TOO_LARGE)
		return imap_no(s, IMAP_CODE_LIMIT, "Too many messages in one command");
	return err ? imap_no_destination(s, err) : appended(a, &first, pos);
}

/* The message is here, and another one is to come. */
static enum verdict keep_and_offer(struct imap_append_state *a, const struct imap_append_item *next)
{
	enum err err = keep_body(a);

	if (err)
		return imap_no_err(a->session, err);
	a->item = *next;
	return offer(a);
}

static void go_on(struct conn *c)
{
	struct imap_session *s = conn_owner(c);
	struct imap_append_state *a = s->append;
	enum verdict verdict;

	if (s->run->part.message)
		verdict = keep_and_offer(a, a->next);
	else
		verdict = a->kept.len ? finish_many(a) : finish_one(a);
	end_step(s);
	if (s->input != IMAP_IN_MESSAGE)
		imap_finish(s, verdict);
}

/* NULL: the part is good. */
static const char *read_part(struct imap_append_state *a, const struct imap_part *part)
{
	struct imap_session *s = a->session;
	struct arena *said = &a->said[a->turn++ % 2];

	arena_reset(said);
	struct imap_lex lex = imap_lex_of(said, arena_dup(said, part->text), &s->run->limits);
	lex.utf8 = imap_utf8(s);
	a->next = arena_new(said, struct imap_append_item);
	if (imap_parse_append_next(&lex, a->item.utf8, part->message, a->next))
		return NULL;
	return lex.why ? lex.why : "Wrong arguments";
}

enum verdict imap_append_part(struct imap_session *s, const struct imap_part *part, bool fault)
{
	struct imap_append_state *a = s->append;
	const char *bad = a->bad;

	if (fault)
		bad = part->why ? part->why : "Wrong syntax";
	else if (!bad)
		bad = read_part(a, part);
	if (!bad && !a->err) {
		conn_deadline(s->head.conn, 0);
		s->run->open = true;
		(void)conn_run(s->head.conn, go_on);
		return DONE;
	}
	/* Behind a fault the reader goes on by itself. */
	s->run->part.message = part->message && !fault;
	bad ? imap_bad(s, bad) : imap_no_err(s, a->err);
	end_step(s);
	return DONE;
}
