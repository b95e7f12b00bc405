/* SPDX-License-Identifier: GPL-2.0-or-later */
/* pop3_marks.c - which messages DELE has marked: a bit each, in blocks that are made when one is needed. */
#include "server/pop3/pop3_int.h"

#include <stdlib.h>

enum { WORD = 64, BLOCK = 4096, BLOCK_WORDS = BLOCK / WORD };

static uint64_t *block_of(const struct pop3_marks *m, uint32_t number)
{
	return m->blocks ? m->blocks[(number - 1) / BLOCK] : NULL;
}

bool pop3_marks_add(struct pop3_marks *m, uint32_t number, uint32_t most)
{
	uint32_t at = number - 1;

	if (!m->blocks) {
		m->len = (most + BLOCK - 1) / BLOCK;
		m->blocks = calloc(m->len, sizeof(*m->blocks));
	}
	if (m->blocks && !m->blocks[at / BLOCK])
		m->blocks[at / BLOCK] = calloc(BLOCK_WORDS, sizeof(uint64_t));
	if (!block_of(m, number))
		return false;
	uint64_t *word = &block_of(m, number)[at % BLOCK / WORD];

	m->count += !(*word >> at % WORD & 1);
	*word |= (uint64_t)1 << at % WORD;
	return true;
}

bool pop3_marks_has(const struct pop3_marks *m, uint32_t number)
{
	const uint64_t *block = block_of(m, number);

	return block && block[(number - 1) % BLOCK / WORD] >> (number - 1) % WORD & 1;
}

uint32_t pop3_marks_next(const struct pop3_marks *m, uint32_t from)
{
	uint32_t at = from - 1;

	while (m->blocks && at / BLOCK < m->len) {
		const uint64_t *block = m->blocks[at / BLOCK];
		uint64_t word = block ? block[at % BLOCK / WORD] >> at % WORD : 0;

		if (word)
			return at + (uint32_t)__builtin_ctzll(word) + 1;
		at = block ? (at / WORD + 1) * WORD : (at / BLOCK + 1) * BLOCK;
	}
	return 0;
}

void pop3_marks_done(struct pop3_marks *m)
{
	for (uint32_t i = 0; i < m->len; i++)
		free(m->blocks[i]);
	free(m->blocks);
	*m = (struct pop3_marks){ 0 };
}
