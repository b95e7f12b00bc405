/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The server side: the exchange of RFC 7677 3, a bound one, GS2 rules, PLAIN and LOGIN. */
#include "core/base/codec.h"
#include "proto/sasl/sasl.h"

#include <criterion/criterion.h>

#define C_NONCE "rOprNGfwEbeRWgbNEkqO"
#define S_NONCE "%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0"
#define SERVER_FIRST "r=" C_NONCE S_NONCE ",s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096"
#define FINAL_7677 "c=biws,r=" C_NONCE S_NONCE ",p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ="

static struct arena arena;
static unsigned char binding[32];

static struct scram_keys keys_of(const char *password)
{
	struct scram_keys keys = { .iterations = 4096 };
	unsigned char salt[32];
	size_t len;

	cr_assert(codec_get_base64(SLICE("W22ZaJ0SNY7soEsUEjb6gQ=="), salt, &len) && len == 16);
	memcpy(keys.salt, salt, 16);
	scram_keys_derive(&keys, slice_str(password));
	return keys;
}

static struct sasl_server_conf conf_of(enum sasl_mech mech)
{
	for (size_t i = 0; i < sizeof(binding); i++)
		binding[i] = (unsigned char)i;
	return (struct sasl_server_conf){
		.mech = mech,
		.nonce = SLICE(S_NONCE),
		.binding = mech == SASL_SCRAM_SHA_256_PLUS ? slice_of(binding, 32) : (slice){ 0 },
	};
}

/* First and last message of the client against the keys of "pencil". */
static enum sasl_step exchange(struct sasl_server *s, const char *first, const char *final,
	slice *challenge)
{
	struct scram_keys keys = keys_of("pencil");
	enum sasl_step step = sasl_server_feed(s, slice_str(first), challenge);

	if (step != SASL_NEED_KEYS)
		return step;
	cr_assert_eq(sasl_server_keys(s, &keys, challenge), SASL_MORE);
	cr_assert(slice_eq(*challenge, SLICE(SERVER_FIRST)), "%.*s", SLICE_ARG(*challenge));
	return sasl_server_feed(s, slice_str(final), challenge);
}

Test(sasl_server, rfc7677)
{
	struct sasl_server_conf conf = conf_of(SASL_SCRAM_SHA_256);
	struct sasl_server s;
	slice challenge;

	sasl_server_start(&s, &arena, &conf);
	cr_assert_eq(exchange(&s, "n,,n=user,r=" C_NONCE, FINAL_7677, &challenge), SASL_MORE);
	cr_assert(slice_eq(challenge, SLICE("v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=")));
	cr_assert_eq(sasl_server_feed(&s, SLICE(""), &challenge), SASL_OK);
	cr_assert(slice_eq(s.user, SLICE("user")) && !s.authzid.len);
	cr_assert_eq(sasl_server_feed(&s, SLICE(""), &challenge), SASL_BAD);
	sasl_server_end(&s);
	arena_done(&arena);
}

/* Computed by Python's hashlib and hmac. */
Test(sasl_server, bound_with_authzid_and_escaped_name)
{
	struct sasl_server_conf conf = conf_of(SASL_SCRAM_SHA_256_PLUS);
	struct sasl_server s;
	slice challenge;

	sasl_server_start(&s, &arena, &conf);
	cr_assert_eq(
		exchange(&s, "p=tls-exporter,a=boss,n=us=2Cer=3D,r=" C_NONCE,
			"c="
			"cD10bHMtZXhwb3J0ZXIsYT1ib3NzLAABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4f,"
			"r=" C_NONCE S_NONCE ",p=EedXFVwDI5JwXShIPl8bqrliT7gB4lGSp1fpjWEMrxY=",
			&challenge),
		SASL_MORE);
	cr_assert(slice_eq(challenge, SLICE("v=Ub6ZKlQm3ksults2exIewektsU4q30BR9RXvwGuIGmA=")));
	cr_assert_eq(sasl_server_feed(&s, SLICE(""), &challenge), SASL_OK);
	cr_assert(slice_eq(s.user, SLICE("us,er=")) && slice_eq(s.authzid, SLICE("boss")));
	arena_done(&arena);
}

static const struct {
	const char *first, *final, *why;
	enum sasl_step want;
	bool plus, offered;
} refused[] = {
	{ "n,,n=user,r=" C_NONCE, "c=biws,r=" C_NONCE S_NONCE ",p=AAAA", "short proof", SASL_BAD, 0,
		0 },
	{ "n,,n=user,r=" C_NONCE,
		"c=biws,r=" C_NONCE S_NONCE ",p=eHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=",
		"wrong proof", SASL_FAIL, 0, 0 },
	{ "n,,n=user,r=" C_NONCE,
		"c=biws,r=" C_NONCE "x,p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=",
		"other nonce", SASL_FAIL, 0, 0 },
	{ "n,,n=user,r=" C_NONCE,
		"c=eSws,r=" C_NONCE S_NONCE ",p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=",
		"c= is not the header that was sent", SASL_FAIL, 0, 0 },
	{ "n,,n=user,r=" C_NONCE, "c=biws,r=" C_NONCE S_NONCE, "no proof", SASL_BAD, 0, 0 },
	{ "y,,n=user,r=" C_NONCE, "", "y while PLUS is offered: a stripped list", SASL_FAIL, 0, 1 },
	{ "p=tls-exporter,,n=user,r=" C_NONCE, "", "bound without PLUS", SASL_FAIL, 0, 0 },
	{ "n,,n=user,r=" C_NONCE, "", "PLUS without binding", SASL_FAIL, 1, 1 },
	{ "p=tls-unique,,n=user,r=" C_NONCE, "", "a binding we do not know", SASL_FAIL, 1, 1 },
	{ "x,,n=user,r=" C_NONCE, "", "no flag", SASL_BAD, 0, 0 },
	{ "n,,m=1,n=user,r=" C_NONCE, "", "mandatory extension", SASL_BAD, 0, 0 },
	{ "n,,n=us=er,r=" C_NONCE, "", "wrong escape", SASL_BAD, 0, 0 },
	{ "n,,n=,r=" C_NONCE, "", "no user", SASL_BAD, 0, 0 },
	{ "n,,n=user,r=", "", "no nonce", SASL_BAD, 0, 0 },
	{ "n,b=x,n=user,r=" C_NONCE, "", "no authzid", SASL_BAD, 0, 0 },
	{ "n,,n=u\xff,r=" C_NONCE, "", "no UTF-8", SASL_BAD, 0, 0 },
	{ "", "", "nothing", SASL_BAD, 0, 0 },
};

Test(sasl_server, refused)
{
	for (size_t i = 0; i < array_len(refused); i++) {
		struct sasl_server_conf conf =
			conf_of(refused[i].plus ? SASL_SCRAM_SHA_256_PLUS : SASL_SCRAM_SHA_256);
		struct sasl_server s;
		slice challenge;

		conf.plus_offered = refused[i].offered;
		sasl_server_start(&s, &arena, &conf);
		enum sasl_step got = exchange(&s, refused[i].first, refused[i].final, &challenge);

		cr_assert_eq(got, refused[i].want, "%s: %d", refused[i].why, (int)got);
		cr_assert_eq(sasl_server_feed(&s, SLICE("n,,n=user,r=x"), &challenge), SASL_BAD);
	}
	arena_done(&arena);
}

Test(sasl_server, plain)
{
	static const struct {
		slice in;
		enum sasl_step want;
	} rows[] = {
		{ SLICE_INIT("\0tim\0tanstaaf"), SASL_CHECK },
		{ SLICE_INIT("boss\0tim\0tanstaaf"), SASL_CHECK },
		{ SLICE_INIT("\0tim\0"), SASL_BAD },
		{ SLICE_INIT("\0\0x"), SASL_BAD },
		{ SLICE_INIT("tim\0x"), SASL_BAD },
		{ SLICE_INIT("tim"), SASL_BAD },
		{ SLICE_INIT(""), SASL_BAD },
		{ SLICE_INIT("\0tim\0a\0b"), SASL_BAD },
		{ SLICE_INIT("\0t\nm\0ab"), SASL_BAD },
		{ SLICE_INIT("\0t\xffm\0ab"), SASL_BAD },
	};
	struct sasl_server_conf conf = conf_of(SASL_PLAIN);
	struct sasl_server s;
	slice challenge;

	for (size_t i = 0; i < array_len(rows); i++) {
		sasl_server_start(&s, &arena, &conf);
		cr_assert_eq(sasl_server_challenge(&s).len, 0);
		cr_assert_eq(sasl_server_feed(&s, rows[i].in, &challenge), rows[i].want, "%zu", i);
		if (rows[i].want != SASL_CHECK)
			continue;
		cr_assert(slice_eq(s.user, SLICE("tim")) &&
			slice_eq(s.password, SLICE("tanstaaf")));
		cr_assert(slice_eq(s.authzid, i ? SLICE("boss") : SLICE("")));
		cr_assert_eq(sasl_server_checked(&s, i == 0), i ? SASL_FAIL : SASL_OK);
	}
	arena_done(&arena);
}

Test(sasl_server, login)
{
	struct sasl_server_conf conf = conf_of(SASL_LOGIN);
	struct sasl_server s;
	slice challenge;

	sasl_server_start(&s, &arena, &conf);
	cr_assert(slice_eq(sasl_server_challenge(&s), SLICE("Username:")));
	cr_assert_eq(sasl_server_feed(&s, SLICE("tim"), &challenge), SASL_MORE);
	cr_assert(slice_eq(challenge, SLICE("Password:")));
	cr_assert_eq(sasl_server_feed(&s, SLICE("secret"), &challenge), SASL_CHECK);
	cr_assert(slice_eq(s.user, SLICE("tim")) && slice_eq(s.password, SLICE("secret")));
	cr_assert_eq(sasl_server_checked(&s, true), SASL_OK);
	slice kept = s.password;

	sasl_server_end(&s);
	cr_assert_eq(kept.ptr[0], 0, "the password is wiped");
	sasl_server_start(&s, &arena, &conf);
	cr_assert_eq(sasl_server_feed(&s, SLICE(""), &challenge), SASL_BAD);
	arena_done(&arena);
}

Test(sasl_server, false_keys_are_stable_and_differ_by_name)
{
	struct scram_keys a, b, c;

	memset(&a, 0, sizeof(a));
	memset(&b, 0, sizeof(b));
	memset(&c, 0, sizeof(c));
	scram_keys_false(&a, SLICE("secret"), SLICE("nobody"), 4096);
	scram_keys_false(&b, SLICE("secret"), SLICE("nobody"), 4096);
	scram_keys_false(&c, SLICE("secret"), SLICE("nobody2"), 4096);
	cr_assert_eq(memcmp(&a, &b, sizeof(a)), 0);
	cr_assert_neq(memcmp(a.salt, c.salt, sizeof(a.salt)), 0);
	cr_assert_neq(memcmp(a.stored, a.server, sizeof(a.stored)), 0);
}

Test(sasl_server, names_and_wire)
{
	char buf[100];
	struct out o = out_fixed(buf, sizeof(buf));
	slice out;

	sasl_put_mechs(&o, SASL_ALL);
	cr_assert(slice_eq(out_written(&o),
		SLICE(" SCRAM-SHA-256-PLUS SCRAM-SHA-256 PLAIN LOGIN")));
	cr_assert_eq(sasl_mech_find(SLICE("scram-sha-256")), SASL_SCRAM_SHA_256);
	cr_assert_eq(sasl_mech_find(SLICE("CRAM-MD5")), SASL_NONE);
	cr_assert(slice_eq(sasl_mech_name(SASL_LOGIN), SLICE("LOGIN")));
	cr_assert(sasl_wire_get(&arena, SLICE("="), &out) && !out.len);
	cr_assert(sasl_wire_get(&arena, SLICE("AHRpbQ=="), &out) && slice_eq(out, SLICE("\0tim")));
	cr_assert_not(sasl_wire_get(&arena, SLICE("AHRpbQ"), &out));
	o.len = 0;
	sasl_wire_put(&o, SLICE("Username:"));
	cr_assert(slice_eq(out_written(&o), SLICE("VXNlcm5hbWU6")));
	arena_done(&arena);
}
