/* SPDX-License-Identifier: GPL-2.0-or-later */
/* recode.h - make a message fit for a hop without 8BITMIME, BINARYMIME or SMTPUTF8.
 *
 * Two passes over the stored message: recode_scan learns what each part holds, recode_plan_for
 * decides for one hop, recode_run rewrites while streaming. Leaf parts become quoted-printable
 * (text) or base64 (all else); nothing inside multipart/signed, multipart/encrypted or
 * application/pkcs7-mime is touched: such a message must bounce (5.6.3), and one with raw UTF-8 in
 * a header bounces where SMTPUTF8 lacks (5.6.9; addresses of the envelope are the caller's, 5.6.7).
 * Memory: a header block, the open boundaries, two bytes a part, all bounded by the limits. */
#ifndef PROTO_MIME_RECODE_H
#define PROTO_MIME_RECODE_H

#include "proto/mime/part.h"
#include "proto/mime/transfer.h"

/* What the message holds; the first five are what a hop may lack room for. */
struct recode_facts {
	bool body_8bit;   /* a byte over 127 behind a header block */
	bool binary;      /* NUL, bare CR or LF, a line over 998 bytes, or "binary" declared */
	bool header_8bit; /* in the message's own header: needs SMTPUTF8 */
	bool nested_8bit; /* in the header of a part or of an enclosed message: the same */
	bool long_header; /* a header line over 998 bytes: no conversion helps */
	bool sealed_8bit; /* body_8bit inside a part that must not be touched */
	bool sealed_binary;
	/* Either in a part of unknown encoding or around parts whose boundary is none of RFC 2046, or
	 * 8-bit in a boundary. */
	bool stuck;
	bool limited; /* beyond the limits: converting is refused */
	unsigned parts;
};

struct recode_scan {
	struct recode_facts facts;
	/* private */
	struct part_walker walker;
	struct out notes;      /* two bytes a part: what its body holds, and whether it is sealed */
	unsigned sealed_depth; /* 1 + depth of the part that seals; 0: none */
	size_t line;           /* bytes of the line so far */
	unsigned tail;         /* UTF-8 bytes that must follow */
	bool cr;
	bool odd_boundary, odd_raw; /* what replaces the bytes around parts could make a boundary */
};

void recode_scan_init(struct recode_scan *s, const struct part_limits *limits);
void recode_scan_add(struct recode_scan *s, slice piece);
/* After the last piece; s->facts and the notes are complete. */
void recode_scan_end(struct recode_scan *s);
/* When no run needs the notes any more. */
void recode_scan_done(struct recode_scan *s);

/* What the hop offers. */
struct recode_hop {
	bool eight_bit, binary, smtputf8;
};

enum recode_plan {
	RECODE_AS_IS,   /* send the stored bytes; BODY=7BIT, 8BITMIME or BINARYMIME by the facts */
	RECODE_CONVERT, /* send what recode_run makes: 7-bit, or 8-bit when the hop takes that */
	RECODE_BOUNCE_BODY, /* 5.6.3: conversion required but not supported */
	RECODE_BOUNCE_UTF8, /* 5.6.9: a header needs SMTPUTF8 */
};
enum recode_plan recode_plan_for(const struct recode_facts *f, struct recode_hop hop);

struct recode_run {
	/* private */
	struct part_walker walker;
	const struct recode_scan *scan;
	struct recode_hop hop;
	unsigned char action;
	struct qp_encoder qp;
	struct qp_decoder qp_in;
	struct b64_encoder b64;
	struct b64_decoder b64_in;
	size_t line;
	bool cr;
};

/* `scan` must be of the same bytes and outlive the run. */
void recode_run_init(struct recode_run *r, const struct recode_scan *scan, struct recode_hop hop);
/* ERR_INVALID: these are other bytes than those scanned. */
enum err recode_run_add(struct recode_run *r, slice piece, struct out *o) must_use;
enum err recode_run_end(struct recode_run *r, struct out *o) must_use;
void recode_run_done(struct recode_run *r);

#endif
