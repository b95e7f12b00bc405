/* SPDX-License-Identifier: GPL-2.0-or-later */
/* log_line.h - what one line of the log looks like.
 *
 * A pure function of its arguments but for a cache of the formatted second; any thread. For log.c
 * and its tests; everybody else writes through log.h. */
#ifndef CORE_LOG_LINE_H
#define CORE_LOG_LINE_H

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
