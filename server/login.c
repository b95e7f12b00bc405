/* SPDX-License-Identifier: GPL-2.0-or-later */
/* login.c - password checks, their cache, and what failures cost.
 *
 * Order of a check: locked? known? remembered? then the hash on a helper thread. The last step is
 * made for unknown names too, against a hash nobody knows the password of. Which worker counts the
 * failures of a name follows from the name, and which one remembers a password that was right follows
 * from its mark: many workers mean neither more tries nor more hashes. */
#include "server/login_int.h"

#include <stdlib.h>

#include "core/base/text.h"
#include "core/entropy.h"
#include "core/fiber.h"
#include "core/job.h"
#include "core/log.h"
#include "core/metric.h"
#include "core/post.h"
#include "core/worker.h"
#include "proto/smtp/address.h"
#include "proto/smtp/idn.h"
#include "server/iterations.h"
#include "server/password.h"
#include "store/account.h"

enum { PASSWORD_MAX = 512, NAME_MAX_BYTES = 320 };

static const struct metric_row metric_rows[] = {
	{ "successes_total", METRIC_COUNTER, "Logins that succeeded" },
	{ "cached_total", METRIC_COUNTER, "Of them, passwords remembered from an earlier check" },
	{ "failures_total", METRIC_COUNTER, "Logins that failed" },
	{ "locked_total", METRIC_COUNTER,
		"Tries refused because the account was locked for the client" },
	{ "hashes_total", METRIC_COUNTER, "Password hashes computed" },
};
struct metric_table login_metrics = METRIC_TABLE("login", metric_rows);

/* What unknown names are checked against, as slow as the real thing. */
static void make_dummy(void *arg)
{
	struct login *l = arg;
	uint64_t random[2] = { entropy_u64(), entropy_u64() };

	if (!password_hash((enum auth_hash)l->hash, slice_of(random, sizeof(random)), l->dummy))
		l->dummy[0] = '\0';
}

static const struct setting past_name = { .table = SLICE_INIT("login"),
	.key = SLICE_INIT("scram-iterations") };

static enum err read_past(struct login *l)
{
	struct past *past = calloc(1, sizeof(*past));
	struct arena a = { 0 };
	slice value;
	enum err err = past ? setting_get(l->store, &past_name, &a, &value) : ERR_NOMEM;

	if (!err && !iterations_parse(value, &past->iterations))
		past->iterations = (struct iterations){ 0 };
	arena_done(&a);
	atomic_store(&l->past, past);
	return err == ERR_NOT_FOUND ? OK : err;
}

enum err login_options(struct login *l, const struct auth_options *o)
{
	struct past *old = atomic_load(&l->past), *new = malloc(sizeof(*new));
	char buf[400];
	struct out text = out_fixed(buf, sizeof(buf));
	struct setting row = past_name;

	if (!new)
		return ERR_NOMEM;
	*new = (struct past){ .iterations = old->iterations, .older = old };
	if (!iterations_note(&new->iterations, (uint32_t)o->scram_iterations, clock_wall())) {
		free(new);
		return OK;
	}
	atomic_store(&l->past, new);
	iterations_put(&new->iterations, &text);
	row.value = out_written(&text);
	return setting_put(l->store, &row, ROW_PUT);
}

enum err login_open(struct store *st, const struct auth_options *o, struct login **out)
{
	struct login *l = calloc(1, sizeof(*l));
	struct arena a = { 0 };
	struct setting name = { .table = SLICE("login"), .key = SLICE("false-salt") };
	slice value;
	enum err err;

	if (!l)
		return ERR_NOMEM;
	l->store = st;
	l->hash = o->hash;
	worker_slot_take(&l->slot);
	entropy_fill(l->key, sizeof(l->key));
	err = setting_get(st, &name, &a, &value);
	if (!err && value.len == LOGIN_KEY_BYTES) {
		memcpy(l->secret, value.ptr, LOGIN_KEY_BYTES);
	} else if (!err || err == ERR_NOT_FOUND) {
		entropy_fill(l->secret, sizeof(l->secret));
		name.value = slice_of(l->secret, LOGIN_KEY_BYTES);
		err = setting_put(st, &name, ROW_PUT);
	}
	arena_done(&a);
	if (!err)
		err = read_past(l);
	if (!err)
		err = login_options(l, o);
	if (err) {
		login_close(l);
		return err;
	}
	job_run(make_dummy, l);
	*out = l;
	return OK;
}

void login_close(struct login *l)
{
	if (!l)
		return;
	for (struct past *past = atomic_load(&l->past), *older; past; past = older) {
		older = past->older;
		free(past);
	}
	crypt_wipe(l->key, sizeof(l->key));
	free(l);
}

enum err login_worker_start(struct login *l, struct worker *w, const struct auth_options *o)
{
	struct login_tables *t = calloc(1, sizeof(*t));
	struct map_seed seed = { entropy_u64(), entropy_u64() };

	if (!t)
		return ERR_NOMEM;
	login_table_init(&t->cache, &seed, (size_t)o->cache_max);
	login_table_init(&t->failures, &seed, (size_t)o->lock_max);
	*worker_slot(w, l->slot) = t;
	return OK;
}

void login_worker_stop(struct login *l, struct worker *w)
{
	struct login_tables *t = login_tables(l, w);

	if (!t)
		return;
	login_table_done(&t->cache);
	login_table_done(&t->failures);
	map_done(&t->pending);
	free(t);
	*worker_slot(w, l->slot) = NULL;
}

bool login_parse_name(slice text, struct arena *a, struct login_name *out)
{
	ptrdiff_t at = slice_rfind(text, '@');
	struct mail_addr addr;
	char *copy;

	/* RFC 5321 4.1.2: "bob"@x is bob@x. */
	if (text.len && text.ptr[0] == '"' && text.len <= NAME_MAX_BYTES &&
		mail_addr_parse(a, text, &addr)) {
		text = mail_addr_text(a, &addr);
		at = slice_rfind(text, '@');
	}
	if (at <= 0 || text.len > NAME_MAX_BYTES || (size_t)at > ACCOUNT_LOCAL_MAX)
		return false;
	copy = arena_str(a, text);
	text_lower_all(copy, text.len);
	*out = (struct login_name){ .local = slice_of(copy, (size_t)at),
		.domain = slice_of(copy + at + 1, text.len - (size_t)at - 1) };
	return text_is_domain(out->domain);
}

/* --- Failures: asked of the worker that owns the name -------------------------------------- */

enum ask_kind { ASK_LOCKED, ASK_FAIL, ASK_FORGET };

struct ask {
	struct login *login;
	enum ask_kind kind;
	const struct login_try *try;
	struct login_who who;
	msec delay;
	bool locked, newly;
};

static void answer(struct worker *w, void *arg)
{
	struct ask *ask = arg;
	struct login_table *t = &login_tables(ask->login, w)->failures;
	const struct auth_options *o = ask->try->options;
	size_t before = t->map.len;

	if (ask->kind == ASK_LOCKED) {
		ask->locked = login_table_locked(t, &ask->who, worker_now(w));
	} else if (ask->kind == ASK_FORGET) {
		login_table_forget(t, &ask->who);
	} else {
		struct login_limits limits = { .lock_after = (unsigned)o->lock_after,
			.window_ms = o->fail_window_ms,
			.lock_ms = o->lock_ms,
			.delay_ms = o->fail_delay_ms,
			.delay_max_ms = o->fail_delay_max_ms };

		ask->delay = login_table_fail(t, &ask->who, &limits, worker_now(w), &ask->newly);
	}
	atomic_fetch_add_explicit(&ask->login->failing, (unsigned)(t->map.len - before),
		memory_order_relaxed);
}

static void ask_owner(struct ask *ask, slice name)
{
	static const struct map_seed spread = { 1, 2 };
	char copy[NAME_MAX_BYTES];
	size_t len = MIN(name.len, sizeof(copy));

	/* Without failures anywhere there is nothing to ask, and nothing to forget. */
	if (ask->kind != ASK_FAIL &&
		!atomic_load_explicit(&ask->login->failing, memory_order_relaxed))
		return;
	memcpy(copy, name.ptr, len);
	text_lower_all(copy, len);
	ask->who = (struct login_who){ slice_of(copy, len), ask->try->peer };
	post_call((unsigned)(map_hash(&spread, ask->who.name) % workers_count()), answer, ask);
}

enum fault login_admit(struct login *l, struct worker *w, const struct login_try *t)
{
	struct ask ask = { .login = l, .kind = ASK_LOCKED, .try = t };

	ask_owner(&ask, t->name);
	if (!ask.locked)
		return FAULT_NONE;
	metric_add(&login_metrics, LOGIN_M_LOCKED, 1);
	return FAULT_AUTH_LOCKED;
}

static enum fault failed(struct login *l, const struct login_try *t)
{
	struct ask ask = { .login = l, .kind = ASK_FAIL, .try = t };

	ask_owner(&ask, t->name);
	metric_add(&login_metrics, LOGIN_M_FAILED, 1);
	log_event(LOG_INFO, "login.failed", log_slice("account", t->name),
		log_addr("client", t->peer), log_bool("locked", ask.newly));
	if (ask.delay > 0 && fiber_sleep(ask.delay))
		return FAULT_AUTH_BUSY;
	return FAULT_AUTH_FAILED;
}

static void succeeded(struct login *l, const struct login_try *t)
{
	struct ask ask = { .login = l, .kind = ASK_FORGET, .try = t };

	ask_owner(&ask, t->name);
	metric_add(&login_metrics, LOGIN_M_OK, 1);
}

/* --- The check ---------------------------------------------------------------------------- */

/* The account in use, or NULL. Its slices live until the next wait. */
static const struct account *find(struct login *l, slice text, struct arena *a,
	struct login_name *name, enum err *err)
{
	const struct domain *d;
	const struct account *acc;

	*err = OK;
	if (!login_parse_name(text, a, name))
		return NULL;
	d = domain_find(l->store, name->domain, err);
	if (!d || (d->flags & DOMAIN_DISABLED))
		return NULL;
	acc = account_find(l->store, name->local, name->domain, err);
	return acc && !(acc->flags & ACCOUNT_DISABLED) ? acc : NULL;
}

static slice full_name(struct arena *a, const struct login_name *name)
{
	return arena_printf(a, "%.*s@%.*s", SLICE_ARG(name->local), SLICE_ARG(name->domain));
}

enum fault login_password(struct login *l, struct worker *w, const struct login_try *t,
	struct arena *a, slice *out_name)
{
	struct login_name name;
	enum err err;
	enum fault fault = login_admit(l, w, t);
	const struct account *acc;
	slice stored = slice_str(l->dummy);
	bool known;

	if (fault)
		return fault;
	if (t->password.len > PASSWORD_MAX || t->name.len > NAME_MAX_BYTES)
		return failed(l, t);
	acc = find(l, t->name, a, &name, &err);
	if (err)
		return FAULT_AUTH_BUSY;
	known = acc && acc->hash.len;
	if (known)
		stored = slice_str(arena_str(a, acc->hash));
	if (!login_check(l, w, t, stored) || !known)
		return failed(l, t);
	succeeded(l, t);
	*out_name = full_name(a, &name);
	return FAULT_NONE;
}

enum fault login_scram_keys(struct login *l, const struct login_try *t, struct arena *a,
	struct login_scram *out)
{
	struct login_name name;
	enum err err;
	const struct account *acc = find(l, t->name, a, &name, &err);
	char *low = arena_str(a, t->name);

	if (err)
		return FAULT_AUTH_BUSY;
	/* A known name has one salt however it is spelt, so a false one may have no more. */
	text_lower_all(low, t->name.len);
	*out = (struct login_scram){ 0 };
	if (!acc || !acc->scram_iterations || acc->scram_salt.len != SASL_SALT_BYTES) {
		slice secret = slice_of(l->secret, LOGIN_KEY_BYTES),
		      who = slice_of(low, t->name.len);

		scram_keys_false(&out->keys, secret, who,
			iterations_of(&atomic_load(&l->past)->iterations, secret, who,
				clock_wall()));
		return FAULT_NONE;
	}
	out->known = true;
	out->keys.iterations = acc->scram_iterations;
	memcpy(out->keys.salt, acc->scram_salt.ptr, SASL_SALT_BYTES);
	memcpy(out->keys.stored, acc->scram_stored, SASL_KEY_BYTES);
	memcpy(out->keys.server, acc->scram_server, SASL_KEY_BYTES);
	out->name = full_name(a, &name);
	return FAULT_NONE;
}

enum fault login_scram_end(struct login *l, struct worker *w, const struct login_try *t, bool right)
{
	if (!right)
		return failed(l, t);
	succeeded(l, t);
	return FAULT_NONE;
}

/* One of the names in a list separated by NUL. */
static bool list_has_name(slice list, slice name)
{
	slice head;

	while (slice_cut(&list, '\0', &head))
		if (slice_eq_nocase(head, name))
			return true;
	return false;
}

bool login_may_send_as(struct login *l, slice name, slice address)
{
	struct arena a = { 0 };
	struct login_name cut;
	enum err err;
	const struct account *acc = find(l, name, &a, &cut, &err);
	ptrdiff_t at = slice_rfind(address, '@');
	slice domain = at < 0 ? SLICE("") : slice_skip(address, (size_t)at + 1);
	bool may;

	/* Both spellings of a domain are one. What is no domain fits no account. */
	if (domain.len && idn_to_ascii(&a, domain, &domain))
		domain = SLICE("");
	may = acc &&
		(address.len == 0 || (acc->flags & ACCOUNT_FROM_ANY) ||
			slice_eq(domain, cut.domain) || list_has_name(acc->from_domains, domain));
	arena_done(&a);
	return may;
}

struct secrets_job {
	const struct auth_options *options;
	slice password;
	char hash[PASSWORD_HASH_MAX];
	struct scram_keys scram;
	bool want_scram, made;
};

static void make_secrets(void *arg)
{
	struct secrets_job *job = arg;

	job->made = password_hash((enum auth_hash)job->options->hash, job->password, job->hash);
	if (job->want_scram)
		scram_keys_derive(&job->scram, job->password);
}

enum err login_make_secrets(const struct auth_options *o, const struct domain *d, slice password,
	struct arena *a, struct account *row)
{
	struct secrets_job job = {
		.options = o, .password = password, .want_scram = !(d->flags & DOMAIN_NO_SCRAM)
	};

	if (password.len == 0 || password.len > PASSWORD_MAX || slice_find(password, '\0') >= 0)
		return ERR_INVALID;
	job.scram.iterations = (uint32_t)o->scram_iterations;
	entropy_fill(job.scram.salt, sizeof(job.scram.salt));
	job_run(make_secrets, &job);
	if (!job.made)
		return ERR_NOMEM;
	row->hash = arena_dup(a, slice_str(job.hash));
	row->scram_iterations = 0;
	if (job.want_scram) {
		row->scram_iterations = job.scram.iterations;
		row->scram_salt = arena_dup(a, slice_of(job.scram.salt, sizeof(job.scram.salt)));
		memcpy(row->scram_stored, job.scram.stored, SHA256_BYTES);
		memcpy(row->scram_server, job.scram.server, SHA256_BYTES);
	}
	crypt_wipe(&job, sizeof(job));
	return OK;
}
