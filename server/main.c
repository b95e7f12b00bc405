/* SPDX-License-Identifier: GPL-2.0-or-later */
/* main.c - the program: its commands, a row each.
 *
 * `serve` becomes the server (server/service.c). Everything else is a question to a running server over
 * its control socket, or to the data folder when none runs (server/remote.c), worded by the same
 * handlers (server/admin_*.c). Start reading here, then core/worker.h, core/conn.h,
 * server/smtp/smtp_session.c, server/intake.c, relay/queue.h. */
#include "server/cli.h"
#include "server/commands.h"

static const struct cli_flag check_flags[] = {
	{ "docs", NULL, "print every option as Markdown instead" },
	{ "metrics", NULL, "print every metric as Markdown instead" },
	{ NULL, NULL, NULL },
};
static const struct cli_flag domain_add_flags[] = {
	{ "scram", "on|off", "keep SCRAM keys of its accounts (on)" },
	{ "sign", "optional|required", "required: mail without a usable DKIM key is held" },
	{ NULL, NULL, NULL },
};
static const struct cli_flag domain_remove_flags[] = {
	{ "with-accounts", NULL, "remove its accounts too" },
	{ NULL, NULL, NULL },
};
static const struct cli_flag password_flags[] = {
	{ "password-stdin", NULL,
		"read the password from standard input; otherwise it is made and printed" },
	{ "from-domains", "LIST", "further domains it may send as, with commas between" },
	{ "from-any", NULL, "the account may use any sender address" },
	{ NULL, NULL, NULL },
};
static const struct cli_flag dkim_add_flags[] = {
	{ "selector", "NAME", "the label of the DNS record" },
	{ "type", "rsa|ed25519", "kind of a new key (rsa)" },
	{ "bits", "N", "size of a new RSA key (2048)" },
	{ "key-file", "PEM", "import this private key" },
	{ NULL, NULL, NULL },
};
static const struct cli_flag selector_flags[] = {
	{ "selector", "NAME", "only this one" },
	{ NULL, NULL, NULL },
};
static const struct cli_flag queue_flags[] = {
	{ "id", "ID", "a message, or one recipient of it (ID.N)" },
	{ "sender", "ADDRESS", "address, @domain, or <> for reports" },
	{ "recipient", "ADDRESS", "address" },
	{ "domain", "NAME", "of the recipient" },
	{ "age", "TIME", "at least this old (15m, 4h, 5d)" },
	{ "newer", "TIME", "at most this old" },
	{ "state", "STATE", "ready, active, parked or held" },
	{ "all", NULL, "everything, without a filter" },
	{ NULL, NULL, NULL },
};
static const struct cli_flag fsck_flags[] = {
	{ "rebuild", NULL, "make the index anew from snapshot, journal and bodies" },
	{ NULL, NULL, NULL },
};

static const struct cli_column domain_columns[] = {
	{ "domain", "DOMAIN" },
	{ "scram", "SCRAM" },
	{ "sign", "SIGN" },
	{ "created", "CREATED" },
	{ NULL, NULL },
};
static const struct cli_column account_columns[] = {
	{ "account", "ACCOUNT" },
	{ "scram", "SCRAM" },
	{ "disabled", "DISABLED" },
	{ "created", "CREATED" },
	{ NULL, NULL },
};
static const struct cli_column key_columns[] = {
	{ "selector", "SELECTOR" },
	{ "type", "TYPE" },
	{ "bits", "BITS" },
	{ "created", "CREATED" },
	{ NULL, NULL },
};
static const struct cli_column record_columns[] = { { "text", "" }, { NULL, NULL } };
static const struct cli_column queue_columns[] = {
	{ "id", "ID" },
	{ "state", "STATE" },
	{ "recipient", "RECIPIENT" },
	{ "attempts", "TRIES" },
	{ "next_attempt", "NEXT" },
	{ "last_reply", "LAST REPLY" },
	{ NULL, NULL },
};
static const struct cli_column show_columns[] = {
	{ "id", "ID" },
	{ "state", "STATE" },
	{ "sender", "SENDER" },
	{ "recipient", "RECIPIENT" },
	{ "size", "SIZE" },
	{ "attempts", "TRIES" },
	{ "received", "RECEIVED" },
	{ "next_attempt", "NEXT" },
	{ "last_reply", "LAST REPLY" },
	{ "waits_for", "WAITS FOR" },
	{ "held_by", "HELD BY" },
	{ NULL, NULL },
};

static const struct cli_command commands[] = {
	{ "serve", NULL, NULL, "run the server", NULL, NULL, command_serve },
	{ "check", NULL, NULL, "read the configuration and say all that is wrong with it",
		check_flags, NULL, command_check },
	{ "domain", "add", "DOMAIN", "take mail for a domain, and let it have accounts and keys",
		domain_add_flags, NULL, command_ask },
	{ "domain", "list", NULL, "all domains", NULL, domain_columns, command_ask },
	{ "domain", "remove", "DOMAIN", "forget a domain and its keys", domain_remove_flags, NULL,
		command_ask },
	{ "account", "add", "USER@DOMAIN", "make an account that may submit mail", password_flags,
		NULL, command_password },
	{ "account", "list", "[DOMAIN]", "the accounts of a domain, or all", NULL, account_columns,
		command_ask },
	{ "account", "passwd", "USER@DOMAIN", "set a new password", password_flags, NULL,
		command_password },
	{ "account", "remove", "USER@DOMAIN", "forget an account", NULL, NULL, command_ask },
	{ "dkim", "add", "DOMAIN", "make or import a signing key, and print its DNS record",
		dkim_add_flags, NULL, command_dkim_add },
	{ "dkim", "list", "DOMAIN", "the keys of a domain", selector_flags, key_columns,
		command_ask },
	{ "dkim", "dns", "DOMAIN", "the DNS records to publish", selector_flags, record_columns,
		command_ask },
	{ "dkim", "remove", "DOMAIN", "forget the key of --selector", selector_flags, NULL,
		command_ask },
	{ "queue", "list", "[ID]", "recipients that wait", queue_flags, queue_columns,
		command_queue },
	{ "queue", "show", "[ID]",
		"the same with all that is known: state, next attempt, last reply, why",
		queue_flags, show_columns, command_queue },
	{ "queue", "count", NULL, "recipients by state", queue_flags, NULL, command_queue },
	{ "queue", "retry", "[ID]", "try now", queue_flags, NULL, command_queue },
	{ "queue", "hold", "[ID]", "keep until released", queue_flags, NULL, command_queue },
	{ "queue", "release", "[ID]", "let go what is held", queue_flags, NULL, command_queue },
	{ "queue", "bounce", "[ID]", "return to the sender with a report", queue_flags, NULL,
		command_queue },
	{ "queue", "remove", "[ID]", "delete without a report", queue_flags, NULL, command_queue },
	{ "stats", NULL, NULL, "numbers: of the server, its relay and its store", NULL, NULL,
		command_ask },
	{ "top", NULL, NULL, "a live screen of rates", NULL, NULL, command_top },
	{ "snapshot", NULL, NULL, "copy the index beside it now, as before a backup", NULL, NULL,
		command_ask },
	{ "fsck", NULL, NULL,
		"verify the data folder of a stopped server; exit status 0: clean or repaired, "
		"1: damaged, --rebuild repairs it, 2: something is lost",
		fsck_flags, NULL, command_fsck },
	{ "version", NULL, NULL, "print the version", NULL, NULL, command_version },
	{ NULL, NULL, NULL, NULL, NULL, NULL, NULL },
};

int main(int argc, char **argv)
{
	return cli_main(commands, argc, argv);
}
