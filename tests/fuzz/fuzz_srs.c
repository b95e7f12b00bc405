/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Any sender leads back to itself, and nothing foreign is taken for ours. */
#include "relay/srs.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct srs srs = { .secret = SLICE("secret"), .now = 1, .expire_ms = 86400000 };
	char made[1024], back[1024];
	struct out o = out_fixed(made, sizeof(made)), b = out_fixed(back, sizeof(back));
	slice in = slice_of(data, size);

	if (!srs_reverse(&srs, in, &b))
		must(srs_is(in));
	b = out_fixed(back, sizeof(back));
	if (srs_forward(&srs, in, SLICE("own.test"), &o))
		return 0;
	slice local = slice_sub(out_written(&o), 0, o.len - SLICE("@own.test").len);

	must(srs_is(local) && local.len <= 64);
	/* What was SRS1 of somebody else leads back to the first forwarder, not to the sender. */
	if (!slice_starts_nocase(in, SLICE("SRS"))) {
		enum err err = srs_reverse(&srs, local, &b);

		must(!err && slice_eq(out_written(&b), in));
	}
	return 0;
}
