/* SPDX-License-Identifier: GPL-2.0-or-later */
/* ctype.h - Content-Type and Content-Disposition values: a type and its parameters.
 *
 * RFC 2045 5.1, RFC 2183, and RFC 2231: continued and percent-encoded values come out whole.
 * Everything lives in the caller's arena or in the value. Lenient: what cannot be understood is
 * skipped, the rest still counts; parameters beyond CTYPE_PARAMS_MAX are dropped. */
#ifndef PROTO_MIME_CTYPE_H
#define PROTO_MIME_CTYPE_H

#include "core/base/base.h"

enum { CTYPE_PARAMS_MAX = 64 };

struct ctype_param {
	slice name, value;
	slice charset;  /* of the value, when RFC 2231 names one; else empty */
	slice language; /* its tag (RFC 5646), when RFC 2231 names one */
};

struct ctype {
	slice type, subtype; /* as written; compare without case. A disposition has no subtype. */
	struct ctype_param *params;
	size_t count;
};

/* False, and *out is text/plain without parameters (RFC 2045 5.2), when there is no type/subtype. */
bool ctype_parse(slice value, struct arena *a, struct ctype *out);
/* Content-Disposition: a single token. False: none there; *out is "attachment" (RFC 2183 2.8). */
bool ctype_parse_disposition(slice value, struct arena *a, struct ctype *out);

bool ctype_is(const struct ctype *t, const char *type, const char *subtype);
bool ctype_param(const struct ctype *t, const char *name, slice *out);

#endif
