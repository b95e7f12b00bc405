/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The generator of mail as a command: its options. */
#include "bench/args.h"
#include "bench/commands.h"
#include "bench/smtp_send.h"
#include "bench/template.h"

#include "proto/sasl/sasl.h"

#include <inttypes.h>
#include <stdio.h>

struct smtp_args {
	struct load_args load;
	struct content_args content;
	const char *from, *to;
	uint64_t recipients, domains;
	bool no_pipelining, bdat, lmtp;
};

#define AT(member) offsetof(struct smtp_args, member)
static const struct arg_row rows[] = {
	LOAD_ROWS(struct smtp_args, load, "messages"),
	CONTENT_ROWS(struct smtp_args, content),
	{ "recipients", ARG_COUNT, AT(recipients), 1, 100000, "N", "of each message (default 1)" },
	{ "from", ARG_STRING, AT(from), 0, 0, "ADDRESS", "sender; %n is the message's number" },
	{ "to", ARG_STRING, AT(to), 0, 0, "ADDRESS",
		"recipient; %n number, %d number modulo --domains" },
	{ "domains", ARG_COUNT, AT(domains), 1, 0, "N", "for %d (default 1)" },
	{ "auth", ARG_STRING, AT(load.to.auth), 0, 0, "USER:PASSWORD", "log in with this account" },
	{ "mechanism", ARG_STRING, AT(load.mechanism), 0, 0, "NAME",
		"PLAIN (default), LOGIN, SCRAM-SHA-256, SCRAM-SHA-256-PLUS" },
	{ "no-pipelining", ARG_FLAG, AT(no_pipelining), 0, 0, NULL, "wait for each reply" },
	{ "bdat", ARG_FLAG, AT(bdat), 0, 0, NULL, "BDAT in place of DATA" },
	{ "lmtp", ARG_FLAG, AT(lmtp), 0, 0, NULL, "speak LMTP" },
	{ 0 },
};

static bool set_up(struct load *load, void *arg)
{
	const struct smtp_args *args = arg;
	struct smtp_plan *plan = load->plan;

	*plan = (struct smtp_plan){ .from = args->from,
		.to = args->to,
		.recipients = args->recipients,
		.domains = args->domains,
		.thread = args->content.thread,
		.pipelining = !args->no_pipelining,
		.bdat = args->bdat };
	load->target.lmtp = args->lmtp;
	load->target.mechanism = sasl_mech_find(slice_str(args->load.mechanism));
	if (!load->target.mechanism)
		return args_wrong("mechanism", args->load.mechanism,
			"PLAIN, LOGIN, SCRAM-SHA-256 or SCRAM-SHA-256-PLUS");
	return load_set_up(load, &args->load) && load_template(&args->content, &plan->template);
}

static int run(struct load *load, const void *arg)
{
	const struct smtp_args *args = arg;
	char title[256];

	snprintf(title, sizeof(title), "%s: %" PRIu64 " connections, %s, tls %s%s%s",
		args->load.to.target, args->load.connections, args->content.size,
		args->load.to.tls ? args->load.to.tls : "none",
		args->no_pipelining ? ", no pipelining" : "", args->bdat ? ", BDAT" : "");
	return load_command(load, &args->load, title, "message");
}

int bench_smtp(char **argv)
{
	struct smtp_args args = { .load = LOAD_ARGS_INIT,
		.content = CONTENT_ARGS_INIT,
		.recipients = 1,
		.domains = 1,
		.from = "sender@example.test",
		.to = "user%n@d%d.example.test" };
	struct smtp_plan plan = { 0 };
	struct load load = { .kind = &smtp_kind, .plan = &plan };
	struct load_program program = { rows, &args, set_up, run };

	args.load.to.target = "127.0.0.1:25";
	args.load.mechanism = "PLAIN";
	int status = load_main(&program, &load, argv);

	template_free(plan.template);
	return status;
}
