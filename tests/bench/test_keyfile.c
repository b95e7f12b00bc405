/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Key records as zone files write them. */
#include "bench/keyfile.h"

#include <criterion/criterion.h>

static slice find(struct keyfile *k, const char *name)
{
	return keyfile_find(k, slice_str(name));
}

Test(keyfile, reads_zone_form_and_bare_form)
{
	struct keyfile k = { 0 };
	unsigned line;

	cr_assert_eq(keyfile_parse(&k,
			     SLICE("; comment\n\n"
				   "s1._domainkey.example.test. IN TXT ( \"v=DKIM1; k=rsa; \"\n"
				   "    \"p=AB\" \"CD\" ) ; tail\n"
				   "S2._DomainKey.example.test v=DKIM1; p=XY\r\n"),
			     &line),
		OK);
	cr_assert_eq(k.count, 2);
	cr_assert(slice_eq(find(&k, "s1._domainkey.EXAMPLE.test"),
		SLICE("v=DKIM1; k=rsa; p=ABCD")));
	cr_assert(slice_eq(find(&k, "s2._domainkey.example.test"), SLICE("v=DKIM1; p=XY")));
	cr_assert_eq(find(&k, "s3._domainkey.example.test").len, 0);
	keyfile_done(&k);
}

Test(keyfile, says_which_line_is_wrong)
{
	struct keyfile k = { 0 };
	unsigned line;

	cr_assert_eq(keyfile_parse(&k, SLICE("s1._domainkey.a v=DKIM1; p=A\nnonsense\n"), &line),
		ERR_INVALID);
	cr_assert_eq(line, 2);
	keyfile_done(&k);
}
