/* SPDX-License-Identifier: GPL-2.0-or-later */
/* idn.h - domain names from U-labels to A-labels (RFC 5890, IDNA 2008 by libidn2).
 *
 * Results are lower case and live in the arena; an ASCII domain comes back as it is, in lower case.
 * ERR_INVALID: no domain, a label IDNA forbids, or too long; nothing else can fail. */
#ifndef PROTO_SMTP_IDN_H
#define PROTO_SMTP_IDN_H

#include "core/base/base.h"

/* The form DNS, TLS and a hop without SMTPUTF8 understand. */
enum err idn_to_ascii(struct arena *a, slice domain, slice *out) must_use;

#endif
