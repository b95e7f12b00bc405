/* SPDX-License-Identifier: GPL-2.0-or-later */
/* log.h - one line per event on standard error, key=value or JSON.
 *
 * A thread that called log_thread_start (workers do) formats its line into a
 * ring of its own, and a writer thread carries rings to the descriptor: a full pipe blocks
 * nobody, lines that find no room are dropped, counted and reported. Before log_start, after
 * log_stop and in command-line tools lines are written directly. Values from outside are escaped:
 * no line break, no control byte, no way to forge a field. Fields are borrowed for the call only.
 * Nothing here fails. Any thread.
 *
 * log_event(LOG_INFO, "accepted", log_str("id", id), log_uint("size", n));
 * 2026-11-21T22:39:52.123Z info accepted id=3f9a size=4096 */
#ifndef CORE_LOG_H
#define CORE_LOG_H

#include "core/base/base.h"

struct addr;

enum log_level { LOG_ERROR, LOG_WARN, LOG_INFO, LOG_DEBUG };
enum log_format { LOG_TEXT, LOG_JSON };

enum log_kind { LOG_SLICE, LOG_INT, LOG_UINT, LOG_MSEC, LOG_BOOL, LOG_ADDR, LOG_ERR };

struct log_field {
	const char *name; /* NULL: the field is left out */
	enum log_kind kind;
	union {
		slice text;
		int64_t number;
		uint64_t bits;
		const struct addr *addr;
	};
};

static inline struct log_field log_slice(const char *name, slice text)
{
	return (struct log_field){ .name = name, .kind = LOG_SLICE, .text = text };
}
/* NUL-terminated; NULL leaves the field out. */
static inline struct log_field log_str(const char *name, const char *text)
{
	return (struct log_field){
		.name = text ? name : NULL, .kind = LOG_SLICE, .text = slice_str(text)
	};
}
static inline struct log_field log_int(const char *name, int64_t number)
{
	return (struct log_field){ .name = name, .kind = LOG_INT, .number = number };
}
static inline struct log_field log_uint(const char *name, uint64_t bits)
{
	return (struct log_field){ .name = name, .kind = LOG_UINT, .bits = bits };
}
/* Milliseconds; shown as seconds with three decimals. */
static inline struct log_field log_ms(const char *name, msec ms)
{
	return (struct log_field){ .name = name, .kind = LOG_MSEC, .number = ms };
}
static inline struct log_field log_bool(const char *name, bool yes)
{
	return (struct log_field){ .name = name, .kind = LOG_BOOL, .bits = yes };
}
/* Address without port; NULL leaves the field out. */
static inline struct log_field log_addr(const char *name, const struct addr *addr)
{
	return (struct log_field){ .name = addr ? name : NULL, .kind = LOG_ADDR, .addr = addr };
}
/* The one-line text of the error, as error="...". OK leaves the field out. */
static inline struct log_field log_err(enum err err)
{
	return (struct log_field){ .name = err ? "error" : NULL, .kind = LOG_ERR, .number = err };
}

/* Fields are only evaluated when the level is on. At least one field. */
#define log_event(level, event, ...)                                                  \
	do {                                                                          \
		if (log_on(level)) {                                                  \
			const struct log_field log_fields_[] = { __VA_ARGS__ };       \
			log_write(level, event, log_fields_, array_len(log_fields_)); \
		}                                                                     \
	} while (0)
/* One sentence and no fields; for start, stop and trouble of the program itself. */
void log_text(enum log_level level, const char *fmt, ...) printf_like(2, 3);

/* The event's name is one lower-case word, dots and underscores allowed. A line is cut at 4
 * KB; so is a value at 1 KB. */
void log_write(enum log_level level, const char *event, const struct log_field *fields,
	size_t count);

extern int log_level_now; /* read by log_on, set by log_set_level */
static inline bool log_on(enum log_level level)
{
	return (int)level <= __atomic_load_n(&log_level_now, __ATOMIC_RELAXED);
}

/* Any time, any thread. Default: info, text, descriptor 2, which only tests change. */
void log_set_level(enum log_level level);
void log_set_format(enum log_format format);
void log_set_fd(int fd);
/* "error", "warn", "info", "debug" and NULL, for an option row's words. Same order as the
 * enum. */
extern const char *const log_level_words[];
extern const char *const log_format_words[];

/* Starts and ends the writer thread; stop writes what is queued, waiting at most `wait_ms` on
 * a full pipe. Once at a time. */
enum err log_start(size_t ring_bytes) must_use; /* per thread; 0: 256 KB */
void log_stop(msec wait_ms);
/* Give the calling thread a ring; stop returns it after its lines were written or the writer
 * ended, and happens by itself when the thread ends. Harmless without a writer. Workers call
 * start from their start function. */
void log_thread_start(void);
void log_thread_stop(void);

/* Lines dropped so far, for metrics. */
uint64_t log_dropped(void);

#endif
