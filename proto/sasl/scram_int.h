/* SPDX-License-Identifier: GPL-2.0-or-later */
/* scram_int.h - what both sides of SCRAM share (RFC 5802). For proto/sasl only.
 *
 * Messages are attributes "x=value" with commas between. Slices point into the message or the arena. */
#ifndef PROTO_SASL_SCRAM_INT_H
#define PROTO_SASL_SCRAM_INT_H

#include "proto/sasl/sasl.h"

/* Cut "x=value" off the front, with the comma behind it; false when another attribute stands there. */
bool scram_take(slice *msg, char name, slice *out) must_use;
/* "=2C" and "=3D" for comma and equals sign. */
bool scram_get_name(struct arena *a, slice in, slice *out) must_use;
void scram_put_name(struct out *o, slice name);
/* The whole string as base64 of exactly `len` bytes. */
bool scram_get_bytes(slice in, void *buf, size_t len) must_use;
/* UTF-8 without control bytes, 1 to 512 long. */
bool sasl_name_ok(slice name);
/* Printable and without comma. */
bool scram_nonce_ok(slice nonce);
/* base64 of the GS2 header and the channel binding data: the value of c=. */
slice scram_binding(struct arena *a, slice gs2, slice binding);

/* HMAC(StoredKey, AuthMessage) XOR what is given: proof to key, and key to proof. */
void scram_xor_signature(const unsigned char stored[SASL_KEY_BYTES], slice auth_message,
	unsigned char bytes[SASL_KEY_BYTES]);

static inline void scram_wipe(slice secret, void (*wipe)(void *, size_t))
{
	if (secret.len)
		wipe((void *)(uintptr_t)secret.ptr, secret.len);
}

#endif
