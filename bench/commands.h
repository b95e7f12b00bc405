/* SPDX-License-Identifier: GPL-2.0-or-later */
/* commands.h - the commands of ringpost-bench.
 *
 * Each takes its own arguments (NULL-terminated, without the command's name), runs to its end and
 * returns an exit status: 0 good, 1 the run failed or lost mail, 2 wrong usage. */
#ifndef BENCH_COMMANDS_H
#define BENCH_COMMANDS_H

#include "core/base/base.h"

int bench_smtp(char **argv);
int bench_imap(char **argv);
int bench_pop3(char **argv);
int bench_sink(char **argv);
int bench_idle(char **argv);
int bench_sign(char **argv);
int bench_carry(char **argv);

#endif
