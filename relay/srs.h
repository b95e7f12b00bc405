/* SPDX-License-Identifier: GPL-2.0-or-later */
/* srs.h - envelope senders of forwarded mail (the Sender Rewriting Scheme).
 *
 * A forwarded message leaves with a sender at one of our own domains, so that the next hop asks our
 * SPF record and not that of a domain we may not send for; the old sender stands inside, signed and
 * dated, so that a report finds its way back and nobody can send through us to an address of their
 * choice. What another forwarder has rewritten already becomes SRS1, which leads back to it: the
 * address never grows with each hop. Pure functions; letter case may get lost on the way. */
#ifndef RELAY_SRS_H
#define RELAY_SRS_H

#include "core/base/base.h"

struct srs {
	slice secret;
	wall_ms now;
	msec expire_ms; /* an address is taken back for so long, in whole days; at most 1,000 of them */
};

/* Is the local part one of ours, or of a forwarder like us? */
bool srs_is(slice local);
/* The sender to use in place of `sender` (local@domain), at `domain`. ERR_TOO_LARGE: it would have a
 * local part over 64 bytes; ERR_INVALID: one in quotes, or no address. */
enum err srs_forward(const struct srs *s, slice sender, slice domain, struct out *o) must_use;
/* The address that a local part made by srs_forward stands for. ERR_AUTH: we did not make it;
 * ERR_TIMEOUT: its time is over. */
enum err srs_reverse(const struct srs *s, slice local, struct out *o) must_use;

#endif
