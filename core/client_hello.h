/* SPDX-License-Identifier: GPL-2.0-or-later */
/* client_hello.h - what a TLS client asks for, before a certificate is chosen.
 *
 * Reads the first ClientHello out of the records it came in (a handshake message may be cut
 * over several records, and a record over many reads). A pure function of the bytes; nothing
 * is kept. RFC 8446 4.1.2 and 5.1, RFC 6066 3, RFC 7301 3.1. */
#ifndef CORE_CLIENT_HELLO_H
#define CORE_CLIENT_HELLO_H

#include "core/base/base.h"

enum {
	CLIENT_HELLO_MAX = 16 * 1024, /* of records; a larger one is STEP_TOO_LONG */
	CLIENT_HELLO_ALPN_MAX = 16,   /* further protocol names are ignored */
};

/* Slices point into `buf` of client_hello_parse. */
struct client_hello {
	slice sni; /* host name as sent, never an address or with NUL; empty when absent */
	slice alpn[CLIENT_HELLO_ALPN_MAX];
	size_t alpn_count;
	uint16_t legacy_version;
	bool tls12, tls13; /* versions offered */
	bool ecdsa_p256; /* an ECDSA P-256 certificate can be used: scheme, curve and (1.2) suite offered */
	bool rsa_pss, rsa_pkcs1; /* signature schemes with SHA-256 */
	bool ed25519;
	bool ticket; /* a pre-shared key or a non-empty session ticket is offered */
};

/* `in` is everything received so far, starting with the record header; `buf` takes the
 * reassembled message (CLIENT_HELLO_MAX bytes). STEP_MORE: a proper prefix so far. STEP_BAD:
 * no ClientHello, or one that breaks its own lengths. `out` is written on STEP_DONE only. */
enum step client_hello_parse(slice in, void *buf, struct client_hello *out) must_use;

#endif
