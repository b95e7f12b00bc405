/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The server of a town with mailboxes: a domain of our own, an account a box.
 *
 * The accounts are made by the first process that lives long enough. */
#include "tests/sim/house.h"
#include "tests/sim/mail_town.h"

#include "core/fiber.h"
#include "core/worker.h"
#include "store/account.h"
#include "store/check.h"

#include <stdio.h>

enum { CALM_MS = 500 };

/* --- Configuration --- */

static const char *const variants[HOUSE_VARIANTS] = {
	"workers: 2\nstore: { spill: 64K, ",
	"workers: 1\nstore: { spill: 16K, gather: 5ms, ",
	"workers: 3\nstore: { spill: 256K, gather: 1s, replay_max: 4M, ",
};
static const char shared[] =
	"segment: 1M, journal_max: 32M, reserve: 1M, map: 4M, shards: 2, snapshot_interval: 0,\n"
	"         body_ram: 1M, cache: 4M }\n"
	"pop3: { plain_login: true }\nimap: { plain_login: true }\n"
	"resolver: { ipv6: false }\n";

void town_write_config(FILE *f, unsigned variant)
{
	static const struct {
		unsigned port;
		const char *service;
	} doors[] = { { 25, "smtp" }, { 24, "lmtp" }, { 110, "pop3" }, { 143, "imap" } };

	fputs("listen:\n", f);
	for (size_t i = 0; i < array_len(doors); i++)
		fprintf(f, "  - { address: %s, port: %u, service: %s, tls: false }\n", TOWN_SERVER,
			doors[i].port, doors[i].service);
	fputs(variants[variant], f);
	fputs(shared, f);
}

/* --- Who lives here --- */

static enum err make_accounts(struct store *st)
{
	struct domain domain = { .name = SLICE(MAIL_TOWN_DOMAIN), .flags = DOMAIN_NO_SCRAM };
	enum err err = domain_put(st, &domain, ROW_PUT);

	for (unsigned box = 0; box < BOXES && !err; box++) {
		char local[16];
		struct account account = { .domain = domain.name,
			.hash = SLICE(MAIL_TOWN_PASSWORD) };

		snprintf(local, sizeof(local), "box%u", box);
		account.local = slice_str(local);
		if (box == MAIL_SMALL_BOX)
			account.quota_messages = MAIL_SMALL_LETTERS;
		err = account_put(st, &account, ROW_CREATE);
		err = err == ERR_EXISTS ? OK : err;
	}
	return err;
}

/* A failing disk may want more than one try. */
static void furnish(struct store *st)
{
	enum err err;

	while ((err = make_accounts(st)) && !town.stopping)
		if (fiber_sleep(100))
			return;
	town.furnished = !err;
}

bool town_move_in(struct worker *w, struct store *st)
{
	if (worker_index(w) == 0)
		furnish(st);
	while (!town.furnished)
		if (town.stopping || fiber_sleep(10))
			return false;
	return true;
}

/* Nobody outside is known. */
enum err town_resolve(void *arg, const char *name, int rrtype, struct resolver_answer *out)
{
	return ERR_DNS_NXDOMAIN;
}

/* --- Is it done? --- */

/* The clients are done; some time more, for what goes on behind them. */
bool town_idle(void *arg)
{
	static msec calm_at;

	if (town.busy || !town.furnished) {
		calm_at = 0;
		return false;
	}
	calm_at = calm_at && calm_at <= clock_now() + CALM_MS ? calm_at : clock_now() + CALM_MS;
	if (clock_now() < calm_at)
		return false;
	calm_at = 0;
	return true;
}

void town_check(bool emptied)
{
	struct check_report report;

	if ((!emptied && house_never_was()) || !house_fsck(false, &report))
		return;
	if (emptied && report.kept_messages != mail_audit.kept)
		oracle_complain("fsck: %llu messages, and the readers saw %llu",
			(unsigned long long)report.kept_messages,
			(unsigned long long)mail_audit.kept);
}
