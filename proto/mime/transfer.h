/* SPDX-License-Identifier: GPL-2.0-or-later */
/* transfer.h - quoted-printable and base64 bodies, in pieces (RFC 2045 6.7, 6.8).
 *
 * Plain structs, zero-initialised, no memory of their own beyond one line. Encoders end lines in CRLF
 * and never make one longer than 76 bytes. Decoders are lenient: foreign bytes are skipped in base64
 * and kept in quoted-printable. The writer's overflow is the only thing that can go wrong. */
#ifndef PROTO_MIME_TRANSFER_H
#define PROTO_MIME_TRANSFER_H

#include "core/base/base.h"

enum { TRANSFER_LINE = 76 };

struct qp_encoder {
	bool binary;         /* set it first: CRLF is data too and is encoded */
	unsigned char col;   /* private, all below */
	unsigned char blank; /* a blank waits for what follows it */
	bool cr;
};
void qp_encode(struct qp_encoder *q, slice in, struct out *o);
void qp_encode_end(struct qp_encoder *q, struct out *o);

struct qp_decoder {
	unsigned char state, high;
	size_t blanks_len;
	char blanks[80]; /* blanks that a line end would drop */
};
void qp_decode(struct qp_decoder *q, slice in, struct out *o);
void qp_decode_end(struct qp_decoder *q, struct out *o);

struct b64_encoder {
	unsigned char held[TRANSFER_LINE / 4 * 3];
	size_t len;
};
void b64_encode(struct b64_encoder *b, slice in, struct out *o);
void b64_encode_end(struct b64_encoder *b, struct out *o);

struct b64_decoder {
	uint32_t bits;
	unsigned char count;
	bool ended; /* padding was seen */
};
void b64_decode(struct b64_decoder *b, slice in, struct out *o);

#endif
