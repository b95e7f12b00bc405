/* SPDX-License-Identifier: GPL-2.0-or-later */
/* options.c - the rows themselves: name, type, default, range, and one line of documentation.
 *
 * Defaults of time-outs are those of RFC 5321 4.5.3.2. Everything that can be changed without a
 * restart is marked CONF_RELOAD. */
#include "server/options.h"

#include <errno.h>
#include <libgen.h>
#include <limits.h>
#include <stdio.h>
#include <sys/stat.h>

#include "core/base/text.h"
#include "core/log.h"
#include "core/proc.h"

const char *const service_words[] = { "smtp", "submission", "submissions", "lmtp", "pop3", "pop3s",
	"imap", "imaps", "http", "https", NULL };

static const uint16_t ports[SERVICE_COUNT] = { 25, 587, 465, 24, 110, 995, 143, 993, 80, 443 };

uint16_t service_port(enum door_kind service)
{
	return ports[service];
}

#define AT(member) offsetof(struct listen_options, member)
static const struct conf_row listen_rows[] = {
	{ "address", CONF_ADDRESS, AT(address), CONF_RELOAD,
		.doc = "Where to listen: an address, or unix:/path. Absent: all of IPv4 and IPv6" },
	{ "port", CONF_INT, AT(port), CONF_RELOAD, .min = 0, .max = 65535,
		.doc = "Port; absent: the standard one of the service; 0: any free one" },
	{ "service", CONF_ENUM, AT(service), CONF_RELOAD | CONF_REQUIRED, .words = service_words,
		.doc = "What is spoken there" },
	{ "relay_from", CONF_CIDRS, AT(relay_from), CONF_RELOAD, .max = 4096,
		.doc = "Clients that may send to any recipient without logging in" },
	{ "proxy_from", CONF_CIDRS, AT(proxy_from), CONF_RELOAD, .max = 4096,
		.doc = "Proxies that begin every connection with a PROXY header (v1 or v2)" },
	{ "tls", CONF_BOOL, AT(tls), CONF_RELOAD, "true",
		.doc = "Offer STARTTLS (smtp, submission, lmtp, pop3, imap)" },
	{ "client_connections", CONF_INT, AT(client_conns_max), CONF_RELOAD, .min = 0,
		.max = 1000000,
		.doc = "Connections of one client address here; absent: "
		       "limits.client_connections" },
};
#undef AT

static void check_listen(struct conf_check *check, const void *options)
{
	const struct listen_options *l = options;

	if (l->service >= SERVICE_HTTP)
		conf_complain(check, "service",
			"%s is not built yet; allowed: smtp, submission, submissions, lmtp, pop3, "
			"pop3s, imap, imaps",
			service_words[l->service]);
	if (l->address.kind == ADDR_UNIX && l->port != CONF_UNSET)
		conf_complain(check, "port", "a unix socket has none");
	if (l->relay_from.count && l->service != SERVICE_SMTP)
		conf_complain(check, "relay_from", "only for service smtp");
}

static const struct conf_table listen_table = { CONF_TABLE(listen_rows, struct listen_options),
	.check = check_listen };

#define AT(member) offsetof(struct service_options, member)
static const struct conf_row service_rows[] = {
	{ "hostname", CONF_STRING, AT(hostname), CONF_REQUIRED | CONF_RELOAD, .min = 1, .max = 253,
		.doc = "Our name in greetings, trace fields and reports" },
	{ "data", CONF_PATH, AT(data), CONF_REQUIRED, .min = 1, .max = 4000,
		.doc = "The folder that holds everything: journal, index, archive" },
	{ "control", CONF_PATH, AT(control), 0, NULL, .max = 100,
		.doc = "Unix socket of the control commands, mode 0600; absent: control.sock in "
		       "the data folder" },
	{ "user", CONF_STRING, AT(user), 0, "",
		.doc = "Become this user once the ports are bound" },
	{ "group", CONF_STRING, AT(group), 0, "",
		.doc = "Become this group; empty: the user's own" },
	{ "listen", CONF_STRUCTS, AT(listen), CONF_RELOAD, .min = 1, .max = 256,
		.sub = &listen_table,
		.doc = "Listeners; absent: smtp, submission, submissions, pop3, pop3s, imap and "
		       "imaps on "
		       "their standard ports" },
	{ "metrics", CONF_ADDRESS, AT(metrics), 0,
		.doc = "Where Prometheus text is served over HTTP: address:port or unix:/path; "
		       "absent: nowhere" },
	{ "workers", CONF_INT, AT(workers), 0, "0", .min = 0, .max = 256,
		.doc = "Worker threads; 0: one per usable core" },
	{ "job_threads", CONF_INT, AT(job_threads), 0, "4", .min = 2, .max = 64,
		.doc = "Helper threads for password hashes, index commits and cold reads" },
	{ "drain", CONF_DURATION, AT(drain_ms), CONF_RELOAD, "30s", .min = 0, .max = 86400000,
		.doc = "How long a stop waits for what is in flight" },
	{ "limits.memory", CONF_SIZE, AT(memory_bytes), 0, "256M", .min = 4 << 20, .max = 1LL << 40,
		.doc = "Buffers of one worker above which it stops accepting" },
	{ "limits.connections", CONF_INT, AT(conns_max), CONF_RELOAD, "0", .min = 0,
		.max = 10000000, .doc = "Connections of one worker; 0: what descriptors allow" },
	{ "limits.outgoing", CONF_INT, AT(outgoing), CONF_RELOAD, "0", .min = 0, .max = 1000000,
		.doc = "Connections kept free for deliveries, which may take more while there is "
		       "room; 0: a hundredth of the descriptor limit" },
	{ "limits.client_connections", CONF_INT, AT(client_conns_max), CONF_RELOAD, "200", .min = 0,
		.max = 1000000,
		.doc = "Connections of one client address (IPv6: /64) to a listener; 0: any" },
	{ "limits.client_rate", CONF_INT, AT(client_rate), CONF_RELOAD, "0", .min = 0,
		.max = 1000000,
		.doc = "New connections a minute of one client address (IPv6: /64); 0: any" },
	{ "log.level", CONF_ENUM, AT(log_level), CONF_RELOAD, "info", .words = log_level_words,
		.doc = "Least important line written" },
	{ "log.format", CONF_ENUM, AT(log_format), CONF_RELOAD, "text", .words = log_format_words,
		.doc = "key=value text, or one JSON object a line" },
};
#undef AT

/* Absent: every address of IPv4, and of IPv6. */
static struct addr listens_at(const struct listen_options *row)
{
	struct addr at = row->address.kind == ADDR_NONE ? addr_ip4(0, 0) : row->address;

	if (at.kind != ADDR_UNIX)
		at.port = row->port != CONF_UNSET ? (uint16_t)row->port :
			at.port                   ? at.port :
						    service_port((enum door_kind)row->service);
	return at;
}

/* Port 0 is another one each time. */
static void check_doors(struct conf_check *check, const struct conf_list *doors)
{
	char text[ADDR_TEXT];

	for (size_t i = 1; i < doors->count; i++) {
		struct addr at = listens_at(conf_item(doors, struct listen_options, i));

		for (size_t k = 0; k < i && (at.port || at.kind == ADDR_UNIX); k++) {
			struct addr other = listens_at(conf_item(doors, struct listen_options, k));

			if (!addr_eq(&at, &other))
				continue;
			conf_complain(check, "listen",
				"two services at %s; allowed: each address once",
				addr_text(&at, text));
			break;
		}
	}
}

/* A start makes the data folder, and nothing above it. What we may not look at is not complained of: the
 * server may be somebody else. */
static void check_data(struct conf_check *check, const struct service_options *o)
{
	char parent[PATH_MAX];
	struct stat st;

	if (stat(o->data.ptr, &st) == 0 ? !S_ISDIR(st.st_mode) : lstat(o->data.ptr, &st) == 0) {
		conf_complain(check, "data",
			"%s is no folder; allowed: a folder, or a new name in one", o->data.ptr);
		return;
	}
	snprintf(parent, sizeof(parent), "%s", o->data.ptr);
	if (stat(dirname(parent), &st) ? errno == ENOENT || errno == ENOTDIR : !S_ISDIR(st.st_mode))
		conf_complain(check, "data",
			"there is no folder %s to make it in; allowed: a folder, or a new name in "
			"one",
			parent);
}

/* Whoever asks: a start as root would end there. */
static void check_user(struct conf_check *check, const struct service_options *o)
{
	char why[PROC_WHY];

	if (proc_user_known(o->user.ptr, o->group.ptr, why))
		conf_complain(check, "user", "%s", why);
}

static void check_service(struct conf_check *check, const void *options)
{
	const struct service_options *o = options;

	if (!text_is_domain(o->hostname))
		conf_complain(check, "hostname", "%s is no host name; allowed: a domain name",
			o->hostname.ptr);
	check_doors(check, &o->listen);
	check_data(check, o);
	check_user(check, o);
}

const struct conf_table service_options_table = { CONF_TABLE(service_rows, struct service_options),
	.check = check_service };

static const char *const newline_words[] = { "reject", "fix", NULL };
static const char *const long_line_words[] = { "reject", "wrap", NULL };

#define AT(member) offsetof(struct smtp_options, member)
#define MINUTES *60000LL
static const struct conf_row smtp_rows[] = {
	{ "smtp.line", CONF_SIZE, AT(line_max), CONF_RELOAD, "4096", .min = 1000, .max = 16384,
		.doc = "Longest command line" },
	{ "smtp.size", CONF_SIZE, AT(size_max), CONF_RELOAD, "50M", .min = 65536, .max = 1LL << 32,
		.doc = "Largest message, told in EHLO (RFC 1870)" },
	{ "smtp.header", CONF_SIZE, AT(header_max), CONF_RELOAD, "256K", .min = 4096,
		.max = 4 << 20, .doc = "Largest header block" },
	{ "smtp.recipients", CONF_INT, AT(rcpts_max), CONF_RELOAD, "100", .min = 100, .max = 50000,
		.doc = "Recipients of a message on port 25 and LMTP" },
	{ "smtp.submission_recipients", CONF_INT, AT(submission_rcpts_max), CONF_RELOAD, "1000",
		.min = 100, .max = 50000, .doc = "Recipients of a submitted message" },
	{ "smtp.commands", CONF_INT, AT(junk_max), CONF_RELOAD, "100", .min = 10, .max = 100000,
		.doc = "Commands without a message in between before 421" },
	{ "smtp.errors", CONF_INT, AT(errors_max), CONF_RELOAD, "20", .min = 1, .max = 10000,
		.doc = "Refused commands before 421" },
	{ "smtp.hops", CONF_INT, AT(hops_max), CONF_RELOAD, "100", .min = 10, .max = 1000,
		.doc = "Received fields that make a loop (RFC 5321 6.3)" },
	{ "smtp.greet_delay", CONF_DURATION, AT(greet_delay_ms), CONF_RELOAD, "0", .min = 0,
		.max = 1 MINUTES,
		.doc = "Wait before the greeting on smtp; who speaks meanwhile is refused" },
	{ "smtp.start", CONF_DURATION, AT(start_ms), CONF_RELOAD, "1m", .min = 1000,
		.max = 60 MINUTES,
		.doc = "Longest time for a PROXY header, and for the TLS handshake of "
		       "submissions" },
	{ "smtp.idle", CONF_DURATION, AT(idle_ms), CONF_RELOAD, "5m", .min = 1000,
		.max = 60 MINUTES, .doc = "Longest wait for a command (RFC 5321 4.5.3.2.7)" },
	{ "smtp.data", CONF_DURATION, AT(data_ms), CONF_RELOAD, "3m", .min = 1000,
		.max = 60 MINUTES,
		.doc = "Longest wait for more of a message (RFC 5321 4.5.3.2.5)" },
	{ "smtp.end_of_data", CONF_DURATION, AT(dot_ms), CONF_RELOAD, "10m", .min = 1000,
		.max = 60 MINUTES,
		.doc = "Longest time a finished message takes (RFC 5321 4.5.3.2.6)" },
	{ "smtp.message_time", CONF_DURATION, AT(message_ms), CONF_RELOAD, "1h", .min = 10000,
		.max = 1440 MINUTES,
		.doc = "Longest time the bytes of one message take to arrive" },
	{ "smtp.hold_max", CONF_DURATION, AT(hold_max_ms), CONF_RELOAD, "7d", .min = 0,
		.max = 525600 MINUTES,
		.doc = "Longest FUTURERELEASE hold (RFC 4865); 0: not offered" },
	{ "smtp.bare_newline", CONF_ENUM, AT(bare_newline), CONF_RELOAD, "reject",
		.words = newline_words,
		.doc = "A CR or LF that stands alone in a message: refuse it, or make it CR LF" },
	{ "smtp.long_lines", CONF_ENUM, AT(long_lines), CONF_RELOAD, "reject",
		.words = long_line_words,
		.doc = "Lines over 998 bytes in a message: refuse it, or wrap them" },
	{ "smtp.trace_client", CONF_BOOL, AT(trace_client), CONF_RELOAD, "true",
		.doc = "Name the submitting client's address in Received" },
	{ "smtp.check_from", CONF_BOOL, AT(check_from), CONF_RELOAD, "true",
		.doc = "A submitted From: must belong to the account (550 5.7.1)" },
	{ "smtp.plain_login", CONF_BOOL, AT(plain_login), CONF_RELOAD, "false",
		.doc = "Allow AUTH without TLS from loopback addresses, for tests" },
};
#undef AT
const struct conf_table smtp_options_table = { CONF_TABLE(smtp_rows, struct smtp_options) };

static const char *const hash_words[] = { "argon2id", "yescrypt", NULL };

#define AT(member) offsetof(struct auth_options, member)
static const struct conf_row auth_rows[] = {
	{ "auth.hash", CONF_ENUM, AT(hash), CONF_RELOAD, "argon2id", .words = hash_words,
		.doc = "How new passwords are stored" },
	{ "auth.scram_iterations", CONF_INT, AT(scram_iterations), CONF_RELOAD, "10000",
		.min = 4096, .max = 1000000,
		.doc = "Iterations of new SCRAM-SHA-256 keys (RFC 7677)" },
	{ "auth.cache", CONF_DURATION, AT(cache_ms), CONF_RELOAD, "10m", .min = 0,
		.max = 1440 MINUTES,
		.doc = "How long a checked password is remembered (as a keyed hash); 0: never" },
	{ "auth.cache_entries", CONF_INT, AT(cache_max), 0, "10000", .min = 0, .max = 10000000,
		.doc = "Checked passwords remembered by one worker" },
	{ "auth.fail_delay", CONF_DURATION, AT(fail_delay_ms), CONF_RELOAD, "1s", .min = 0,
		.max = 1 MINUTES,
		.doc = "Delay of the first failure's answer; it doubles with each" },
	{ "auth.fail_delay_max", CONF_DURATION, AT(fail_delay_max_ms), CONF_RELOAD, "16s", .min = 0,
		.max = 5 MINUTES, .doc = "Longest such delay" },
	{ "auth.fail_window", CONF_DURATION, AT(fail_window_ms), CONF_RELOAD, "15m", .min = 1000,
		.max = 1440 MINUTES, .doc = "Failures are forgotten after this long without one" },
	{ "auth.lock_after", CONF_INT, AT(lock_after), CONF_RELOAD, "10", .min = 0, .max = 100000,
		.doc = "Failures that lock an account for a client address; 0: never" },
	{ "auth.lock", CONF_DURATION, AT(lock_ms), CONF_RELOAD, "15m", .min = 1000,
		.max = 1440 MINUTES, .doc = "How long that lock lasts" },
	{ "auth.lock_entries", CONF_INT, AT(lock_max), 0, "100000", .min = 100, .max = 10000000,
		.doc = "Account and client pairs with failures remembered by one worker" },
};
#undef AT
const struct conf_table auth_options_table = { CONF_TABLE(auth_rows, struct auth_options) };
