/* SPDX-License-Identifier: GPL-2.0-or-later */
/* keys.h - every key and value layout of the index, and every index record of the journal.
 *
 * Keys are one letter of kind and big-endian fields, so byte order is the order wanted; names inside
 * a key end with NUL (no name may contain it). Values begin with a version byte. Making a key cannot fail: the
 * buffer is as large as any key. Reading back is false when the bytes are no such key or value:
 * damage, never trusted.
 *
 *   M name                                   meta: version, store id, shard, position
 *   S domain 0 lane tenant due id n    -> empty          the schedule, of what waits
 *   Q id n                             -> entry          id is where the body is: also the mover's list
 *   B low id n                         -> empty          entries whose body began before its record
 *   C domain                           -> waiting, held, bytes
 *   T                                  -> totals over all domains of the shard
 *   D domain                           -> domain
 *   A domain 0 local                   -> account
 *   O domain 0 local                   -> alias; an empty local part takes what is left
 *   K domain 0 selector 0 piece        -> signing key, in pieces
 *   G table 0 key                      -> setting
 *
 * Those of mailboxes stand in keys_mailbox.h: E F H I J L N P R U V W X Y Z. */
#ifndef STORE_KEYS_H
#define STORE_KEYS_H

#include "core/base/base.h"
#include "store/schedule.h"

enum { KEYS_MAX = 511, KEYS_PIECE = 1900 };

enum keys_kind {
	KEYS_META = 'M',
	KEYS_SCHEDULE = 'S',
	KEYS_ENTRY = 'Q',
	KEYS_EARLY = 'B',
	KEYS_COUNT = 'C',
	KEYS_TOTAL = 'T',
	KEYS_DOMAIN = 'D',
	KEYS_ACCOUNT = 'A',
	KEYS_ALIAS = 'O',
	KEYS_KEY = 'K',
	KEYS_SETTING = 'G',
	/* keys_mailbox.h */
	KEYS_USAGE = 'U',
	KEYS_DOMAIN_USAGE = 'V',
	KEYS_MAILBOX_NAME = 'L',
	KEYS_SUBSCRIBED = 'N',
	KEYS_MAILBOX = 'X',
	KEYS_KEYWORDS = 'W',
	KEYS_MESSAGE = 'I',
	KEYS_MARKED = 'J',
	KEYS_BODY = 'E',
	KEYS_REFERENCE = 'R',
	KEYS_REFERENCE_EARLY = 'F',
	KEYS_CHANGE_LOG = 'Y',
	KEYS_HOLE = 'P',
	KEYS_THREAD = 'H',
	KEYS_PURGE = 'Z',
};

struct keys_buf {
	size_t len;
	unsigned char bytes[KEYS_MAX + 1];
};
static inline slice keys_slice(const struct keys_buf *k)
{
	return slice_of(k->bytes, k->len);
}

/* --- Keys --- */
struct keys_due {
	slice domain; /* points into the key when parsed */
	uint8_t lane;
	uint32_t tenant;
	wall_ms due;
	uint64_t id;
	uint32_t n;
};
void keys_schedule(struct keys_buf *out, const struct keys_due *row);
bool keys_parse_schedule(slice key, struct keys_due *out) must_use;
/* Prefixes of the schedule: a domain; a domain and lane. */
void keys_schedule_domain(struct keys_buf *out, slice domain);
void keys_schedule_lane(struct keys_buf *out, slice domain, uint8_t lane);

void keys_entry(struct keys_buf *out, uint64_t id, uint32_t n);
bool keys_parse_entry(slice key, uint64_t *out_id, uint32_t *out_n) must_use;
struct keys_early_row {
	uint64_t low, id;
	uint32_t n;
};
void keys_early(struct keys_buf *out, const struct keys_early_row *row);
bool keys_parse_early(slice key, struct keys_early_row *out) must_use;

/* One letter and one name (M, C, D), or a bare letter with an empty one. */
void keys_name(struct keys_buf *out, enum keys_kind kind, slice name);
/* One letter, a name, NUL, and a second name (A, O, G); K adds NUL and the piece's number itself. */
struct keys_pair {
	enum keys_kind kind;
	slice first, second;
};
void keys_two(struct keys_buf *out, const struct keys_pair *pair);
/* What stands behind the letter up to NUL or the end, and what follows the NUL. */
bool keys_split(slice key, slice *out_first, slice *out_second);

/* --- Values --- */
/* A schedule entry without its id and n, which stand in the key; slices point into `value`. */
void keys_put_entry(struct out *o, const struct schedule_entry *entry);
bool keys_get_entry(slice value, struct schedule_entry *out) must_use;
struct keys_counts {
	uint64_t domains, waiting, held, bytes; /* domains: in the totals only */
};
void keys_put_counts(struct out *o, const struct keys_counts *counts);
bool keys_get_counts(slice value, struct keys_counts *out) must_use;

/* --- Journal payloads the index applies --- */
/* JOURNAL_PARK: id, n, entry. JOURNAL_DONE: id, n, domain. JOURNAL_STATE: id, n, hold, due. */
void keys_put_park(struct out *o, const struct schedule_entry *entry);
bool keys_get_park(slice payload, struct schedule_entry *out) must_use;
void keys_put_done(struct out *o, const struct schedule_done *end);
bool keys_get_done(slice payload, struct schedule_done *out) must_use;
void keys_put_change(struct out *o, const struct schedule_change *change);
bool keys_get_change(slice payload, struct schedule_change *out) must_use;

/* JOURNAL_ROW: what to do with rows of one key. */
enum keys_row_act {
	KEYS_ACT_PUT,           /* any, create, replace: the mode */
	KEYS_ACT_DELETE,        /* outcome ERR_NOT_FOUND when it is not there */
	KEYS_ACT_DELETE_DOMAIN, /* the domain row, its keys; with accounts or ERR_BUSY */
};
struct keys_row {
	slice key, value;  /* value may be longer than a row: then it is stored in pieces (K) */
	uint8_t act, mode; /* enum row_mode; for DELETE_DOMAIN 1: with accounts */
};
void keys_put_row(struct out *o, const struct keys_row *row);
bool keys_get_row(slice payload, struct keys_row *out) must_use;

#endif
