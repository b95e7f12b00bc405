/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Options, users and counts of a generator that runs a mix of commands. */
#include "bench/mixed.h"

#include "proto/sasl/sasl.h"

#include <inttypes.h>
#include <stdio.h>

static bool set_mechanism(struct load *load, const char *name, const char *own)
{
	char allowed[32];

	if (slice_eq(slice_str(name), SLICE("PLAIN")))
		load->target.mechanism = SASL_PLAIN;
	else if (!slice_eq(slice_str(name), slice_str(own))) {
		snprintf(allowed, sizeof(allowed), "%s or PLAIN", own);
		return args_wrong("mechanism", name, allowed);
	}
	return true;
}

bool mixed_set_up(struct mixed *m, struct load *load, const struct load_args *args,
	const struct mix_names *names, const char *own)
{
	if (!args->to.auth)
		return args_wrong("auth", "", "USER:PASSWORD");
	if (!mix_parse(&m->mix, slice_str(m->args->mix), names))
		return args_wrong("mix", m->args->mix, "NAME=WEIGHT,... (see --help)");
	return set_mechanism(load, args->mechanism, own) && load_set_up(load, args);
}

int mixed_run(const struct mixed *m, struct load *load, const struct load_args *args,
	const char *more)
{
	char title[256];

	snprintf(title, sizeof(title), "%s: %" PRIu64 " connections, %s, tls %s%s", args->to.target,
		args->connections, m->args->mix, args->to.tls ? args->to.tls : "none", more);
	return load_command(load, args, title, "operation");
}

slice mixed_expand(const struct mixed *m, const char *pattern, uint64_t user,
	char buf[LOAD_ADDRESS_MAX])
{
	return load_expand(&(struct load_name){ pattern, user, m->args->users, 0 }, buf);
}

slice mixed_user(const struct mixed *m, const struct load_sender *s, uint64_t user,
	char buf[LOAD_ADDRESS_MAX])
{
	char pattern[LOAD_ADDRESS_MAX];

	snprintf(pattern, sizeof(pattern), "%.*s", SLICE_ARG(s->load->target.user));
	return mixed_expand(m, pattern, user, buf);
}

void mixed_count(struct load_sender *s, size_t part, const struct load_task *task,
	const struct talk_cost *cost)
{
	struct report_verb *v = &s->part->report.verbs[part];

	v->items += cost->items;
	v->bytes += cost->bytes;
	histogram_record(&v->done, (talk_now_ns() - task->due_ns) / 1000);
	if (cost->first_ns > task->due_ns)
		histogram_record(&v->first, (cost->first_ns - task->due_ns) / 1000);
}
