/* SPDX-License-Identifier: GPL-2.0-or-later */
/* proxy.h - the PROXY protocol header, versions 1 and 2 (receiving side).
 *
 * A pure parser over the first bytes of a connection; nothing is kept. Whether the peer may
 * send one is the listener's business. Strict: any length, family or digit that the protocol's
 * text does not allow is STEP_BAD, and there is nothing to salvage behind it. */
#ifndef CORE_PROXY_H
#define CORE_PROXY_H

#include "core/addr.h"

enum {
	PROXY_V1_MAX = 107,       /* "PROXY ... CRLF" */
	PROXY_V2_MAX = 16 + 2048, /* we take at most this many bytes of addresses and TLVs */
};

struct proxy_header {
	/* LOCAL or UNKNOWN: the connection's own addresses count. */
	bool local;
	/* ADDR_IP4, ADDR_IP6; ADDR_UNIX without path; ADDR_NONE when local. */
	struct addr source, dest;
	bool tls;        /* the client spoke TLS to the proxy (v2, TLV SSL) */
	slice authority; /* v2, TLV AUTHORITY (the name the client asked for), inside the input */
};

/* `in` is everything received so far. STEP_DONE: *out_consumed bytes were the header.
 * STEP_MORE: a proper prefix. STEP_BAD, STEP_TOO_LONG: not a header; close. */
enum step proxy_parse(slice in, struct proxy_header *out, size_t *out_consumed) must_use;

#endif
