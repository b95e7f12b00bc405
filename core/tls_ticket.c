/* SPDX-License-Identifier: GPL-2.0-or-later */
/* tls_ticket.c - one set of ticket keys for all workers, rotated by time.
 *
 * Four slots in a ring of generations: the current key seals, it and the two before open, the
 * fourth is being replaced. Readers take no lock: a slot is written only while no valid
 * generation lives in it, and published by the generation counter. Keys are never stored, so a
 * restart forgets them. AES-256-GCM. */
#include <wolfssl/options.h>

#include "core/tls_int.h"

#include "core/base/crypt.h"
#include "core/entropy.h"
#include "core/worker.h"

#include <pthread.h>
#include <wolfssl/ssl.h>
#include <wolfssl/wolfcrypt/aes.h>

enum { SLOTS = 4, OPENING = 3, KEY_BYTES = 32, TAG_BYTES = 16, NONCE_BYTES = 12 };

struct ticket_key {
	unsigned char name[WOLFSSL_TICKET_NAME_SZ]; /* the generation, then random bytes */
	unsigned char secret[KEY_BYTES];
};

static struct {
	pthread_mutex_t lock; /* rotation */
	struct ticket_key slots[SLOTS];
	uint32_t generation; /* 0: no key yet */
	int64_t made_at;     /* clock_now() */
	int64_t lifetime_ms;
} keys = { .lock = PTHREAD_MUTEX_INITIALIZER };

static uint32_t current(void)
{
	return __atomic_load_n(&keys.generation, __ATOMIC_ACQUIRE);
}

static void put_generation(unsigned char *name, uint32_t generation)
{
	for (int i = 0; i < 4; i++)
		name[i] = (unsigned char)(generation >> (24 - 8 * i));
}

static uint32_t get_generation(const unsigned char *name)
{
	return (uint32_t)name[0] << 24 | (uint32_t)name[1] << 16 | (uint32_t)name[2] << 8 | name[3];
}

static void rotate_locked(void)
{
	uint32_t next = keys.generation + 1;
	struct ticket_key *key = &keys.slots[next % SLOTS];

	entropy_fill(key, sizeof(*key));
	put_generation(key->name, next);
	__atomic_store_n(&keys.made_at, (int64_t)clock_now(), __ATOMIC_RELAXED);
	__atomic_store_n(&keys.generation, next, __ATOMIC_RELEASE);
}

/* A key seals for half a lifetime and opens for one more, so a ticket is good for all of its own.
 */
static bool is_old(void)
{
	int64_t age = clock_now() - __atomic_load_n(&keys.made_at, __ATOMIC_RELAXED);

	return current() == 0 || age >= __atomic_load_n(&keys.lifetime_ms, __ATOMIC_RELAXED) / 2;
}

static const struct ticket_key *sealing_key(void)
{
	if (is_old()) {
		pthread_mutex_lock(&keys.lock);
		if (is_old())
			rotate_locked();
		pthread_mutex_unlock(&keys.lock);
	}
	return &keys.slots[current() % SLOTS];
}

static const struct ticket_key *opening_key(const unsigned char *name)
{
	uint32_t now = current(), generation = get_generation(name);
	const struct ticket_key *key = &keys.slots[generation % SLOTS];

	if (generation == 0 || generation > now || now - generation >= OPENING)
		return NULL;
	return memcmp(key->name, name, sizeof(key->name)) == 0 ? key : NULL;
}

/* The name and the nonce are authenticated with the ticket. */
struct sealed {
	unsigned char head[WOLFSSL_TICKET_NAME_SZ + NONCE_BYTES];
	unsigned char *tag;
	unsigned char *bytes;
	word32 len;
};

static void make_head(struct sealed *s, const unsigned char *name, const unsigned char *iv)
{
	memcpy(s->head, name, WOLFSSL_TICKET_NAME_SZ);
	memcpy(s->head + WOLFSSL_TICKET_NAME_SZ, iv, NONCE_BYTES);
}

static bool crypt_ticket(const struct ticket_key *key, struct sealed *s, bool seal)
{
	Aes aes;
	const byte *iv = s->head + WOLFSSL_TICKET_NAME_SZ;
	int ret = wc_AesInit(&aes, NULL, INVALID_DEVID);

	if (ret == 0)
		ret = wc_AesGcmSetKey(&aes, key->secret, KEY_BYTES);
	if (ret == 0 && seal)
		ret = wc_AesGcmEncrypt(&aes, s->bytes, s->bytes, s->len, iv, NONCE_BYTES, s->tag,
			TAG_BYTES, s->head, sizeof(s->head));
	else if (ret == 0)
		ret = wc_AesGcmDecrypt(&aes, s->bytes, s->bytes, s->len, iv, NONCE_BYTES, s->tag,
			TAG_BYTES, s->head, sizeof(s->head));
	wc_AesFree(&aes);
	crypt_wipe(&aes, sizeof(aes));
	return ret == 0;
}

/* long: the parameter list is wolfSSL's */
static int on_ticket(WOLFSSL *ssl, unsigned char name[WOLFSSL_TICKET_NAME_SZ],
	unsigned char iv[WOLFSSL_TICKET_IV_SZ], unsigned char mac[WOLFSSL_TICKET_MAC_SZ], int seal,
	unsigned char *ticket, int len, int *out_len, void *arg)
{
	const struct ticket_key *key = seal ? sealing_key() : opening_key(name);
	struct sealed s = { .tag = mac, .bytes = ticket, .len = (word32)len };

	if (!key)
		return WOLFSSL_TICKET_RET_REJECT;
	if (seal) {
		memcpy(name, key->name, sizeof(key->name));
		entropy_fill(iv, WOLFSSL_TICKET_IV_SZ);
	}
	make_head(&s, name, iv);
	if (!crypt_ticket(key, &s, seal))
		return seal ? WOLFSSL_TICKET_RET_FATAL : WOLFSSL_TICKET_RET_REJECT;
	*out_len = len;
	/* One from an older key is good, and replaced. */
	return seal || get_generation(name) == current() ? WOLFSSL_TICKET_RET_OK :
							   WOLFSSL_TICKET_RET_CREATE;
}

void tls_ticket_use(struct WOLFSSL_CTX *ctx, int64_t lifetime_ms)
{
	int seconds = (int)MIN(lifetime_ms / 1000, 604800);

	__atomic_store_n(&keys.lifetime_ms, lifetime_ms, __ATOMIC_RELAXED);
	wolfSSL_CTX_set_TicketEncCb(ctx, on_ticket);
	wolfSSL_CTX_set_TicketHint(ctx, seconds);
	wolfSSL_CTX_set_timeout(ctx, (unsigned)seconds);
}

void tls_ticket_rotate(void)
{
	pthread_mutex_lock(&keys.lock);
	rotate_locked();
	pthread_mutex_unlock(&keys.lock);
}

void tls_ticket_wipe(void)
{
	crypt_wipe(keys.slots, sizeof(keys.slots));
	keys.generation = 0;
}
