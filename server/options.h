/* SPDX-License-Identifier: GPL-2.0-or-later */
/* options.h - the option rows of the doors: listeners, SMTP limits, logins, the process itself.
 *
 * Plain structs filled by core/conf; every member is documented by its row in options.c, from which
 * docs/configuration.md is printed. They live as long as the configuration they came with, which
 * sessions hold. Nothing here fails. */
#ifndef SERVER_OPTIONS_H
#define SERVER_OPTIONS_H

#include "core/conf.h"

enum door_kind {
	SERVICE_SMTP,
	SERVICE_SUBMISSION,
	SERVICE_SUBMISSIONS,
	SERVICE_LMTP,
	SERVICE_POP3,
	SERVICE_POP3S,
	SERVICE_IMAP,
	SERVICE_IMAPS,
	SERVICE_HTTP, /* from here on names alone: there are no such doors */
	SERVICE_HTTPS,
	SERVICE_COUNT
};
extern const char *const service_words[];
/* The standard port of a service. */
uint16_t service_port(enum door_kind service);

/* One row of `listen:`. */
struct listen_options {
	struct addr address; /* ADDR_NONE: every address, IPv4 and IPv6 */
	int64_t port;        /* CONF_UNSET: the service's own, or the one in `address` */
	int service;
	struct conf_cidrs relay_from;
	struct conf_cidrs proxy_from;
	bool tls;
	int64_t client_conns_max;
};

struct service_options {
	slice hostname, data, control, user, group;
	struct conf_list listen; /* struct listen_options */
	struct addr metrics;
	int64_t workers, job_threads, memory_bytes;
	int64_t conns_max, client_conns_max, client_rate, outgoing, drain_ms;
	int log_level, log_format;
};

enum smtp_newline { SMTP_NEWLINE_REJECT, SMTP_NEWLINE_FIX };
enum smtp_long_line { SMTP_LINE_REJECT, SMTP_LINE_WRAP };

struct smtp_options {
	int64_t line_max, size_max, header_max;
	int64_t rcpts_max, submission_rcpts_max;
	int64_t junk_max, errors_max, hops_max;
	int64_t greet_delay_ms, start_ms, idle_ms, data_ms, dot_ms, message_ms;
	int64_t hold_max_ms;
	int bare_newline, long_lines;
	bool trace_client, check_from, plain_login;
};

enum auth_hash { AUTH_ARGON2ID, AUTH_YESCRYPT };

struct auth_options {
	int hash;
	int64_t scram_iterations;
	int64_t cache_ms, cache_max;
	int64_t fail_delay_ms, fail_delay_max_ms, fail_window_ms;
	int64_t lock_after, lock_ms, lock_max;
};

struct pop3_options {
	int64_t line_max, errors_max;
	int64_t start_ms, login_ms, idle_ms, login_delay_ms;
	bool plain_login;
};

struct imap_options {
	int64_t line_max, literal_max, depth_max, terms_max;
	int64_t sessions_max;
	int64_t start_ms, login_ms, idle_ms, send_ms;
	int64_t append_max;
	bool plain_login, compress;
};

extern const struct conf_table service_options_table;
extern const struct conf_table smtp_options_table;
extern const struct conf_table pop3_options_table;
extern const struct conf_table imap_options_table;
extern const struct conf_table auth_options_table;

#endif
