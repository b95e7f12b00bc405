/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Envelopes from disk: what decodes encodes to something that decodes alike, and every slice lies
 * inside the input. */
#include "relay/envelope.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void must_lie_inside(slice s, slice whole)
{
	must(s.len == 0 || (s.ptr >= whole.ptr && s.ptr + s.len <= whole.ptr + whole.len));
}

static void must_match(const struct envelope *x, const struct envelope *y)
{
	must(x->trace == y->trace && x->size == y->size && x->rcpt_count == y->rcpt_count);
	must(x->body == y->body && x->ret == y->ret && x->origin == y->origin);
	must(x->lane == y->lane && x->hops == y->hops && x->smtputf8 == y->smtputf8);
	must(x->has_priority == y->has_priority && x->priority == y->priority);
	must(slice_eq(x->sender, y->sender) && slice_eq(x->envid, y->envid));
	for (uint32_t i = 0; i < x->rcpt_count; i++) {
		must(slice_eq(x->rcpts[i].address, y->rcpts[i].address));
		must(slice_eq(x->rcpts[i].orcpt, y->rcpts[i].orcpt));
		must(x->rcpts[i].notify == y->rcpts[i].notify);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	slice in = slice_of(data, size);
	struct arena a = { 0 };
	struct envelope e, again;

	if (envelope_decode(in, &a, &e) == OK) {
		struct out o = out_heap(1 << 24);

		must_lie_inside(e.sender, in);
		must_lie_inside(e.account, in);
		for (uint32_t i = 0; i < e.rcpt_count; i++)
			must_lie_inside(e.rcpts[i].address, in);
		envelope_encode(&e, &o);
		must(out_ok(&o) && envelope_decode(out_written(&o), &a, &again) == OK);
		must_match(&e, &again);
		out_heap_done(&o);
	}
	arena_done(&a);
	return 0;
}
