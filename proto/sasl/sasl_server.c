/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The server side. One state per message still expected; one function per mechanism's message. Every
 * way out but SASL_MORE, SASL_NEED_KEYS and SASL_CHECK ends the exchange: what comes after is
 * SASL_BAD. */
#include "proto/sasl/scram_int.h"

#include "core/base/codec.h"
#include "core/base/crypt.h"

enum {
	PLAIN_FIRST,
	LOGIN_USER,
	LOGIN_PASS,
	SCRAM_FIRST,
	SCRAM_KEYS,
	SCRAM_FINAL,
	SCRAM_ACK,
	CHECK,
	OVER
};

void sasl_server_start(struct sasl_server *s, struct arena *a, const struct sasl_server_conf *conf)
{
	*s = (struct sasl_server){ .arena = a, .conf = *conf };
	s->conf.binding = arena_dup(a, conf->binding);
	s->conf.nonce = arena_dup(a, conf->nonce);
	switch (conf->mech) {
	case SASL_PLAIN:
		s->state = PLAIN_FIRST;
		break;
	case SASL_LOGIN:
		s->state = LOGIN_USER;
		break;
	case SASL_SCRAM_SHA_256:
	case SASL_SCRAM_SHA_256_PLUS:
		must(conf->nonce.len >= SASL_NONCE_MIN && scram_nonce_ok(conf->nonce));
		s->state = SCRAM_FIRST;
		break;
	default:
		must(0);
	}
}

slice sasl_server_challenge(const struct sasl_server *s)
{
	return s->state == LOGIN_USER ? SLICE("Username:") : SLICE("");
}

static enum sasl_step over(struct sasl_server *s, enum sasl_step how)
{
	s->state = OVER;
	return how;
}

/* [authzid] NUL authcid NUL passwd (RFC 4616 2). */
static enum sasl_step plain(struct sasl_server *s, slice response)
{
	ptrdiff_t first = slice_find(response, 0);
	slice rest = slice_skip(response, (size_t)(first + 1));
	ptrdiff_t second = first < 0 ? -1 : slice_find(rest, 0);

	if (second < 0)
		return over(s, SASL_BAD);
	slice authzid = slice_sub(response, 0, (size_t)first);
	slice user = slice_sub(rest, 0, (size_t)second);
	slice password = slice_skip(rest, (size_t)second + 1);

	if (!sasl_name_ok(user) || (authzid.len && !sasl_name_ok(authzid)) || !password.len ||
		slice_find(password, 0) >= 0)
		return over(s, SASL_BAD);
	s->user = arena_dup(s->arena, user);
	s->authzid = arena_dup(s->arena, authzid);
	s->password = arena_dup(s->arena, password);
	s->state = CHECK;
	return SASL_CHECK;
}

static enum sasl_step login_user(struct sasl_server *s, slice response, slice *challenge)
{
	if (!sasl_name_ok(response))
		return over(s, SASL_BAD);
	s->user = arena_dup(s->arena, response);
	s->state = LOGIN_PASS;
	*challenge = SLICE("Password:");
	return SASL_MORE;
}

static enum sasl_step login_pass(struct sasl_server *s, slice response)
{
	if (!response.len || slice_find(response, 0) >= 0)
		return over(s, SASL_BAD);
	s->password = arena_dup(s->arena, response);
	s->state = CHECK;
	return SASL_CHECK;
}

/* RFC 5802 6: what each flag means under each mechanism. */
static enum sasl_step check_flag(const struct sasl_server *s, slice flag)
{
	bool plus = s->conf.mech == SASL_SCRAM_SHA_256_PLUS;

	if (slice_eq(flag, SLICE("n")))
		return plus ? SASL_FAIL : SASL_OK;
	/* The client could bind and believes that we cannot: somebody changed our list. */
	if (slice_eq(flag, SLICE("y")))
		return plus || s->conf.plus_offered ? SASL_FAIL : SASL_OK;
	if (!slice_starts(flag, SLICE("p=")))
		return SASL_BAD;
	return plus && slice_eq(flag, SLICE("p=tls-exporter")) && s->conf.binding.len ? SASL_OK :
											SASL_FAIL;
}

static enum sasl_step scram_first(struct sasl_server *s, slice response)
{
	slice rest = arena_dup(s->arena, response), whole = rest, flag, authzid, name, nonce;

	if (!slice_cut(&rest, ',', &flag) || !slice_cut(&rest, ',', &authzid))
		return over(s, SASL_BAD);
	enum sasl_step step = check_flag(s, flag);

	if (step != SASL_OK)
		return over(s, step);
	if (authzid.len &&
		(!slice_starts(authzid, SLICE("a=")) ||
			!scram_get_name(s->arena, slice_skip(authzid, 2), &s->authzid)))
		return over(s, SASL_BAD);
	s->gs2 = slice_sub(whole, 0, whole.len - rest.len);
	s->client_first = rest;
	/* "m=" would be a mandatory extension, and so is refused by expecting "n=" here. */
	if (!scram_take(&rest, 'n', &name) || !scram_get_name(s->arena, name, &s->user) ||
		!scram_take(&rest, 'r', &nonce) || !scram_nonce_ok(nonce))
		return over(s, SASL_BAD);
	s->server_first = nonce; /* until the keys come */
	s->state = SCRAM_KEYS;
	return SASL_NEED_KEYS;
}

enum sasl_step sasl_server_keys(struct sasl_server *s, const struct scram_keys *keys,
	slice *challenge)
{
	struct out o = out_arena(s->arena);

	must(s->state == SCRAM_KEYS);
	s->keys = *keys;
	out_str(&o, "r=");
	out_slice(&o, s->server_first);
	out_slice(&o, s->conf.nonce);
	out_str(&o, ",s=");
	codec_put_base64(&o, slice_of(keys->salt, SASL_SALT_BYTES));
	out_str(&o, ",i=");
	out_uint(&o, keys->iterations);
	*challenge = s->server_first = out_written(&o);
	s->state = SCRAM_FINAL;
	return SASL_MORE;
}

static bool proof_is_right(struct sasl_server *s, slice auth_message, unsigned char *proof)
{
	unsigned char stored[SASL_KEY_BYTES];

	scram_xor_signature(s->keys.stored, auth_message, proof);
	sha256_of(slice_of(proof, SASL_KEY_BYTES), stored);
	return crypt_eq(slice_of(stored, SASL_KEY_BYTES), slice_of(s->keys.stored, SASL_KEY_BYTES));
}

/* v=, our own proof. */
static slice server_final(struct sasl_server *s, slice auth_message)
{
	unsigned char signature[SASL_KEY_BYTES];
	struct out o = out_arena(s->arena);

	hmac_sha256(slice_of(s->keys.server, SASL_KEY_BYTES), auth_message, signature);
	out_str(&o, "v=");
	codec_put_base64(&o, slice_of(signature, sizeof(signature)));
	return out_written(&o);
}

static enum sasl_step scram_final(struct sasl_server *s, slice response, slice *challenge)
{
	slice rest = response, binding, nonce, wanted = s->server_first, wanted_nonce, proof_text;
	ptrdiff_t proof_at = slice_search(response, SLICE(",p="));
	unsigned char proof[SASL_KEY_BYTES];

	if (proof_at < 0 || !scram_take(&rest, 'c', &binding) || !scram_take(&rest, 'r', &nonce) ||
		!scram_take(&wanted, 'r', &wanted_nonce))
		return over(s, SASL_BAD);
	proof_text = slice_skip(response, (size_t)proof_at + 3);
	if (!scram_get_bytes(proof_text, proof, sizeof(proof)))
		return over(s, SASL_BAD);
	bool plus = s->conf.mech == SASL_SCRAM_SHA_256_PLUS;
	slice bound = scram_binding(s->arena, s->gs2, plus ? s->conf.binding : SLICE(""));

	if (!crypt_eq(binding, bound) || !slice_eq(nonce, wanted_nonce))
		return over(s, SASL_FAIL);
	slice message = arena_printf(s->arena, "%.*s,%.*s,%.*s", SLICE_ARG(s->client_first),
		SLICE_ARG(s->server_first), (int)proof_at, response.ptr);

	if (!proof_is_right(s, message, proof))
		return over(s, SASL_FAIL);
	*challenge = server_final(s, message);
	s->state = SCRAM_ACK;
	return SASL_MORE;
}

enum sasl_step sasl_server_feed(struct sasl_server *s, slice response, slice *challenge)
{
	*challenge = (slice){ 0 };
	switch (s->state) {
	case PLAIN_FIRST:
		return plain(s, response);
	case LOGIN_USER:
		return login_user(s, response, challenge);
	case LOGIN_PASS:
		return login_pass(s, response);
	case SCRAM_FIRST:
		return scram_first(s, response);
	case SCRAM_FINAL:
		return scram_final(s, response, challenge);
	case SCRAM_ACK:
		return over(s, response.len ? SASL_BAD : SASL_OK);
	default:
		return over(s, SASL_BAD);
	}
}

enum sasl_step sasl_server_checked(struct sasl_server *s, bool ok)
{
	must(s->state == CHECK);
	return over(s, ok ? SASL_OK : SASL_FAIL);
}

void sasl_server_end(struct sasl_server *s)
{
	scram_wipe(s->password, crypt_wipe);
	scram_wipe(s->conf.binding, crypt_wipe);
	crypt_wipe(&s->keys, sizeof(s->keys));
	s->password = s->conf.binding = (slice){ 0 };
	s->state = OVER;
}
