/* SPDX-License-Identifier: GPL-2.0-or-later */
/* machine.h - what a figure was measured on, and what a process cost.
 *
 * Reads /proc; blocks shortly, so never on a worker that is measuring. Nothing fails: what cannot be
 * read is "unknown" or zero. */
#ifndef BENCH_MACHINE_H
#define BENCH_MACHINE_H

#include "core/base/base.h"

/* "2 x Intel(R) Xeon(R) ..., Linux 6.18, 24 GB". NUL-terminated. */
void machine_describe(char *buf, size_t bytes);

#endif
