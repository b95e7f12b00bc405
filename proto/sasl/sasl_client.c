/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The client side, for the relay's own logins and the bench. */
#include "proto/sasl/scram_int.h"

#include "core/base/codec.h"
#include "core/base/crypt.h"
#include "core/base/text.h"

enum { INITIAL, USER, PASS, FIRST_SENT, FINAL_SENT, DONE_OK, FAILED };
enum { ITERATIONS_MIN = 4096, ITERATIONS_MAX = 200000 };

void sasl_client_start(struct sasl_client *c, struct arena *a, const struct sasl_client_conf *conf,
	enum sasl_mech mech, unsigned offered)
{
	*c = (struct sasl_client){
		.arena = a,
		.conf = conf,
		.mech = mech,
		.state = mech == SASL_LOGIN ? USER : INITIAL,
		.plus_seen = offered & SASL_SCRAM_SHA_256_PLUS,
	};
}

static slice plain(struct sasl_client *c)
{
	struct out o = out_arena(c->arena);

	out_slice(&o, c->conf->authzid);
	out_char(&o, 0);
	out_slice(&o, c->conf->user);
	out_char(&o, 0);
	out_slice(&o, c->conf->password);
	return out_written(&o);
}

/* "y": we could bind, and the server does not say it can (RFC 5802 6). */
static const char *gs2_flag(const struct sasl_client *c)
{
	if (c->mech == SASL_SCRAM_SHA_256_PLUS)
		return "p=tls-exporter,";
	return c->conf->binding.len && !c->plus_seen ? "y," : "n,";
}

static void put_gs2(struct sasl_client *c, struct out *o)
{
	out_str(o, gs2_flag(c));
	if (c->conf->authzid.len) {
		out_str(o, "a=");
		scram_put_name(o, c->conf->authzid);
	}
	out_char(o, ',');
}

static slice client_first(struct sasl_client *c)
{
	struct out o = out_arena(c->arena);

	put_gs2(c, &o);
	size_t header = o.len;

	out_str(&o, "n=");
	scram_put_name(&o, c->conf->user);
	out_str(&o, ",r=");
	out_slice(&o, c->conf->nonce);
	c->client_first = slice_skip(out_written(&o), header);
	return out_written(&o);
}

bool sasl_client_initial(struct sasl_client *c, slice *response)
{
	if (c->state != INITIAL)
		return false;
	c->state = c->mech == SASL_PLAIN ? DONE_OK : FIRST_SENT;
	*response = c->mech == SASL_PLAIN ? plain(c) : client_first(c);
	return true;
}

struct server_first {
	slice whole, nonce, salt;
	uint64_t iterations;
};

static bool read_server_first(struct sasl_client *c, slice in, struct server_first *out)
{
	uint64_t max = c->conf->iterations_max ? c->conf->iterations_max : ITERATIONS_MAX;
	slice rest = in, salt, iterations;

	if (!scram_take(&rest, 'r', &out->nonce) || !scram_take(&rest, 's', &salt) ||
		!scram_take(&rest, 'i', &iterations))
		return false;
	/* Its nonce must go on from ours, or an old exchange could be played back. */
	if (!slice_starts(out->nonce, c->conf->nonce) || out->nonce.len == c->conf->nonce.len ||
		!scram_nonce_ok(out->nonce))
		return false;
	if (!text_parse_uint(iterations, max, &out->iterations) || out->iterations < ITERATIONS_MIN)
		return false;
	out->whole = in;
	return sasl_wire_get(c->arena, salt, &out->salt) && out->salt.len;
}

static bool is_cached(const struct scram_cache *cache, const struct server_first *first)
{
	return cache && cache->iterations == first->iterations &&
		slice_eq(slice_of(cache->salt, cache->salt_len), first->salt);
}

static void keep(struct scram_cache *cache, const struct server_first *first,
	const unsigned char *client, const unsigned char *server)
{
	if (!cache || first->salt.len > sizeof(cache->salt))
		return;
	memcpy(cache->salt, first->salt.ptr, first->salt.len);
	cache->salt_len = first->salt.len;
	memcpy(cache->client, client, SASL_KEY_BYTES);
	memcpy(cache->server, server, SASL_KEY_BYTES);
	cache->iterations = first->iterations;
}

/* ClientKey to `key`, ServerKey to c (RFC 5802 3). */
static void client_keys(struct sasl_client *c, const struct server_first *first, unsigned char *key)
{
	struct scram_cache *cache = c->conf->cache;
	unsigned char salted[SASL_KEY_BYTES];

	if (is_cached(cache, first)) {
		memcpy(key, cache->client, SASL_KEY_BYTES);
		memcpy(c->server_key, cache->server, SASL_KEY_BYTES);
		return;
	}
	pbkdf2_sha256(c->conf->password, first->salt, (unsigned)first->iterations, salted);
	hmac_sha256(slice_of(salted, sizeof(salted)), SLICE("Client Key"), key);
	hmac_sha256(slice_of(salted, sizeof(salted)), SLICE("Server Key"), c->server_key);
	crypt_wipe(salted, sizeof(salted));
	keep(cache, first, key, c->server_key);
}

static void put_proof(struct sasl_client *c, struct out *o, const struct server_first *first)
{
	unsigned char key[SASL_KEY_BYTES], stored[SASL_KEY_BYTES];

	client_keys(c, first, key);
	sha256_of(slice_of(key, sizeof(key)), stored);
	scram_xor_signature(stored, c->auth_message, key);
	out_str(o, ",p=");
	codec_put_base64(o, slice_of(key, sizeof(key)));
	crypt_wipe(key, sizeof(key));
}

static enum sasl_step client_final(struct sasl_client *c, slice challenge, slice *response)
{
	bool plus = c->mech == SASL_SCRAM_SHA_256_PLUS;
	struct out header = out_arena(c->arena), o = out_arena(c->arena);
	struct server_first first = { 0 };

	if (!read_server_first(c, challenge, &first))
		return SASL_BAD;
	put_gs2(c, &header);
	out_str(&o, "c=");
	out_slice(&o,
		scram_binding(c->arena, out_written(&header), plus ? c->conf->binding : SLICE("")));
	out_str(&o, ",r=");
	out_slice(&o, first.nonce);
	c->auth_message = arena_printf(c->arena, "%.*s,%.*s,%.*s", SLICE_ARG(c->client_first),
		SLICE_ARG(first.whole), SLICE_ARG(out_written(&o)));
	put_proof(c, &o, &first);
	*response = out_written(&o);
	c->state = FINAL_SENT;
	return SASL_MORE;
}

static enum sasl_step check_server(struct sasl_client *c, slice challenge, slice *response)
{
	unsigned char signature[SASL_KEY_BYTES], wanted[SASL_KEY_BYTES];
	slice value;

	if (scram_take(&challenge, 'e', &value))
		return SASL_FAIL;
	if (!scram_take(&challenge, 'v', &value) ||
		!scram_get_bytes(value, signature, sizeof(signature)))
		return SASL_BAD;
	hmac_sha256(slice_of(c->server_key, SASL_KEY_BYTES), c->auth_message, wanted);
	if (!crypt_eq(slice_of(signature, SASL_KEY_BYTES), slice_of(wanted, SASL_KEY_BYTES)))
		return SASL_FAIL;
	*response = SLICE("");
	c->state = DONE_OK;
	return SASL_MORE;
}

static enum sasl_step take(struct sasl_client *c, slice challenge, slice *response)
{
	switch (c->state) {
	case INITIAL: /* the server did not take the initial response with the command */
		return sasl_client_initial(c, response) ? SASL_MORE : SASL_BAD;
	case USER:
		c->state = PASS;
		*response = c->conf->user;
		return SASL_MORE;
	case PASS:
		c->state = DONE_OK;
		*response = c->conf->password;
		return SASL_MORE;
	case FIRST_SENT:
		return client_final(c, challenge, response);
	case FINAL_SENT:
		return check_server(c, challenge, response);
	default:
		return SASL_BAD;
	}
}

enum sasl_step sasl_client_feed(struct sasl_client *c, slice challenge, slice *response)
{
	enum sasl_step step;

	*response = (slice){ 0 };
	step = take(c, challenge, response);
	if (step != SASL_MORE)
		c->state = FAILED;
	return step;
}

bool sasl_client_done(const struct sasl_client *c)
{
	return c->state == DONE_OK;
}

void sasl_client_end(struct sasl_client *c)
{
	crypt_wipe(c->server_key, sizeof(c->server_key));
	c->state = FAILED;
}
