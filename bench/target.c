/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Address, TLS and login of the server, from options that were only strings. */
#include "bench/target.h"

#include "core/tls.h"

#include <stdio.h>

static bool set_tls(struct talk_target *t, const char *how)
{
	static const char *const words[] = { "none", "starttls", "implicit" };

	for (size_t i = 0; i < array_len(words); i++)
		if (!how || slice_eq(slice_str(how), slice_str(words[i]))) {
			t->tls = (enum talk_tls)i;
			return true;
		}
	return args_wrong("tls", how, "none, starttls or implicit");
}

static bool set_login(struct talk_target *t, const char *auth)
{
	t->password = slice_str(auth);
	if (!auth)
		return true;
	if (!slice_cut(&t->password, ':', &t->user) || !t->user.len || !t->password.len)
		return args_wrong("auth", auth, "USER:PASSWORD");
	return true;
}

static bool make_client(struct talk_target *t, const struct tls_options *options)
{
	struct out why = out_heap(4096);
	bool good = tls_start() == OK && tls_client_new(options, &why, &t->client) == OK;

	if (!good)
		fprintf(stderr, "TLS: %.*s\n", SLICE_ARG(out_written(&why)));
	out_heap_done(&why);
	return good;
}

bool target_set(struct talk_target *t, const struct target_args *args,
	const struct tls_options *options, struct arena *a)
{
	if (!addr_parse(a, slice_str(args->target), &t->addr) ||
		(t->addr.kind != ADDR_UNIX && !t->addr.port))
		return args_wrong("target", args->target, "ADDR:PORT or unix:/path");
	t->host = args->host ? args->host : "localhost";
	return set_tls(t, args->tls) && set_login(t, args->auth) && make_client(t, options);
}

void target_done(struct talk_target *t)
{
	tls_client_put(t->client);
}
