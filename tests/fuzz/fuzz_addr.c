/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Addresses and networks: whatever is read is written, and read again the same. */
#include "core/addr.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_addr(slice in)
{
	struct arena a = { 0 };
	struct addr addr, again;
	char text[256];
	struct out o = out_fixed(text, sizeof(text));

	if (addr_parse(&a, in, &addr)) {
		addr_put(&o, &addr);
		must(out_ok(&o) && addr_parse(&a, out_written(&o), &again));
		must(addr_eq(&addr, &again));
	}
	arena_done(&a);
}

static void check_net(slice in)
{
	struct addr_net net;

	if (addr_parse_net(in, &net))
		must(net.bits <= 128 && addr_in_net(&net.addr, &net));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	slice in = slice_of(data, size);

	check_addr(in);
	check_net(in);
	return 0;
}
