/* SPDX-License-Identifier: GPL-2.0-or-later */
/* codec.h - base64, hex and CRC-32C.
 *
 * Pure functions; decoders are strict and write nothing useful when they fail. */
#ifndef CORE_BASE_CODEC_H
#define CORE_BASE_CODEC_H

#include "core/base/base.h"

/* With padding, without line breaks (RFC 4648 4). */
void codec_put_base64(struct out *o, slice bytes);
/* Strict: padding required, no foreign byte, no stray bits. `buf` takes codec_base64_max(in.len). */
bool codec_get_base64(slice in, void *buf, size_t *out_len) must_use;
static inline size_t codec_base64_max(size_t len)
{
	return len / 4 * 3 + 3;
}

/* Lower case. */
void codec_put_hex(struct out *o, slice bytes);
/* Either case. `buf` takes in.len / 2. */
bool codec_get_hex(slice in, void *buf, size_t *out_len) must_use;

/* CRC-32C (Castagnoli), continued from `crc` (0 at first); the CPU's instruction where it has one. */
uint32_t codec_crc32c(uint32_t crc, const void *bytes, size_t len);

#endif
