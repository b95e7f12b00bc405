/* SPDX-License-Identifier: GPL-2.0-or-later */
/* fuzz_dkim_header.c - signature fields and key records: slices stay inside, verdicts have reasons, and
 * a whole header block of anything goes through the verifier. */
#include "proto/mailauth/dkim_verify.h"
#include "tests/support/feed.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len);

static void parse_both(slice in, struct arena *a)
{
	struct dkim_signature sig;
	struct dkim_key key;
	const char *why;

	if (dkim_signature_parse(in, a, &sig, &why) == OK) {
		must(why == NULL && sig.body_hash.len == DKIM_HASH && sig.sig.len > 0);
		must(feed_inside(sig.domain, in) && feed_inside(sig.selector, in));
		must(feed_inside(sig.header_list, in) && feed_inside(sig.identity, in));
	} else {
		must(why != NULL);
	}
	must(feed_inside(sig.b_raw, in));
	must((dkim_key_parse(in, a, &key, &why) == OK) == (why == NULL));
}

static void verify(slice in, struct arena *a)
{
	static struct dkim_verifier v;
	struct out o = out_arena(a);

	out_str(&o,
		"DKIM-Signature: v=1; a=rsa-sha256; d=a.b; s=c; h=from:from:x; b=QUJD;"
		" bh=47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=; c=relaxed/relaxed\r\n"
		"DKIM-Signature: ");
	out_slice(&o, in);
	dkim_verify_init(&v, a);
	dkim_verify_header(&v, out_written(&o), 1);
	dkim_verify_body(&v, in);
	dkim_verify_body_end(&v);
	for (size_t i = 0; i < v.count; i++) {
		enum dkim_result result = dkim_verify_key(&v, i, OK, in);

		must(result != DKIM_PENDING && (v.checks[i].why == NULL) == (result == DKIM_PASS));
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len)
{
	struct arena a = { 0 };

	parse_both(slice_of(bytes, len), &a);
	verify(slice_of(bytes, len), &a);
	arena_done(&a);
	return 0;
}
