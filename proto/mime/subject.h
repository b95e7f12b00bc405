/* SPDX-License-Identifier: GPL-2.0-or-later */
/* subject.h - the base subject of a message: its subject without "Re:", "[list]" and "(fwd)".
 *
 * RFC 5256 2.1, the rules of SORT and THREAD: two messages with the same base subject may belong
 * together. Pure; the slices of a result lie in the arena or in the value. Nothing fails: what is
 * longer than SUBJECT_MAX is cut there. */
#ifndef PROTO_MIME_SUBJECT_H
#define PROTO_MIME_SUBJECT_H

#include "core/base/base.h"

enum { SUBJECT_MAX = 4096 };

struct subject {
	slice base; /* UTF-8, encoded words decoded, blanks collapsed; case as written */
	bool reply; /* a reply or forward mark was taken off */
};

struct subject subject_base(slice value, struct arena *a);

#endif
