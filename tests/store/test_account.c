/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Domains, accounts, keys and settings: what was put is found, listed, and gone when removed. */
#include "store/account.h"
#include "tests/store/store_support.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>

static struct box box;

static void open_box(void)
{
	box_make(&box);
	box_open(&box, NULL, NULL);
}

static void close_box(void)
{
	box_remove(&box);
}

TestSuite(account, .init = open_box, .fini = close_box);

Test(account, a_domain_comes_and_goes)
{
	struct domain d = { .name = SLICE("a.test"), .flags = DOMAIN_SIGN_REQUIRED, .created = 5 };
	enum err failed;

	cr_expect_null(domain_find(box.st, d.name, &failed));
	cr_expect_eq(failed, OK);
	cr_expect_eq(domain_put(box.st, &d, ROW_REPLACE), ERR_NOT_FOUND);
	cr_expect_eq(domain_put(box.st, &d, ROW_CREATE), OK);
	cr_expect_eq(domain_put(box.st, &d, ROW_CREATE), ERR_EXISTS);
	const struct domain *found = domain_find(box.st, d.name, NULL);
	cr_assert(found);
	cr_expect_eq(found->flags, d.flags);
	cr_expect_eq(found->created, 5);
	cr_expect_null(domain_find(box.st, SLICE("a.tes"), NULL));
	cr_expect_null(domain_find(box.st, SLICE("a.test."), NULL));
	cr_expect_eq(domain_remove(box.st, d.name, false), OK);
	cr_expect_null(domain_find(box.st, d.name, NULL));
	cr_expect_eq(domain_remove(box.st, d.name, false), ERR_NOT_FOUND);
}

Test(account, an_account_keeps_all_its_fields)
{
	struct domain d = { .name = SLICE("a.test") };
	struct account acc = { .local = SLICE("alice"),
		.domain = SLICE("a.test"),
		.hash = SLICE("$y$j9T$salt$hash"),
		.scram_salt = SLICE("pepper"),
		.scram_iterations = 4096,
		.from_domains = SLICE("b.test\0c.test"),
		.flags = ACCOUNT_ADMIN,
		.created = 1,
		.changed = 2 };

	memset(acc.scram_stored, 7, 32);
	memset(acc.scram_server, 9, 32);
	cr_assert_eq(domain_put(box.st, &d, ROW_CREATE), OK);
	cr_assert_eq(account_put(box.st, &acc, ROW_CREATE), OK);
	box_close(&box);
	box_open(&box, NULL, NULL);
	const struct account *found = account_find(box.st, acc.local, acc.domain, NULL);
	cr_assert(found);
	cr_expect(slice_eq(found->hash, acc.hash));
	cr_expect(slice_eq(found->scram_salt, acc.scram_salt));
	cr_expect(slice_eq(found->from_domains, acc.from_domains));
	cr_expect_eq(found->scram_iterations, 4096u);
	cr_expect_arr_eq(found->scram_stored, acc.scram_stored, 32);
	cr_expect_arr_eq(found->scram_server, acc.scram_server, 32);
	cr_expect_eq(found->flags, acc.flags);
	cr_expect_eq(found->changed, 2);
	/* A change is seen by the cache at once. */
	acc.hash = SLICE("other");
	cr_assert_eq(account_put(box.st, &acc, ROW_REPLACE), OK);
	found = account_find(box.st, acc.local, acc.domain, NULL);
	cr_expect(slice_eq(found->hash, acc.hash));
	cr_expect_eq(domain_remove(box.st, d.name, false), ERR_BUSY);
	cr_expect_eq(domain_remove(box.st, d.name, true), OK);
	cr_expect_null(account_find(box.st, acc.local, acc.domain, NULL));
}

Test(account, long_keys_come_back_whole)
{
	struct domain d = { .name = SLICE("a.test") };
	static const size_t sizes[] = { 0, 100, 1890, 1901, 4000, 8192 };
	char *pem = malloc(8192), selector[8];
	size_t count;

	cr_assert_eq(domain_put(box.st, &d, ROW_CREATE), OK);
	for (size_t i = 0; i < 8192; i++)
		pem[i] = (char)('a' + i % 23);
	for (unsigned i = 0; i < array_len(sizes); i++) {
		snprintf(selector, sizeof(selector), "s%u", i);
		struct domain_key key = { .domain = d.name,
			.selector = slice_str(selector),
			.pem = slice_of(pem, sizes[i]),
			.kind = KEY_RSA,
			.disabled = i % 2 };
		cr_assert_eq(domain_key_put(box.st, &key, ROW_CREATE), OK, "%zu", sizes[i]);
		cr_assert_eq(domain_key_put(box.st, &key, ROW_CREATE), ERR_EXISTS);
		key.pem = slice_of(pem, 8193);
		cr_expect_eq(domain_key_put(box.st, &key, ROW_PUT), ERR_TOO_LARGE);
	}
	const struct domain_key *keys = domain_keys(box.st, d.name, &count);
	cr_assert_eq(count, array_len(sizes));
	for (unsigned i = 0; i < count; i++) {
		cr_expect(slice_eq(keys[i].pem, slice_of(pem, sizes[i])), "key %u", i);
		cr_expect_eq(keys[i].disabled, i % 2);
		cr_expect_eq(keys[i].selector.ptr[1], '0' + (char)i);
	}
	uint64_t generation = keys[0].generation;
	struct domain_key shorter = {
		.domain = d.name, .selector = SLICE("s5"), .pem = SLICE("short"), .kind = KEY_RSA
	};
	cr_assert_eq(domain_key_put(box.st, &shorter, ROW_REPLACE), OK);
	cr_assert_eq(domain_key_remove(box.st, d.name, SLICE("s1")), OK);
	keys = domain_keys(box.st, d.name, &count);
	cr_assert_eq(count, array_len(sizes) - 1);
	cr_expect(slice_eq(keys[4].pem, SLICE("short")));
	cr_expect_eq(keys[0].generation, generation);
	cr_expect_neq(keys[4].generation, generation);
	free(pem);
}

Test(account, listings_come_in_pages_and_in_order)
{
	struct arena a = { 0 };
	struct domain_page page;
	struct account_page accounts;
	char name[16], last[16] = "";
	slice after = { "", 0 };
	size_t seen = 0;

	for (unsigned i = 0; i < 23; i++) {
		snprintf(name, sizeof(name), "d%02u.test", i * 7 % 23);
		struct domain d = { .name = slice_str(name) };
		cr_assert_eq(domain_put(box.st, &d, ROW_CREATE), OK);
		struct account acc = { .local = slice_str(name), .domain = SLICE("d03.test") };
		cr_assert_eq(account_put(box.st, &acc, ROW_CREATE), OK);
	}
	do {
		cr_assert_eq(domain_list(box.st, after, 5, &a, &page), OK);
		for (size_t i = 0; i < page.len; i++) {
			cr_expect_gt(slice_cmp(page.rows[i].name, slice_str(last)), 0);
			snprintf(last, sizeof(last), "%.*s", SLICE_ARG(page.rows[i].name));
		}
		seen += page.len;
		after = slice_str(last);
	} while (page.more);
	cr_expect_eq(seen, 23u);
	struct account_query query = { .domain = SLICE("d03.test"), .limit = 100 };
	cr_assert_eq(account_list(box.st, &query, &a, &accounts), OK);
	cr_expect_eq(accounts.len, 23u);
	query.domain = SLICE("d04.test");
	cr_assert_eq(account_list(box.st, &query, &a, &accounts), OK);
	cr_expect_eq(accounts.len, 0u);
	arena_done(&a);
}

Test(account, settings)
{
	struct arena a = { 0 };
	struct setting set = { .table = SLICE("t"), .key = SLICE("k"), .value = SLICE("v1") };
	struct setting_page page;
	slice value;

	cr_expect_eq(setting_get(box.st, &set, &a, &value), ERR_NOT_FOUND);
	cr_expect_eq(setting_put(box.st, &set, ROW_PUT), OK);
	cr_expect_eq(setting_get(box.st, &set, &a, &value), OK);
	cr_expect(slice_eq(value, set.value));
	struct setting_query query = { .table = SLICE("t") };
	cr_expect_eq(setting_list(box.st, &query, &a, &page), OK);
	cr_expect_eq(page.len, 1u);
	cr_expect_eq(setting_remove(box.st, set.table, set.key), OK);
	cr_expect_eq(setting_remove(box.st, set.table, set.key), ERR_NOT_FOUND);
	arena_done(&a);
}

Test(account, bad_names_are_refused)
{
	struct domain d = { .name = SLICE("a\0b") };
	struct account acc = { .local = SLICE(""), .domain = SLICE("a.test") };

	cr_expect_eq(domain_put(box.st, &d, ROW_PUT), ERR_INVALID);
	cr_expect_eq(account_put(box.st, &acc, ROW_PUT), ERR_INVALID);
	cr_expect_null(account_find(box.st, SLICE(""), SLICE(""), NULL));
}

Test(account, an_id_is_made_once_and_kept)
{
	struct domain d = {
		.name = SLICE("a.test"), .account_quota_bytes = 7, .quota_messages = 9
	};
	struct account acc = { .local = SLICE("alice"),
		.domain = SLICE("a.test"),
		.quota_bytes = 1 << 20,
		.forward = SLICE("x@b.test\0y@c.test") };
	uint64_t id;

	cr_assert_eq(domain_put(box.st, &d, ROW_CREATE), OK);
	cr_expect_eq(domain_find(box.st, d.name, NULL)->account_quota_bytes, 7u);
	cr_expect_eq(domain_find(box.st, d.name, NULL)->quota_messages, 9u);
	cr_expect_eq(account_put(box.st, &acc, ROW_REPLACE), ERR_NOT_FOUND);
	cr_assert_eq(account_put(box.st, &acc, ROW_PUT), OK);
	const struct account *found = account_find(box.st, acc.local, acc.domain, NULL);
	cr_assert(found && found->id);
	cr_expect(slice_eq(found->forward, acc.forward));
	cr_expect_eq(found->quota_bytes, acc.quota_bytes);
	id = found->id;
	cr_assert_eq(account_put(box.st, &acc, ROW_PUT), OK);
	cr_assert_eq(account_put(box.st, &acc, ROW_REPLACE), OK);
	cr_expect_eq(account_put(box.st, &acc, ROW_CREATE), ERR_EXISTS);
	found = account_find(box.st, acc.local, acc.domain, NULL);
	cr_expect_eq(found->id, id);
	/* Another one of the same name is somebody else. */
	cr_assert_eq(account_remove(box.st, acc.local, acc.domain), OK);
	cr_expect_eq(account_remove(box.st, acc.local, acc.domain), ERR_NOT_FOUND);
	cr_assert_eq(account_put(box.st, &acc, ROW_CREATE), OK);
	found = account_find(box.st, acc.local, acc.domain, NULL);
	cr_expect_neq(found->id, id);
	cr_expect_eq(account_finish_removals(box.st), OK);
}

Test(account, aliases_are_found_listed_and_go_with_their_domain)
{
	struct domain d = { .name = SLICE("a.test") };
	struct alias all = { .domain = d.name, .targets = SLICE("z@b.test") };
	struct alias one = {
		.local = SLICE("sales"), .domain = d.name, .targets = SLICE("x@a.test\0y@b.test")
	};
	struct account_query query = { .domain = d.name, .limit = 1 };
	struct alias_page page;
	struct arena a = { 0 };

	cr_assert_eq(domain_put(box.st, &d, ROW_CREATE), OK);
	cr_expect_null(alias_find(box.st, one.local, d.name, NULL));
	cr_assert_eq(alias_put(box.st, &one, ROW_CREATE), OK);
	cr_expect_eq(alias_put(box.st, &one, ROW_CREATE), ERR_EXISTS);
	cr_assert_eq(alias_put(box.st, &all, ROW_PUT), OK);
	cr_assert(slice_eq(alias_find(box.st, one.local, d.name, NULL)->targets, one.targets));
	cr_assert(slice_eq(alias_find(box.st, SLICE(""), d.name, NULL)->targets, all.targets));
	cr_assert_eq(alias_list(box.st, &query, &a, &page), OK);
	cr_assert_eq(page.len, 2u);
	cr_expect_eq(page.rows[0].local.len, 0u);
	cr_expect(slice_eq(page.rows[1].local, one.local));
	cr_expect_eq(alias_remove(box.st, SLICE(""), d.name), OK);
	cr_expect_eq(alias_remove(box.st, SLICE(""), d.name), ERR_NOT_FOUND);
	cr_expect_eq(domain_remove(box.st, d.name, false), OK);
	cr_expect_null(alias_find(box.st, one.local, d.name, NULL));
	arena_done(&a);
}
