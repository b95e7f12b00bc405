/* SPDX-License-Identifier: GPL-2.0-or-later */
/* sign.h - DKIM signatures for what leaves us.
 *
 * Keys live in the store, one row per domain and selector; here they stand parsed, in one immutable
 * key ring shared by all workers and replaced as a whole when the rows change. Only submitted
 * mail and our own DSNs are signed; d= is the From: domain or its closest parent with a
 * key, and every selector of that domain signs (rsa-sha256 and ed25519-sha256 side by side).
 * Signing runs on the delivering worker at delivery time, on a fiber, after all conversion. */
#ifndef RELAY_SIGN_H
#define RELAY_SIGN_H

#include "relay/envelope.h"

struct worker;
struct blob_reader;

struct sign_options {
	bool enabled;     /* relay.dkim.sign */
	slice fields;     /* relay.dkim.fields, see DKIM_FIELDS_DEFAULT */
	int header_canon; /* relay.dkim.header, relay.dkim.body: enum dkim_canon */
	int body_canon;
	int64_t expire_ms; /* relay.dkim.expire: x= behind t=; 0: none */
};

/* Read all keys again, off the workers; later signatures use them. Safe to call at any time, on any
 * worker; done by relay_start, relay_reload and after every `dkim` command. */
void sign_keys_changed(struct worker *w);

/* Whether this kind of message is signed at all. */
bool sign_applies(const struct envelope *e);

#endif
