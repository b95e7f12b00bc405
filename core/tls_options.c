/* SPDX-License-Identifier: GPL-2.0-or-later */
/* tls_options.c - the `tls` part of the file, for both ends. */
#include "core/tls.h"

static const struct conf_row cert_rows[] = {
	{ "cert", CONF_PATH, offsetof(struct tls_cert_options, cert), CONF_REQUIRED | CONF_RELOAD,
		.doc = "PEM file: the certificate, then the chain up to the root" },
	{ "key", CONF_PATH, offsetof(struct tls_cert_options, key), CONF_REQUIRED | CONF_RELOAD,
		.doc = "PEM file: its private key, not encrypted; `credential:NAME` is one that "
		       "systemd hands over" },
};
static const struct conf_table cert_table = { CONF_TABLE(cert_rows, struct tls_cert_options) };

static const char *const min_words[] = { "1.2", "1.3", NULL };

static const struct conf_row tls_rows[] = {
	{ "tls.certificates", CONF_STRUCTS, offsetof(struct tls_options, certificates), CONF_RELOAD,
		.max = 100000, .sub = &cert_table,
		.doc = "Certificates, chosen by the name a client asks for; the first is the "
		       "default. "
		       "An RSA and an ECDSA one for the same name may stand side by side" },
	{ "tls.min_version", CONF_ENUM, offsetof(struct tls_options, min_version), CONF_RELOAD,
		.def = "1.2", .words = min_words, .doc = "Oldest TLS version taken, both sides" },
	{ "tls.ticket_lifetime", CONF_DURATION, offsetof(struct tls_options, ticket_lifetime_ms),
		CONF_RELOAD, .def = "12h", .min = 60000, .max = 604800000,
		.doc = "How long a client may resume a session; ticket keys rotate twice in that "
		       "time" },
	{ "tls.client_sessions", CONF_INT, offsetof(struct tls_options, client_sessions),
		CONF_RELOAD, .def = "1000", .max = 100000,
		.doc = "Sessions with other servers kept for resumption, per worker" },
	{ "tls.ca_file", CONF_PATH, offsetof(struct tls_options, ca_file), CONF_RELOAD,
		.doc = "Authorities trusted where certificates are verified; absent: the "
		       "system's" },
};
const struct conf_table tls_options_table = { CONF_TABLE(tls_rows, struct tls_options) };
