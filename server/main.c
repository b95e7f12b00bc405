/* SPDX-License-Identifier: GPL-2.0-or-later */
/* main.c - the program: its commands, a row each.
 *
 * `serve` becomes the server (server/service.c). Everything else is a question to a running server over
 * its control socket, or to the data folder when none runs (server/remote.c), worded by the same
 * handlers (server/admin_*.c). Start reading here, then core/worker.h, core/conn.h,
 * server/smtp/smtp_session.c, server/intake.c, relay/queue.h. */
#include "core/proc.h"
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
static const struct cli_flag domain_set_flags[] = {
	{ "scram", "on|off", "keep SCRAM keys of its accounts" },
	{ "sign", "optional|required", "required: mail without a usable DKIM key is held" },
	{ "quota", "SIZE", "bytes that all of its accounts may hold together (5G), or none" },
	{ "quota-messages", "N", "the same in messages" },
	{ "account-quota", "SIZE", "of an account that has none of its own" },
	{ "account-quota-messages", "N", "the same in messages" },
	{ "disable", NULL, "take no mail for it" },
	{ "enable", NULL, "take mail again" },
	{ NULL, NULL, NULL },
};
static const struct cli_flag account_set_flags[] = {
	{ "quota", "SIZE", "bytes it may hold (5G), or none" },
	{ "quota-messages", "N", "the same in messages" },
	{ "forward", "LIST", "send its mail on to these addresses, with commas between; or none" },
	{ "no-copy", NULL, "keep nothing of what is forwarded" },
	{ "copy", NULL, "keep it too" },
	{ "from-domains", "LIST", "further domains it may send as, with commas between; or none" },
	{ "from-any", NULL, "it may use any sender address" },
	{ "from-own", NULL, "the way back: addresses of its own and of those domains" },
	{ "disable", NULL, "no login, and no mail; its sessions end" },
	{ "enable", NULL, "the way back" },
	{ NULL, NULL, NULL },
};
static const struct cli_flag alias_add_flags[] = {
	{ "replace", NULL, "one that is there gets other targets" },
	{ NULL, NULL, NULL },
};
static const struct cli_flag mailbox_create_flags[] = {
	{ "use", "NAME", "what it is for: drafts, sent, junk, trash, archive, ..." },
	{ NULL, NULL, NULL },
};
static const struct cli_flag message_flag_flags[] = {
	{ "add", "LIST",
		"\\Seen, \\Answered, \\Flagged, \\Deleted, \\Draft and keywords, with commas "
		"between" },
	{ "remove", "LIST", "likewise" },
	{ "set", "LIST", "these and no others" },
	{ NULL, NULL, NULL },
};
static const struct cli_flag message_copy_flags[] = {
	{ "to", "MAILBOX", "where to" },
	{ "move", NULL, "and away from here" },
	{ NULL, NULL, NULL },
};
static const struct cli_flag import_flags[] = {
	{ "format", "mbox|maildir", "instead of looking" },
	{ "mailbox", "NAME", "where a single mailbox goes, and below what a tree does (INBOX)" },
	{ "state", "FILE", "how far it got, for another call (beside the source)" },
	{ NULL, NULL, NULL },
};
static const struct cli_flag export_flags[] = {
	{ "format", "mbox|maildir", "mbox for a file, maildir for a folder, unless told" },
	{ "mailbox", "NAME", "only this one; a single mbox holds one (INBOX)" },
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
	{ "quota", "QUOTA" },
	{ NULL, NULL },
};
static const struct cli_column alias_columns[] = {
	{ "alias", "ALIAS" },
	{ "targets", "TARGETS" },
	{ NULL, NULL },
};
static const struct cli_column mailbox_columns[] = {
	{ "mailbox", "MAILBOX" },
	{ "messages", "MESSAGES" },
	{ "unseen", "UNSEEN" },
	{ "bytes", "BYTES" },
	{ "use", "USE" },
	{ NULL, NULL },
};
static const struct cli_column message_columns[] = {
	{ "uid", "UID" },
	{ "received", "RECEIVED" },
	{ "size", "SIZE" },
	{ "flags", "FLAGS" },
	{ "from", "FROM" },
	{ "subject", "SUBJECT" },
	{ NULL, NULL },
};
static const struct cli_column key_columns[] = {
	{ "domain", "DOMAIN" },
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
	{ "domain", "set", "DOMAIN", "change its quotas and rules", domain_set_flags, NULL,
		command_ask },
	{ "domain", "remove", "DOMAIN", "forget a domain and its keys", domain_remove_flags, NULL,
		command_ask },
	{ "account", "add", "USER@DOMAIN", "make an account: it gets and may submit mail",
		password_flags, NULL, command_password },
	{ "account", "list", "[DOMAIN]", "the accounts of a domain, or all", NULL, account_columns,
		command_ask },
	{ "account", "passwd", "USER@DOMAIN", "set a new password", password_flags, NULL,
		command_password },
	{ "account", "set", "USER@DOMAIN", "change its quota, forwards and state",
		account_set_flags, NULL, command_ask },
	{ "account", "remove", "USER@DOMAIN", "forget an account, and all of its mail", NULL, NULL,
		command_ask },
	{ "alias", "add", "NAME@DOMAIN TARGETS",
		"another name: its mail goes to these addresses, with commas between; @DOMAIN "
		"takes what nobody else has",
		alias_add_flags, NULL, command_ask },
	{ "alias", "list", "DOMAIN", "the aliases of a domain", NULL, alias_columns, command_ask },
	{ "alias", "remove", "NAME@DOMAIN", "forget an alias", NULL, NULL, command_ask },
	{ "mailbox", "list", "USER@DOMAIN", "the mailboxes of an account", NULL, mailbox_columns,
		command_ask },
	{ "mailbox", "create", "USER@DOMAIN MAILBOX", "make one, with those above it",
		mailbox_create_flags, NULL, command_ask },
	{ "mailbox", "delete", "USER@DOMAIN MAILBOX", "remove one with its messages", NULL, NULL,
		command_ask },
	{ "mailbox", "rename", "USER@DOMAIN MAILBOX TO", "with all that are below it", NULL, NULL,
		command_ask },
	{ "message", "list", "USER@DOMAIN MAILBOX [UIDS]", "messages (1:5,7,9:*), or all", NULL,
		message_columns, command_ask },
	{ "message", "show", "USER@DOMAIN MAILBOX UID", "one as it is, byte by byte", NULL, NULL,
		command_message_show },
	{ "message", "flag", "USER@DOMAIN MAILBOX UIDS", "change flags and keywords",
		message_flag_flags, NULL, command_ask },
	{ "message", "delete", "USER@DOMAIN MAILBOX UIDS", "remove for good", NULL, NULL,
		command_ask },
	{ "message", "copy", "USER@DOMAIN MAILBOX UIDS", "copy or move to another mailbox",
		message_copy_flags, NULL, command_ask },
	{ "quota", "show", "USER@DOMAIN", "what an account (or a domain) holds and may hold", NULL,
		NULL, command_ask },
	{ "quota", "recount", "USER@DOMAIN", "count every message, and put right what was kept",
		NULL, NULL, command_ask },
	{ "import", NULL, "USER@DOMAIN FILE-OR-DIR",
		"mail of an mbox or a Maildir, with flags and dates; a second call goes on where "
		"the first ended",
		import_flags, NULL, command_import },
	{ "export", NULL, "USER@DOMAIN DIR-OR-FILE",
		"into an mbox or a Maildir, with flags and dates; a second call goes on",
		export_flags, NULL, command_export },
	{ "dkim", "add", "DOMAIN", "make or import a signing key, and print its DNS record",
		dkim_add_flags, NULL, command_dkim_add },
	{ "dkim", "list", "[DOMAIN]", "the keys of a domain, or all", selector_flags, key_columns,
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
	proc_explain_bus();
	return cli_main(commands, argc, argv);
}
