/* SPDX-License-Identifier: GPL-2.0-or-later */
/* local.c - walks from an address to everybody who gets its mail.
 *
 * Every address is walked once a plan and remembered with what it came to, so circles end by
 * themselves and the second way to an account adds nothing. The order of names: account, alias,
 * user+folder, rewritten senders, postmaster, and last the alias that takes all. */
#include "relay/local.h"

#include "core/base/map.h"
#include "core/base/text.h"
#include "core/entropy.h"
#include "proto/smtp/address.h"
#include "proto/smtp/idn.h"
#include "relay/envelope.h"
#include "relay/route.h"
#include "relay/srs.h"
#include "store/account.h"
#include "store/message.h"

enum { SEEN_FIRST = 16, ROWS_FIRST = 4, SRS_BYTES = 512 };

/* What walking one address came to. */
struct walked {
	uint32_t reached; /* accounts and addresses */
	uint32_t open;    /* of them not over quota */
	enum err err;     /* the first; of those that led nowhere */
};

struct local_seen {
	struct local_seen *next;
	uint64_t hash;
	slice address;
	struct walked walked;
	bool busy; /* being walked: whoever comes here again came in a circle */
	bool own;
};

/* --- Addresses walked ------------------------------------------------------------------------------ */

/* The secret of the forwarded senders keeps others from choosing collisions. */
static uint64_t hash_of(const struct local *l, slice address)
{
	struct map_seed seed = { 0 };

	if (l->secret.len >= sizeof(seed))
		memcpy(&seed, l->secret.ptr, sizeof(seed));
	return map_hash(&seed, address);
}

static struct local_seen *find_seen(const struct local *l, slice address, uint64_t hash)
{
	struct local_seen *s = l->seen_cap ? l->seen[hash & (l->seen_cap - 1)] : NULL;

	for (; s; s = s->next)
		if (s->hash == hash && slice_eq(s->address, address))
			return s;
	return NULL;
}

static void link_seen(struct local *l, struct local_seen *s)
{
	struct local_seen **bucket = &l->seen[s->hash & (l->seen_cap - 1)];

	s->next = *bucket;
	*bucket = s;
}

static void grow_seen(struct local *l)
{
	struct local_seen **old = l->seen, *next;
	size_t old_cap = l->seen_cap;

	l->seen_cap = old_cap ? old_cap * 2 : SEEN_FIRST;
	l->seen = arena_array(l->arena, struct local_seen *, l->seen_cap);
	for (size_t i = 0; i < old_cap; i++)
		for (struct local_seen *s = old[i]; s; s = next) {
			next = s->next;
			link_seen(l, s);
		}
}

static struct local_seen *add_seen(struct local *l, slice address, uint64_t hash)
{
	struct local_seen *s = arena_new(l->arena, struct local_seen);

	if (l->seen_count == l->seen_cap)
		grow_seen(l);
	s->hash = hash;
	s->address = address;
	link_seen(l, s);
	l->seen_count++;
	return s;
}

bool local_passed(const struct local *l, slice address)
{
	const struct local_seen *s = find_seen(l, address, hash_of(l, address));

	return s && s->own;
}

/* --- The plan --------------------------------------------------------------------------------------- */

/* A row more of an array in the arena. */
static void *more_room(struct local *l, const void *rows, size_t *cap, size_t row_bytes)
{
	size_t new_cap = *cap ? *cap * 2 : ROWS_FIRST;
	char *fresh = arena_calloc(l->arena, new_cap, row_bytes);

	if (*cap)
		memcpy(fresh, rows, *cap * row_bytes);
	*cap = new_cap;
	return fresh;
}

static bool is_full(const struct local *l)
{
	return l->target_count + l->remote_count >= (size_t)l->options->targets_max;
}

static struct walked add_remote(struct local *l, slice address, bool forwarded)
{
	if (is_full(l))
		return (struct walked){ .err = ERR_LIMIT };
	if (l->remote_count == l->remote_cap)
		l->remotes = more_room(l, l->remotes, &l->remote_cap, sizeof(*l->remotes));
	l->remotes[l->remote_count++] = (struct local_remote){
		.address = address, .rcpt = l->rcpt, .forwarded = forwarded
	};
	return (struct walked){ .reached = 1, .open = 1 };
}

static enum err look_at_usage(struct local *l, const struct account *acc, struct local_target *t)
{
	struct local_room room = { .store = l->store, .options = l->options, .account = acc };
	enum err err = local_has_room(&room);

	t->bare = room.usage.mailboxes == 0;
	t->full = err == ERR_QUOTA;
	return err == ERR_QUOTA ? OK : err;
}

/* Who got room is known; somebody who was not asked for it came into an alias just now. */
static enum err look_at_taken(const struct local *l, struct local_target *t)
{
	for (size_t i = 0; i < l->taken->target_count; i++) {
		const struct local_target *asked = &l->taken->targets[i];

		if (asked->account != t->account)
			continue;
		t->bare = asked->bare;
		t->full = asked->full;
		return OK;
	}
	return ERR_BUSY;
}

static struct walked add_account(struct local *l, const struct account *acc, slice folder)
{
	enum err err = OK;
	const struct domain *d = domain_find(l->store, acc->domain, &err);
	struct local_target t = { .account = acc->id, .folder = folder, .rcpt = l->rcpt };

	if (!d)
		return (struct walked){ .err = err ? err : ERR_NOT_FOUND };
	if (is_full(l) || l->target_count == MESSAGE_TARGETS_MAX)
		return (struct walked){ .err = ERR_LIMIT };
	t.limit = local_quota_of(l->options, acc, d);
	t.domain_limit = (struct room_sum){ d->quota_bytes, d->quota_messages };
	t.domain = arena_dup(l->arena, acc->domain);
	t.address =
		arena_printf(l->arena, "%.*s@%.*s", SLICE_ARG(acc->local), SLICE_ARG(acc->domain));
	if (l->taken)
		err = look_at_taken(l, &t);
	else if (l->usage)
		err = look_at_usage(l, acc, &t);
	if (err)
		return (struct walked){ .err = err };
	if (l->target_count == l->target_cap)
		l->targets = more_room(l, l->targets, &l->target_cap, sizeof(*l->targets));
	l->targets[l->target_count++] = t;
	return (struct walked){ .reached = 1, .open = !t.full };
}

/* --- Walking ------------------------------------------------------------------------------------------ */

static struct walked walk(struct local *l, slice address, unsigned depth);

static void join(struct walked *all, struct walked one)
{
	all->reached += one.reached;
	all->open += one.open;
	if (!all->err)
		all->err = one.err;
}

/* `targets` is separated by NUL, and lives in a cache that the next look-up may change. */
static struct walked walk_all(struct local *l, slice targets, slice from, unsigned depth)
{
	struct walked all = { 0 };
	slice rest = arena_dup(l->arena, targets), one;

	if (depth >= (unsigned)l->options->depth_max)
		return (struct walked){ .err = ERR_LIMIT };
	while (slice_cut(&rest, '\0', &one)) {
		size_t before = l->remote_count;

		join(&all, walk(l, one, depth + 1));
		if (!l->forwarder.len && l->remote_count > before)
			l->forwarder = from;
	}
	return all;
}

/* The address that is walked, split and in its stored spelling. */
struct name {
	slice address, local, domain;
	slice given; /* the local part as it came */
};

static struct walked walk_account(struct local *l, const struct name *name,
	const struct account *acc, slice folder, unsigned depth)
{
	slice forward = acc->forward;
	bool keep = !forward.len || !(acc->flags & ACCOUNT_FORWARD_ONLY);
	struct walked all = { 0 };

	if (acc->flags & ACCOUNT_DISABLED)
		return (struct walked){ .err = ERR_DENIED };
	if (forward.len)
		forward = arena_dup(l->arena, forward);
	if (keep)
		all = add_account(l, acc, folder);
	if (forward.len)
		join(&all, walk_all(l, forward, name->address, depth));
	return all;
}

/* One exact name. False: there is no such name. */
static bool walk_name(struct local *l, const struct name *name, slice folder, unsigned depth,
	struct walked *out)
{
	enum err err = OK;
	const struct account *acc = account_find(l->store, name->local, name->domain, &err);
	const struct alias *alias;

	if (acc) {
		*out = walk_account(l, name, acc, folder, depth);
		return true;
	}
	if (!err) {
		alias = alias_find(l->store, name->local, name->domain, &err);
		if (alias) {
			*out = walk_all(l, alias->targets, name->address, depth);
			return true;
		}
	}
	*out = (struct walked){ .err = err };
	return err != OK;
}

/* What the local part means: quotes are a spelling, and names are kept without those they do not need
 * (RFC 5321 4.1.2). */
static slice unquoted(struct local *l, const struct name *name)
{
	slice text = arena_printf(l->arena, "%.*s@x", SLICE_ARG(name->given));
	struct mail_addr addr;

	return mail_addr_parse(l->arena, text, &addr) ? addr.local : name->given;
}

/* The address of the user in user+folder. */
static struct name user_of(struct local *l, const struct name *name, slice user)
{
	struct mail_addr addr = { .local = arena_dup(l->arena, user), .domain = name->domain };
	struct name out = { .domain = name->domain };
	struct out text = out_arena(l->arena);

	text_lower_all((char *)(uintptr_t)addr.local.ptr, addr.local.len);
	mail_addr_put(&text, &addr);
	out.address = out_written(&text);
	out.given = out.local = slice_sub(out.address, 0, (size_t)slice_rfind(out.address, '@'));
	return out;
}

/* user+folder: as if it were user's address, which may be in the plan already. */
static bool walk_folder(struct local *l, const struct name *name, unsigned depth,
	struct walked *out)
{
	slice local = unquoted(l, name), folder;
	ptrdiff_t at =
		l->options->separator.len ? slice_find(local, l->options->separator.ptr[0]) : -1;
	struct local_seen *s;
	struct name user;
	uint64_t hash;

	if (at <= 0)
		return false;
	user = user_of(l, name, slice_sub(local, 0, (size_t)at));
	hash = hash_of(l, user.address);
	s = find_seen(l, user.address, hash);
	if (s) {
		*out = s->walked;
		return true;
	}
	/* Names of mailboxes have a case. */
	folder = arena_dup(l->arena, slice_skip(local, (size_t)at + 1));
	if (!walk_name(l, &user, folder, depth, out))
		return false;
	s = add_seen(l, user.address, hash);
	s->walked = *out;
	s->own = true;
	return true;
}

static bool walk_srs(struct local *l, const struct name *name, struct walked *out)
{
	struct srs srs = {
		.secret = l->secret, .now = l->now, .expire_ms = l->options->srs_expire_ms
	};
	char buf[SRS_BYTES];
	struct out o = out_fixed(buf, sizeof(buf));
	enum err err;

	if (!srs_is(name->local) || !l->secret.len)
		return false;
	err = srs_reverse(&srs, name->given, &o);
	if (err == ERR_AUTH || !out_ok(&o))
		return false;
	*out = err ? (struct walked){ .err = err } :
		     add_remote(l, arena_dup(l->arena, out_written(&o)), true);
	if (!err && !l->forwarder.len)
		l->forwarder = name->address;
	return true;
}

static bool walk_rest(struct local *l, const struct name *name, unsigned depth, struct walked *out)
{
	enum err err = OK;
	const struct alias *all = alias_find(l->store, SLICE(""), name->domain, &err);
	bool postmaster = slice_eq(name->local, SLICE("postmaster")) && l->options->postmaster.len;

	if (err)
		*out = (struct walked){ .err = err };
	else if (postmaster)
		*out = walk_all(l, l->options->postmaster, name->address, depth);
	else if (all)
		*out = walk_all(l, all->targets, name->address, depth);
	return err || postmaster || all;
}

static struct walked walk_own(struct local *l, const struct name *name, unsigned depth)
{
	struct walked out = { 0 };

	if (walk_name(l, name, SLICE(""), depth, &out) || walk_folder(l, name, depth, &out) ||
		walk_srs(l, name, &out) || walk_rest(l, name, depth, &out))
		return out;
	return (struct walked){ .err = ERR_NOT_FOUND };
}

/* Is mail for this domain (any spelling, lower case) kept here? *err: the directory could not be read. */
static bool is_own(struct local *l, slice domain, enum err *err)
{
	const struct domain *d;
	slice ascii;

	*err = OK;
	if (!domain.len || domain.ptr[0] == '[' || idn_to_ascii(l->arena, domain, &ascii))
		return false;
	if (route_exact(l->routes, ascii))
		return false;
	d = domain_find(l->store, ascii, err);
	return d && !(d->flags & DOMAIN_DISABLED);
}

/* The recursion ends with the option's depth. */
static struct walked walk(struct local *l, slice address, unsigned depth)
{
	struct name name = { .domain = envelope_domain(address) };
	slice lower = arena_dup(l->arena, address);
	enum err err = OK;
	bool own = is_own(l, name.domain, &err);
	struct local_seen *s;
	uint64_t hash;

	if (err)
		return (struct walked){ .err = err };
	if (own) { /* accounts are lower case; elsewhere the case of a local part may matter */
		text_lower_all((char *)(uintptr_t)lower.ptr, lower.len);
		if (idn_to_ascii(l->arena, name.domain, &name.domain))
			return (struct walked){ .err = ERR_NOT_FOUND };
		name.local = slice_sub(lower, 0, (size_t)slice_rfind(lower, '@'));
		name.given = slice_sub(address, 0, name.local.len);
		name.address = lower;
		if (!text_is_ascii(envelope_domain(address)))
			name.address = arena_printf(l->arena, "%.*s@%.*s", SLICE_ARG(name.local),
				SLICE_ARG(name.domain));
	} else {
		name.address = lower;
	}
	hash = hash_of(l, name.address);
	s = find_seen(l, name.address, hash);
	if (s)
		return s->busy ? (struct walked){ 0 } : s->walked;
	s = add_seen(l, name.address, hash);
	s->busy = true;
	s->own = own;
	s->walked = own ? walk_own(l, &name, depth) : add_remote(l, lower, depth > 0);
	s->busy = false;
	return s->walked;
}

enum err local_add(struct local *l, slice address, uint32_t rcpt)
{
	struct walked w;

	l->rcpt = rcpt;
	w = walk(l, address, 0);
	if (w.reached == 0)
		return w.err ? w.err : ERR_LIMIT;
	return w.open ? OK : ERR_QUOTA;
}

/* --- Senders ------------------------------------------------------------------------------------------- */

enum err local_read_secret(struct store *st, unsigned char out[LOCAL_SECRET])
{
	struct setting row = { .table = SLICE("srs"), .key = SLICE("secret") };
	unsigned char fresh[LOCAL_SECRET];
	struct arena a = { 0 };
	slice value;
	enum err err = setting_get(st, &row, &a, &value);

	if (err == ERR_NOT_FOUND) {
		entropy_fill(fresh, sizeof(fresh));
		row.value = slice_of(fresh, sizeof(fresh));
		err = setting_put(st, &row, ROW_CREATE);
		if (!err || err == ERR_EXISTS) /* another worker was faster */
			err = setting_get(st, &row, &a, &value);
	}
	if (!err && value.len != LOCAL_SECRET)
		err = ERR_CORRUPT;
	if (!err)
		memcpy(out, value.ptr, LOCAL_SECRET);
	arena_done(&a);
	return err;
}

slice local_sender(struct local *l, slice sender)
{
	struct srs srs = {
		.secret = l->secret, .now = l->now, .expire_ms = l->options->srs_expire_ms
	};
	struct out o = out_arena(l->arena);
	enum err err;

	if (!sender.len || !l->forwarder.len || !l->options->srs || !l->secret.len)
		return sender;
	if (is_own(l, envelope_domain(sender), &err) || err)
		return sender;
	if (srs_forward(&srs, sender, envelope_domain(l->forwarder), &o))
		return sender;
	return out_written(&o);
}
