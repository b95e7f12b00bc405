/* SPDX-License-Identifier: GPL-2.0-or-later */
/* keyfile.h - DKIM key records read from a file, in place of the DNS.
 *
 * One record an entry, in the form a zone file has and `ringpost dkim dns` prints:
 *
 *   s1._domainkey.example.test. IN TXT ( "v=DKIM1; k=rsa; p=MIIB..." "..." )
 *   s2._domainkey.example.test  v=DKIM1; k=ed25519; p=...
 *
 * Read once at the start; read-only afterwards, so workers share it. */
#ifndef BENCH_KEYFILE_H
#define BENCH_KEYFILE_H

#include "core/base/map.h"

struct keyfile {
	struct map records;
	struct map_seed seed;
	struct arena arena;
	size_t count;
};

/* ERR_NOT_FOUND, ERR_IO; ERR_INVALID with *out_line: an entry that is no record. */
enum err keyfile_load(struct keyfile *k, const char *path, unsigned *out_line) must_use;
/* The same from memory. */
enum err keyfile_parse(struct keyfile *k, slice text, unsigned *out_line) must_use;
void keyfile_done(struct keyfile *k);
/* The TXT data; an empty slice when there is none. Names compare without case. */
slice keyfile_find(const struct keyfile *k, slice name);

#endif
