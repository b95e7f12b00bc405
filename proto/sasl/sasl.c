/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Mechanism names and the base64 of the wire. */
#include "proto/sasl/sasl.h"

#include "core/base/codec.h"

/* Strongest first: the order of offering and of choosing. */
static const struct {
	enum sasl_mech mech;
	slice name;
} rows[] = {
	{ SASL_SCRAM_SHA_256_PLUS, SLICE_INIT("SCRAM-SHA-256-PLUS") },
	{ SASL_SCRAM_SHA_256, SLICE_INIT("SCRAM-SHA-256") },
	{ SASL_PLAIN, SLICE_INIT("PLAIN") },
	{ SASL_LOGIN, SLICE_INIT("LOGIN") },
};

slice sasl_mech_name(enum sasl_mech mech)
{
	for (size_t i = 0; i < array_len(rows); i++)
		if (rows[i].mech == mech)
			return rows[i].name;
	return (slice){ 0 };
}

enum sasl_mech sasl_mech_find(slice name)
{
	for (size_t i = 0; i < array_len(rows); i++)
		if (slice_eq_nocase(rows[i].name, name))
			return rows[i].mech;
	return SASL_NONE;
}

void sasl_put_mechs(struct out *o, unsigned mechs)
{
	for (size_t i = 0; i < array_len(rows); i++)
		if (mechs & rows[i].mech) {
			out_char(o, ' ');
			out_slice(o, rows[i].name);
		}
}

enum sasl_mech sasl_client_choose(const struct sasl_client_conf *conf, unsigned offered)
{
	if (!conf->binding.len)
		offered &= ~(unsigned)SASL_SCRAM_SHA_256_PLUS;
	for (size_t i = 0; i < array_len(rows); i++)
		if (offered & rows[i].mech)
			return rows[i].mech;
	return SASL_NONE;
}

bool sasl_wire_get(struct arena *a, slice line, slice *out)
{
	size_t len = 0;
	void *buf;

	if (slice_eq(line, SLICE("=")))
		line.len = 0;
	buf = arena_alloc(a, codec_base64_max(line.len));
	if (!codec_get_base64(line, buf, &len))
		return false;
	*out = slice_of(buf, len);
	return true;
}

void sasl_wire_put(struct out *o, slice bytes)
{
	codec_put_base64(o, bytes);
}
