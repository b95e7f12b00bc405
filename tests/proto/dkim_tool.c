/* SPDX-License-Identifier: GPL-2.0-or-later */
/* dkim_tool.c - our DKIM as a filter, so that another implementation can be set against it.
 *
 *	dkim_tool generate rsa|ed25519 BITS	prints a private key, then its record
 *	dkim_tool sign DOMAIN RSA-KEY ED25519-KEY	message in, message with 8 signatures out
 *	dkim_tool verify RSA-RECORD ED25519-RECORD	message in, a result per signature out
 *
 * Signatures: selector "r" or "e" with each of the four canonical forms. Bodies pass in pieces. */
#include <wolfssl/options.h>
#include <wolfssl/wolfcrypt/random.h>
#undef MIN
#undef MAX

#include "proto/mailauth/dkim_sign.h"
#include "proto/mailauth/dkim_verify.h"
#include "proto/mime/header.h"
#include "tests/support/dkim_words.h"

#include <stdio.h>
#include <stdlib.h>

enum { MESSAGE_MAX = 1 << 22, PIECE = 97 };

static struct arena arena;
static WC_RNG rng;

static slice read_all(FILE *from)
{
	char *text = malloc(MESSAGE_MAX);

	must(text && from);
	return slice_of(text, fread(text, 1, MESSAGE_MAX, from));
}

static void split(slice message, slice *out_block, slice *out_body)
{
	struct header_end e = { 0 };

	if (header_end_feed(&e, message) == STEP_MORE)
		header_end_finish(&e);
	*out_block = slice_sub(message, 0, e.bytes);
	*out_body = slice_skip(message, e.bytes);
}

static struct sigkey *read_key(const char *path)
{
	FILE *f = fopen(path, "r");
	struct sigkey *key = NULL;
	slice text = read_all(f);

	must(sigkey_parse_private(text, &key) == OK);
	fclose(f);
	free((char *)(uintptr_t)text.ptr);
	return key;
}

static int generate(const char *type, unsigned bits)
{
	struct out o = out_arena(&arena);
	struct sigkey *key;

	must(sigkey_generate(strcmp(type, "rsa") ? SIGKEY_ED25519 : SIGKEY_RSA, bits, &rng, &key) ==
		OK);
	sigkey_put_private(key, &o);
	sigkey_put_record(key, &o);
	printf("%.*s\n", SLICE_ARG(out_written(&o)));
	sigkey_free(key);
	return 0;
}

static void hash_body(enum dkim_canon canon, slice body, unsigned char out[DKIM_HASH])
{
	struct dkim_body b;

	dkim_body_init(&b, canon);
	for (; body.len; body = slice_skip(body, PIECE))
		dkim_body_add(&b, slice_sub(body, 0, PIECE));
	dkim_body_end(&b, out);
}

static void sign_one(struct sigkey *key, int form, slice domain, slice message)
{
	enum dkim_canon canons[2] = { (enum dkim_canon)(form & 1), (enum dkim_canon)(form >> 1) };
	struct dkim_signer signer = { .domain = domain,
		.type = sigkey_type_of(key),
		.body_canon = canons[1],
		.signed_at = 1700000000 };
	unsigned char hash[DKIM_HASH], sig[SIGKEY_SIG_MAX];
	struct dkim_fields fields;
	struct dkim_selection selection;
	struct dkim_draft draft;
	struct out o = out_arena(&arena);
	slice block, body;
	size_t len;

	signer.selector = signer.type == SIGKEY_RSA ? SLICE("r") : SLICE("e");
	split(message, &block, &body);
	hash_body(canons[1], body, hash);
	must(dkim_fields_parse(SLICE(DKIM_FIELDS_DEFAULT), &arena, &fields) == OK);
	must(dkim_select(&fields, block, canons[0], &arena, &selection) == OK);
	dkim_sign_begin(&signer, &selection, hash, &arena, &draft);
	must(sigkey_sign(key, &rng, draft.digest, sig, &len) == OK);
	dkim_sign_finish(&draft, slice_of(sig, len), &o);
	fwrite(o.buf, 1, o.len, stdout);
}

static int sign(char **args, slice message)
{
	struct sigkey *keys[2] = { read_key(args[1]), read_key(args[2]) };

	for (int i = 0; i < 8; i++)
		sign_one(keys[i & 1], i >> 1, slice_str(args[0]), message);
	fwrite(message.ptr, 1, message.len, stdout);
	sigkey_free(keys[0]);
	sigkey_free(keys[1]);
	return 0;
}

static int verify(char **args, slice message)
{
	static struct dkim_verifier v;
	slice block, body;

	split(message, &block, &body);
	dkim_verify_init(&v, &arena);
	dkim_verify_header(&v, block, 1700000000);
	for (; body.len; body = slice_skip(body, PIECE))
		dkim_verify_body(&v, slice_sub(body, 0, PIECE));
	dkim_verify_body_end(&v);
	for (size_t i = 0; i < v.count; i++) {
		bool rsa = slice_eq(v.checks[i].sig.selector, SLICE("r"));

		dkim_verify_key(&v, i, OK, slice_str(args[rsa ? 0 : 1]));
		printf("%s %s\n", dkim_word(v.checks[i].result),
			v.checks[i].why ? v.checks[i].why : "");
	}
	return 0;
}

int main(int argc, char **argv)
{
	int status = 2;

#ifdef WC_RNG_SEED_CB
	wc_SetSeed_Cb(wc_GenerateSeed);
#endif
	must(wc_InitRng(&rng) == 0);
	if (argc == 4 && strcmp(argv[1], "generate") == 0) {
		status = generate(argv[2], (unsigned)strtoul(argv[3], NULL, 10));
	} else if (argc >= 4) {
		slice message = read_all(stdin);

		if (strcmp(argv[1], "sign") == 0 && argc == 5)
			status = sign(argv + 2, message);
		else if (strcmp(argv[1], "verify") == 0 && argc == 4)
			status = verify(argv + 2, message);
		free((char *)(uintptr_t)message.ptr);
	}
	wc_FreeRng(&rng);
	arena_done(&arena);
	return status;
}
