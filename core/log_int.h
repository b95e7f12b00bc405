/* SPDX-License-Identifier: GPL-2.0-or-later */
/* log_int.h - between log.c (rings, writer thread) and log_line.c (what a line looks like).
 *
 * Nobody else includes it. */
#ifndef CORE_LOG_INT_H
#define CORE_LOG_INT_H

#include "core/log.h"

enum { LOG_LINE_MAX = 4096, LOG_VALUE_MAX = 1024 };

struct log_line {
	wall_ms at;
	enum log_level level;
	const char *event;
	const struct log_field *fields;
	size_t count;
};

/* One line, '\n' included, into `buf`; its length. What does not fit is left out whole, field by
 * field, and the line says so. */
size_t log_line_put(const struct log_line *line, enum log_format format, char buf[LOG_LINE_MAX]);

#endif
