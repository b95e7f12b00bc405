/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Logins: the first byte chooses mechanism and side, lines are the messages. Nobody who does not know
 * the keys gets in, names are well-formed, and the machines always come to an end. */
#include "core/base/text.h"
#include "proto/sasl/sasl.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const enum sasl_mech mechs[] = { SASL_PLAIN, SASL_LOGIN, SASL_SCRAM_SHA_256,
	SASL_SCRAM_SHA_256_PLUS };
static const char binding[32];

static void check_server(struct arena *a, enum sasl_mech mech, slice in)
{
	struct sasl_server_conf conf = {
		.mech = mech,
		.binding = slice_of(binding, sizeof(binding)),
		.nonce = SLICE("0123456789abcdefgh"),
	};
	struct scram_keys keys = { .iterations = 4096 };
	struct sasl_server s;
	slice line, challenge;

	sasl_server_start(&s, a, &conf);
	while (slice_cut(&in, '\n', &line)) {
		enum sasl_step step = sasl_server_feed(&s, line, &challenge);

		if (step == SASL_NEED_KEYS) {
			scram_keys_false(&keys, SLICE("secret"), s.user, 4096);
			step = sasl_server_keys(&s, &keys, &challenge);
		}
		if (step == SASL_CHECK) {
			must(s.user.len && s.password.len && text_is_utf8(s.user));
			step = sasl_server_checked(&s, false);
		}
		must(step != SASL_OK);
		if (step != SASL_MORE)
			must(sasl_server_feed(&s, line, &challenge) == SASL_BAD);
	}
	sasl_server_end(&s);
}

static void check_client(struct arena *a, enum sasl_mech mech, slice in)
{
	struct sasl_client_conf conf = {
		.user = SLICE("user"),
		.password = SLICE("pencil"),
		.nonce = SLICE("0123456789abcdefgh"),
		.binding = slice_of(binding, sizeof(binding)),
		.iterations_max = 4096,
	};
	struct sasl_client c;
	slice line, response;

	sasl_client_start(&c, a, &conf, mech, SASL_ALL);
	while (slice_cut(&in, '\n', &line))
		if (sasl_client_feed(&c, line, &response) != SASL_MORE)
			must(!sasl_client_done(&c));
	if (mech >= SASL_SCRAM_SHA_256)
		must(!sasl_client_done(&c));
	sasl_client_end(&c);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct arena a = { 0 };
	slice in = slice_of(data, size), decoded;

	if (!size)
		return 0;
	in = slice_skip(in, 1);
	if (data[0] & 4)
		check_client(&a, mechs[data[0] & 3], in);
	else
		check_server(&a, mechs[data[0] & 3], in);
	if (sasl_wire_get(&a, in, &decoded)) {
		struct out o = out_arena(&a);

		sasl_wire_put(&o, decoded);
		must(slice_eq(out_written(&o), in) || slice_eq(in, SLICE("=")));
	}
	arena_done(&a);
	return 0;
}
