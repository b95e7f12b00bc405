/* SPDX-License-Identifier: GPL-2.0-or-later */
/* certs.h - throw-away keys and certificates, made by the openssl command, and a server made of
 * them.
 *
 * Everything lies in one folder per test process: <name>.pem and <name>.key. */
#ifndef TESTS_CORE_CERTS_H
#define TESTS_CORE_CERTS_H

#include "core/tls.h"
#include "tests/support/tmpdir.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>

static struct tmpdir certs_dir;

/* A shell command whose failure ends the test. */
static inline void certs_run(const char *command)
{
	cr_assert_eq(system(command), 0, "%s", command);
}

/* `kind`: "rsa:2048" or "ec -pkeyopt ec_paramgen_curve:P-256"; `names`:
 * "DNS:a.test,DNS:*.b.test". */
static inline void certs_make(const char *name, const char *kind, const char *names)
{
	char command[1024];

	if (!certs_dir.path[0])
		tmpdir_make(&certs_dir);
	snprintf(command, sizeof(command),
		"openssl req -x509 -newkey %s -nodes -days 30 -subj /CN=test -addext "
		"subjectAltName=%s -keyout %s/%s.key -out %s/%s.pem 2>/dev/null",
		kind, names, certs_dir.path, name, certs_dir.path, name);
	certs_run(command);
}

static inline void certs_done(void)
{
	tmpdir_remove(&certs_dir);
}

static inline slice certs_path(const char *name, const char *suffix)
{
	static char paths[16][512];
	static unsigned next;
	char *path = paths[next++ % 16];

	snprintf(path, sizeof(paths[0]), "%s/%s.%s", certs_dir.path, name, suffix);
	return slice_str(path);
}

enum { CERTS_MAX = 4 };

struct certs_set {
	struct tls_cert_options items[CERTS_MAX];
	struct tls_options options;
};

/* Options naming these certificates, NULL at the end. */
static inline void certs_options(struct certs_set *set, const char *const *names)
{
	*set = (struct certs_set){ 0 };
	size_t n = 0;

	for (; names[n]; n++)
		set->items[n] = (struct tls_cert_options){ certs_path(names[n], "pem"),
			certs_path(names[n], "key") };
	set->options.certificates = (struct conf_list){ set->items, n };
	set->options.ticket_lifetime_ms = 3600000;
	set->options.client_sessions = 100;
}

#endif
