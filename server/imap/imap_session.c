/* SPDX-License-Identifier: GPL-2.0-or-later */
/* imap_session.c - the table of verbs, and the machine that reads it.
 *
 * Bytes come by callback; a whole command (literals included, a message's apart) is split, looked up,
 * checked against its row (state, TLS, UID) and parsed. Every refusal is worded here. What may wait
 * runs on a fiber; meanwhile conn keeps what comes behind, so pipelined commands run one after the
 * other. Behind a command the session is told what others changed, then comes the tagged line. */
#include "server/imap/imap_int.h"

#include "core/log.h"
#include "core/metric.h"

enum {
	NEW = 1 << IMAP_NEW,
	IN = 1 << IMAP_IN,
	OPEN = 1 << IMAP_SELECTED,
	AUTH = IN | OPEN,
	ANY = NEW | AUTH,
	NOW = IMAP_V_NOW,
	UID = IMAP_V_UID,
	SEQS = IMAP_V_SEQS,
	READS = IMAP_V_READS,
	WRITES = IMAP_V_WRITES,
	SILENT = IMAP_V_SILENT,
	JUNK = IMAP_V_JUNK,
};
enum { BAD_MAX = 10, TAG_MAX = 256, NEW_LINE_MAX = 8192, JUNK_MAX = 100 };

/* clang-format off */
const struct imap_verb imap_verbs[] = {
/*        name            parse                    states  flags                         handler */
	{ "FETCH",        imap_parse_fetch,        OPEN,   UID | SEQS | READS,           imap_do_fetch },
	{ "STORE",        imap_parse_store,        OPEN,   UID | SEQS | WRITES,          imap_do_store },
	{ "SEARCH",       imap_parse_search,       OPEN,   UID | SEQS | READS,           imap_do_search },
	{ "NOOP",         imap_parse_none,         ANY,    JUNK,                         imap_do_noop },
	{ "IDLE",         imap_parse_none,         AUTH,   NOW | SILENT,                 imap_do_idle },
	{ "APPEND",       imap_parse_append,       AUTH,   IMAP_V_MESSAGE,               imap_do_append },
	{ "COPY",         imap_parse_copy,         OPEN,   UID | SEQS,                   imap_do_copy },
	{ "MOVE",         imap_parse_copy,         OPEN,   UID | WRITES,                 imap_do_move },
	{ "EXPUNGE",      imap_parse_expunge,      OPEN,   UID | WRITES,                 imap_do_expunge },
	{ "SORT",         imap_parse_sort,         OPEN,   UID | SEQS | READS,           imap_do_sort },
	{ "THREAD",       imap_parse_thread,       OPEN,   UID | SEQS | READS,           imap_do_thread },
	{ "SELECT",       imap_parse_select,       AUTH,   READS | SILENT,               imap_do_select },
	{ "EXAMINE",      imap_parse_select,       AUTH,   READS | SILENT,               imap_do_examine },
	{ "STATUS",       imap_parse_status,       AUTH,   READS,                        imap_do_status },
	{ "LIST",         imap_parse_list,         AUTH,   READS,                        imap_do_list },
	{ "LSUB",         imap_parse_lsub,         AUTH,   READS,                        imap_do_lsub },
	{ "CAPABILITY",   imap_parse_none,         ANY,    NOW | JUNK,                   imap_do_capability },
	{ "LOGIN",        imap_parse_login,        NEW,    IMAP_V_LOGIN | SILENT,        imap_do_login },
	{ "AUTHENTICATE", imap_parse_authenticate, NEW,    IMAP_V_LOGIN | SILENT | NOW,  imap_do_authenticate },
	{ "STARTTLS",     imap_parse_none,         NEW,    IMAP_V_CLEAR | SILENT | NOW,  imap_do_starttls },
	{ "LOGOUT",       imap_parse_none,         ANY,    NOW | SILENT,                 imap_do_logout },
	{ "ENABLE",       imap_parse_enable,       AUTH,   SILENT,                       imap_do_enable },
	{ "ID",           imap_parse_id,           ANY,    NOW | JUNK,                   imap_do_id },
	{ "NAMESPACE",    imap_parse_none,         AUTH,   NOW,                          imap_do_namespace },
	{ "COMPRESS",     imap_parse_compress,     AUTH,   NOW | SILENT,                 imap_do_compress },
	{ "CREATE",       imap_parse_create,       AUTH,   0,                            imap_do_create },
	{ "DELETE",       imap_parse_mailbox,      AUTH,   0,                            imap_do_delete },
	{ "RENAME",       imap_parse_rename,       AUTH,   0,                            imap_do_rename },
	{ "SUBSCRIBE",    imap_parse_mailbox,      AUTH,   0,                            imap_do_subscribe },
	{ "UNSUBSCRIBE",  imap_parse_mailbox,      AUTH,   0,                            imap_do_unsubscribe },
	{ "GETQUOTA",     imap_parse_getquota,     AUTH,   READS,                        imap_do_getquota },
	{ "GETQUOTAROOT", imap_parse_mailbox,      AUTH,   READS,                        imap_do_getquotaroot },
	{ "SETQUOTA",     imap_parse_setquota,     AUTH,   0,                            imap_do_setquota },
	{ "CHECK",        imap_parse_none,         OPEN,   0,                            imap_do_noop },
	{ "CLOSE",        imap_parse_none,         OPEN,   SILENT,                       imap_do_close },
	{ "UNSELECT",     imap_parse_none,         OPEN,   SILENT,                       imap_do_unselect },
};
/* clang-format on */
const size_t imap_verb_count = array_len(imap_verbs);

const struct imap_verb *imap_verb_find(slice name)
{
	for (size_t i = 0; i < imap_verb_count; i++)
		if (slice_eq_nocase(name, slice_str(imap_verbs[i].name)))
			return &imap_verbs[i];
	return NULL;
}

/* What the table says about a verb now; NULL: go on with its arguments. */
static const char *refusal(const struct imap_session *s, const struct imap_verb *verb, bool uid)
{
	if (uid && !(verb->flags & IMAP_V_UID))
		return "This command has no UID form";
	if (!(verb->states & 1 << s->state)) {
		if (s->state == IMAP_NEW)
			return "Log in first";
		return verb->states & OPEN ? "Select a mailbox first" : "You are logged in already";
	}
	if ((verb->flags & IMAP_V_CLEAR) && s->head.tls)
		return "TLS is active already";
	return NULL;
}

/* --- How a command ended ---------------------------------------------------------------------- */

static enum verdict answer(struct imap_session *s, int kind, slice code, slice text)
{
	s->run->answer = kind;
	s->run->code = code;
	s->run->text = text;
	return DONE;
}

enum verdict imap_ok(struct imap_session *s)
{
	return answer(s, IMAP_OK, SLICE(""), SLICE(""));
}

enum verdict imap_ok_code(struct imap_session *s, slice code)
{
	return answer(s, IMAP_OK, code, SLICE(""));
}

enum verdict imap_no(struct imap_session *s, enum imap_code code, const char *text)
{
	return answer(s, IMAP_NO, imap_code_name(code), slice_str(text));
}

enum verdict imap_bad(struct imap_session *s, const char *why)
{
	return answer(s, IMAP_BAD, SLICE(""), slice_str(why));
}

enum verdict imap_no_fault(struct imap_session *s, enum fault fault)
{
	return answer(s, IMAP_NO, slice_str(fault_imap_code(fault)),
		slice_str(fault_smtp(fault)->text));
}

enum verdict imap_no_err(struct imap_session *s, enum err err)
{
	switch (err) {
	case ERR_NOT_FOUND:
		return imap_no(s, IMAP_CODE_NONEXISTENT, "No such mailbox");
	case ERR_EXISTS:
		return imap_no(s, IMAP_CODE_ALREADYEXISTS, "There is such a mailbox already");
	case ERR_DENIED:
		return imap_no(s, IMAP_CODE_NOPERM, "Not permitted");
	case ERR_INVALID:
		return imap_no(s, IMAP_CODE_CANNOT, "Not a name a mailbox can have");
	case ERR_LIMIT:
		return imap_no(s, IMAP_CODE_LIMIT, "A limit is reached");
	case ERR_QUOTA:
		return imap_no(s, IMAP_CODE_OVERQUOTA, "Over the quota");
	case ERR_CORRUPT:
		return imap_no(s, IMAP_CODE_CORRUPTION, "Stored data is damaged");
	case ERR_CLOSED:
	case ERR_RESET:
		s->run->fatal = true;
		return imap_no(s, IMAP_CODE_UNAVAILABLE, "The connection is lost");
	default:
		return imap_no_fault(s, fault_of_err(err));
	}
}

void imap_wrote(struct imap_session *s, modseq pos)
{
	s->written = MAX(s->written, pos);
}

/* --- The tagged line -------------------------------------------------------------------------- */

static void put_tagged(struct imap_session *s)
{
	static const char *const words[] = { "OK", "NO", "BAD" };
	const struct imap_run *run = s->run;
	struct out *o = imap_out(s);

	out_slice(o, run->tag);
	out_printf(o, " %s ", words[run->answer]);
	if (run->code.len)
		out_printf(o, "[%.*s] ", SLICE_ARG(run->code));
	if (run->text.len)
		out_slice(o, run->text);
	else
		out_printf(o, "%s%s completed", run->uid ? "UID " : "", run->verb->name);
	out_str(o, "\r\n");
}

/* Ten in a row are no mistake any more. */
static enum verdict count_bad(struct imap_session *s, bool bad)
{
	if (!bad) {
		s->bad = 0;
		return DONE;
	}
	metric_add(&imap_metrics, IMAP_METRIC_BAD, 1);
	return ++s->bad >= BAD_MAX ? CLOSE : DONE;
}

static void too_many(struct imap_session *s)
{
	imap_log_refused(s, "too many bad commands", SLICE(""));
	imap_bye(s, "Too many commands that are wrong");
}

/* Before the tagged line, the session learns what others did. */
static void tell(struct imap_session *s)
{
	const struct imap_run *run = s->run;
	bool expunges = run->uid || !(run->verb->flags & IMAP_V_SEQS);
	enum err err;

	if (!s->box || (run->verb->flags & IMAP_V_SILENT) || run->answer == IMAP_BAD)
		return;
	err = imap_view_sync(s, expunges);
	if (err && err != ERR_NOT_FOUND)
		run->fatal ? (void)0 : imap_log_refused(s, "sync", slice_str(err_name(err)));
}

/* For the next command; whoever runs now is about to end. */
static void arm(struct imap_session *s)
{
	const struct imap_options *o = s->head.setup->imap;

	if (s->input != IMAP_IN_NOTHING)
		conn_deadline(s->head.conn, s->state == IMAP_NEW ? o->login_ms : o->idle_ms);
}

void imap_end_run(struct imap_session *s)
{
	struct imap_station *st = imap_station_of(s->head.door->w);

	s->run = NULL;
	if (!s->arena.chunk)
		return;
	if (st->spares == array_len(st->spare)) {
		arena_done(&s->arena);
		return;
	}
	arena_reset(&s->arena);
	st->spare[st->spares++] = s->arena;
	s->arena = (struct arena){ .chunk_bytes = s->arena.chunk_bytes };
}

void imap_finish(struct imap_session *s, enum verdict verdict)
{
	struct imap_run *run = s->run;
	struct tls_session *tls = run->tls;
	bool compress = run->compress;
	bool fatal, bad;

	if (fiber_self())
		tell(s);
	fatal = run->fatal;
	bad = run->answer == IMAP_BAD;
	put_tagged(s);
	if (tls) {
		s->head.tls = true;
		s->reader = (struct imap_reader){ 0 };
		conn_start_tls(s->head.conn, tls);
	}
	if (compress && conn_start_deflate(s->head.conn))
		conn_abort(s->head.conn, ERR_NOMEM);
	imap_end_run(s);
	if (s->input != IMAP_IN_NOTHING && count_bad(s, bad) == CLOSE)
		too_many(s);
	if (fatal)
		conn_abort(s->head.conn, ERR_CLOSED);
	if (verdict == CLOSE)
		imap_close(s);
	if (s->head.door->stopping && s->input != IMAP_IN_NOTHING)
		imap_bye(s, "The server is stopping");
	arm(s);
}

/* A command that never began: what is wrong is told, with its tag if it has one. */
static enum verdict refuse(struct imap_session *s, slice tag, const char *why)
{
	out_printf(imap_out(s), "%.*s BAD %s\r\n", tag.len ? (int)MIN(tag.len, (size_t)TAG_MAX) : 1,
		tag.len ? tag.ptr : "*", why);
	if (count_bad(s, true) == DONE)
		return DONE;
	too_many(s);
	return CLOSE;
}

/* --- One command ------------------------------------------------------------------------------ */

static void run_verb(struct imap_session *s)
{
	struct imap_run *run = s->run;
	enum verdict verdict = DONE;
	enum err err = OK;

	if ((run->verb->flags & IMAP_V_READS) && s->written)
		err = store_sync(imap_store_of(s), s->account, s->written);
	verdict = err ? imap_no_err(s, err) : run->verb->run(s, &run->args);
	if (s->run == run && !run->open)
		imap_finish(s, verdict);
}

static void run_on_fiber(struct conn *c)
{
	run_verb(conn_owner(c));
}

/* Everything about the command is settled; true: go on with the input. */
static bool start(struct imap_session *s)
{
	s->commands++;
	metric_add(&imap_metrics, IMAP_METRIC_COMMANDS, 1);
	conn_deadline(s->head.conn, 0);
	if (!(s->run->verb->flags & IMAP_V_NOW))
		return conn_run(s->head.conn, run_on_fiber);
	run_verb(s);
	return true;
}

/* Unknown clients get less memory than known ones. */
static struct imap_limits limits_of(const struct imap_session *s)
{
	const struct imap_options *o = s->head.setup->imap;
	struct imap_limits limits = { .line_max = (uint32_t)o->line_max,
		.literal_max = (uint32_t)o->literal_max,
		.plus_max = UINT32_MAX, /* messages of APPEND, which are not collected */
		.depth_max = (uint32_t)o->depth_max,
		.terms_max = (uint32_t)o->terms_max };

	if (s->state == IMAP_NEW) {
		limits.line_max = MIN(limits.line_max, (uint32_t)NEW_LINE_MAX);
		limits.literal_max = MIN(limits.literal_max, (uint32_t)NEW_LINE_MAX);
		limits.plus_max = limits.literal_max;
	}
	return limits;
}

/* Arguments are parsed in the arena, from a copy if they must outlive the input. */
static const char *prepare(struct imap_session *s, const struct imap_verb *verb,
	const struct imap_command *cmd, const struct imap_part *part, bool *no_name)
{
	struct imap_station *st = imap_station_of(s->head.door->w);

	if (st->spares)
		s->arena = st->spare[--st->spares];
	struct imap_run *run = arena_new(&s->arena, struct imap_run);
	slice args = verb->flags & IMAP_V_NOW ? cmd->args : arena_dup(&s->arena, cmd->args);
	struct imap_lex lex;

	*run = (struct imap_run){ .verb = verb, .uid = cmd->uid, .limits = limits_of(s) };
	run->tag = arena_dup(&s->arena, cmd->tag);
	run->part = *part;
	run->part.text = run->part.tag = SLICE("");
	s->run = run;
	lex = imap_lex_of(&s->arena, args, &run->limits);
	lex.utf8 = imap_utf8(s);
	lex.uid = cmd->uid;
	if (verb->parse(&lex, &run->args))
		return NULL;
	*no_name = lex.no_name;
	return lex.why ? lex.why : "Wrong arguments";
}

static const char *look_up(struct imap_session *s, const struct imap_part *part,
	struct imap_command *cmd, const struct imap_verb **verb)
{
	const char *why = NULL;

	if (!imap_command_split(part->text, cmd, &why))
		return why;
	if (cmd->tag.len > TAG_MAX)
		return "The tag is too long";
	*verb = imap_verb_find(cmd->verb);
	if (!*verb)
		return "Unknown command";
	if (part->message && !((*verb)->flags & IMAP_V_MESSAGE))
		return "This command takes no message";
	return refusal(s, *verb, cmd->uid);
}

/* Who has not logged in has nothing to ask for long. */
static bool counts_out(struct imap_session *s, const struct imap_verb *verb)
{
	if (s->state != IMAP_NEW || !(verb->flags & IMAP_V_JUNK) || ++s->junk <= JUNK_MAX)
		return false;
	imap_bye(s, "Too many commands without a login");
	return true;
}

/* False: leave the input alone for now. */
static bool take_first(struct imap_session *s, const struct imap_part *part)
{
	struct imap_command cmd = { 0 };
	const struct imap_verb *verb = NULL;
	const char *why = look_up(s, part, &cmd, &verb);
	bool no_name = false;

	if (!why && counts_out(s, verb))
		return false;
	if (!why)
		why = prepare(s, verb, &cmd, part, &no_name);
	if (!why && (verb->flags & IMAP_V_WRITES) && s->box->read_only) {
		imap_no(s, IMAP_CODE_READ_ONLY, "The mailbox is open read-only");
		imap_finish(s, DONE);
		return true;
	}
	if (!why)
		return start(s);
	if (part->message)
		imap_message_refuse(&s->reader);
	if (no_name) { /* not wrong, but impossible (RFC 5530 3) */
		imap_no(s, IMAP_CODE_CANNOT, why);
		imap_finish(s, DONE);
		return true;
	}
	enum verdict verdict = refuse(s, cmd.tag, why);

	imap_end_run(s);
	return verdict == DONE;
}

static bool take_part(struct imap_session *s, const struct imap_part *part, bool fault)
{
	if (part->later && s->run) {
		struct imap_run *run = s->run;

		run->part = *part;
		run->open = false;
		enum verdict verdict = imap_append_part(s, part, fault);

		if (!s->run || run->open)
			return !conn_fiber(s->head.conn);
		imap_finish(s, verdict);
		return true;
	}
	if (fault)
		return refuse(s, part->tag, part->why ? part->why : "Wrong syntax") == DONE;
	return take_first(s, part);
}

static size_t take_command(struct imap_session *s, slice in, bool *stop)
{
	struct imap_limits limits = limits_of(s);
	struct imap_part part = { 0 };
	size_t used = 0;
	enum step step = imap_command_take(&s->reader, in, &limits, &used, &part);

	if (step == STEP_MORE) {
		if (part.prompt)
			out_str(imap_out(s), "+ Go on\r\n");
		*stop = true;
		return used;
	}
	*stop = !take_part(s, &part, step != STEP_DONE);
	imap_set_deadline(s);
	return used;
}

void imap_set_deadline(struct imap_session *s)
{
	if (!conn_fiber(s->head.conn))
		arm(s);
}

static unsigned layers_of(const struct imap_session *s)
{
	return (unsigned)s->head.tls + conn_is_deflated(s->head.conn);
}

size_t imap_on_data(struct conn *c, slice in)
{
	struct imap_session *s = conn_owner(c);
	size_t used = 0;
	unsigned layers = layers_of(s);
	bool stop = false;

	while (used < in.len && !stop) {
		slice rest = slice_skip(in, used);

		switch ((enum imap_input)s->input) {
		case IMAP_IN_COMMAND:
			used += take_command(s, rest, &stop);
			break;
		case IMAP_IN_AUTH:
			used += imap_take_auth(s, rest, &stop);
			break;
		case IMAP_IN_IDLE:
			used += imap_take_idle(s, rest, &stop);
			break;
		case IMAP_IN_MESSAGE:
			used += imap_take_literal(s, rest, &stop);
			break;
		case IMAP_IN_NOTHING:
			return in.len;
		}
		stop = stop || conn_congested(c) || conn_fiber(c);
		/* What stands behind STARTTLS or COMPRESS was said in another form (RFC 9051 6.2.1). */
		if (layers != layers_of(s))
			return in.len;
	}
	return used;
}
