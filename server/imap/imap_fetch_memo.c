/* SPDX-License-Identifier: GPL-2.0-or-later */
/* imap_fetch_memo.c - one summary, in place of the one before. */
#include "server/imap/imap_fetch_memo.h"

#include <stdlib.h>

struct fetch_memo {
	uint64_t blob;
	size_t len;
	char row[];
};

void fetch_memo_free(struct fetch_memo *memo)
{
	free(memo);
}

slice fetch_memo_row(const struct fetch_memo *memo, uint64_t blob)
{
	return memo && memo->blob == blob ? slice_of(memo->row, memo->len) : SLICE("");
}

void fetch_memo_keep(struct fetch_memo **memo, uint64_t blob, slice row)
{
	struct fetch_memo *m = malloc(sizeof(*m) + row.len);

	free(*memo);
	*memo = m;
	if (!m)
		return;
	m->blob = blob;
	m->len = row.len;
	memcpy(m->row, row.ptr, row.len);
}
