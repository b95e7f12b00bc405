/* SPDX-License-Identifier: GPL-2.0-or-later */
/* inuse.h - does somebody else listen there already?
 *
 * SO_REUSEPORT, by which our workers share a port, would let a second process of the same user share it
 * too: mail would arrive at either, by chance. So the kernel's table of listening sockets is read
 * before a new address is bound. A unix socket would be taken from who has it, so its name is tried. Our own sockets (those of a service manager too) do not count.
 * The kernel closes what a killed process had in its io_uring a moment after its end, so whoever starts
 * waits a little for such sockets to go. Blocks; for the main thread. Without /proc nothing is found, and
 * nothing fails. */
#ifndef SERVER_INUSE_H
#define SERVER_INUSE_H

#include "core/addr.h"

/* A listening socket at this address and port, or at one that covers it or is covered by it. */
bool inuse_by_others(const struct addr *at) must_use;

/* One line of /proc/net/tcp or tcp6 (see proc(5)): false unless it is a listening socket. */
bool inuse_parse(const char *line, struct addr *out, unsigned long *out_inode) must_use;

#endif
