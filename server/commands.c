/* SPDX-License-Identifier: GPL-2.0-or-later */
/* commands.c - what the commands do, apart from `top` and `fsck`.
 *
 * Most are one question to the server and its answer printed; lists are asked for page by page. */
#include "server/commands.h"

#include <stdio.h>
#include <stdlib.h>

#include "core/base/crypt.h"
#include "core/base/text.h"
#include "core/entropy.h"
#include "core/rsa_batch.h"
#include "core/tls.h"
#include "server/door.h"
#include "server/numbers.h"
#include "server/remote.h"
#include "server/service.h"

#ifndef RINGPOST_VERSION
#define RINGPOST_VERSION "0"
#endif

enum { WHY_BYTES = 64 * 1024, KEY_FILE_MAX = 32 * 1024, PASSWORD_LINE = 600, MADE_CHARS = 20 };

int command_why(const struct cli *cli, const struct out *why, enum err err)
{
	slice lines = out_written(why);

	if (lines.len && lines.ptr[lines.len - 1] == '\n')
		lines.len--;
	if (why->len && cli->json)
		cli_fail("%.*s", SLICE_ARG(lines));
	else if (why->len)
		fwrite(why->buf, 1, why->len, stderr);
	else
		cli_fail("%s", err_text(err));
	return CLI_FAILED;
}

int command_serve(struct cli *cli)
{
	return service_run(cli_config_path(cli));
}

int command_version(struct cli *cli)
{
	printf(cli->json ? "{\"version\": \"%s\", \"rsa_engine\": \"%s\"}\n" :
			   "ringpost %s\nRSA signatures by %s\n",
		RINGPOST_VERSION, rsa_batch_engine());
	return CLI_OK;
}

static int print_docs(void)
{
	struct out o = out_heap(1 << 20);

	out_str(&o,
		"# Configuration\n\nPrinted from the option rows by `ringpost check --docs`. "
		"`ringpost.yaml` beside this page is a whole file\nwith every default.\n\n");
	conf_print_markdown(&setup_schema, &o);
	fwrite(o.buf, 1, o.len, stdout);
	out_heap_done(&o);
	return CLI_OK;
}

static int print_metrics(void)
{
	struct out o = out_heap(1 << 20);

	service_register_tables();
	out_str(&o,
		"# Metrics\n\nPrinted from the rows by `ringpost check --metrics`. They are served "
		"as "
		"Prometheus text where the\n`metrics` option says. A summary has quantiles up to "
		"0.9999, `_sum` and `_count`.\n\n");
	numbers_print_markdown(&o);
	fwrite(o.buf, 1, o.len, stdout);
	out_heap_done(&o);
	return CLI_OK;
}

/* {"ok": ..., "file": ..., "errors": [a line each]} */
static void print_verdict(const struct cli *cli, bool ok, const char *file, slice why)
{
	json_t *errors = json_array(), *verdict;
	slice line;

	while (why.len && slice_cut(&why, '\n', &line))
		json_array_append_new(errors, json_stringn(line.ptr, line.len));
	verdict = json_pack("{s:b, s:s, s:o}", "ok", ok, "file", file, "errors", errors);
	cli_print_object(cli, verdict);
	json_decref(verdict);
}

int command_check(struct cli *cli)
{
	struct out why = out_heap(WHY_BYTES);
	struct setup *setup = NULL;
	enum err err;

	if (cli_flag(cli, "docs"))
		return print_docs();
	if (cli_flag(cli, "metrics"))
		return print_metrics();
	err = tls_start();
	if (!err)
		err = setup_load(cli_config_path(cli), &why, &setup);
	if (cli->json && (!err || why.len))
		print_verdict(cli, !err, err ? cli_config_path(cli) : conf_path(setup->conf).ptr,
			out_written(&why));
	else if (err)
		command_why(cli, &why, err);
	else
		printf("%s: good\n", conf_path(setup->conf).ptr);
	setup_put(setup);
	out_heap_done(&why);
	return err ? CLI_FAILED : CLI_OK;
}

/* --- Questions ----------------------------------------------------------------------------------- */

/* MAILBOX becomes the member "mailbox". */
static void add_operand(json_t *request, const struct cli *cli, size_t n)
{
	char member[32];
	slice name;

	if (!cli_operand_name(cli->command, n, &name))
		return;
	snprintf(member, sizeof(member), "%.*s", SLICE_ARG(name));
	text_lower_all(member, strlen(member));
	json_object_set_new(request, member, json_string(cli->operands[n]));
}

static json_t *request_of(const struct cli *cli)
{
	json_t *request = json_object();
	char name[64];

	snprintf(name, sizeof(name), "%s%s%s", cli->command->noun, cli->command->verb ? " " : "",
		cli->command->verb ? cli->command->verb : "");
	json_object_set_new(request, "do", json_string(name));
	if (cli->operand)
		json_object_set_new(request, "name", json_string(cli->operand));
	for (size_t i = 1; i < cli->operand_count; i++)
		add_operand(request, cli, i);
	for (size_t i = 0; i < cli->given_count; i++) {
		const char *value = cli->given[i].value;

		json_object_set_new(request, cli->given[i].name,
			value[0] ? json_string(value) : json_true());
	}
	return request;
}

static bool print_error(const json_t *answer)
{
	const json_t *error = json_object_get(answer, "error");

	if (error)
		cli_fail("%s", json_string_value(error));
	return error != NULL;
}

/* Pages until there are no more. Takes the request over. */
static int ask_and_print(struct cli *cli, struct remote *r, json_t *request)
{
	struct cli_printer printer = { .cli = cli };
	int status = CLI_OK;

	for (bool more = true; more && status == CLI_OK;) {
		json_t *answer = remote_call(r, json_deep_copy(request));
		json_t *rows = json_object_get(answer, "rows"),
		       *next = json_object_get(answer, "next");

		more = next != NULL;
		if (print_error(answer))
			status = CLI_FAILED;
		else if (rows)
			cli_print_rows(&printer, rows);
		else if (json_object_size(answer) || cli->json)
			cli_print_object(cli, answer);
		if (next)
			json_object_set(request, "after", next);
		if (!more && rows && status == CLI_OK)
			cli_print_end(&printer);
		json_decref(answer);
	}
	json_decref(request);
	return status;
}

struct remote *command_connect(struct cli *cli)
{
	struct out why = out_heap(WHY_BYTES);
	struct remote *r = NULL;
	enum err err = remote_open(cli_config_path(cli), cli->timeout_ms, &why, &r);

	if (err)
		command_why(cli, &why, err);
	out_heap_done(&why);
	return err ? NULL : r;
}

static int ask(struct cli *cli, json_t *request)
{
	struct remote *r = command_connect(cli);
	int status;

	if (!r) {
		json_decref(request);
		return CLI_FAILED;
	}
	status = ask_and_print(cli, r, request);
	remote_close(r);
	return status;
}

int command_ask(struct cli *cli)
{
	return ask(cli, request_of(cli));
}

int command_queue(struct cli *cli)
{
	json_t *request = request_of(cli);
	json_t *age = json_object_get(request, "age");

	if (cli->operand)
		json_object_set_new(request, "id", json_string(cli->operand));
	if (age)
		json_object_set(request, "older", age);
	return ask(cli, request);
}

/* --- Passwords ------------------------------------------------------------------------------------- */

static bool read_password(char *out, size_t bytes)
{
	if (!fgets(out, (int)bytes, stdin))
		return false;
	out[strcspn(out, "\r\n")] = '\0';
	return out[0] != '\0';
}

/* About 100 bits, without letters that look alike. */
static void make_password(char *out)
{
	static const char letters[] = "abcdefghjkmnpqrstuvwxyzABCDEFGHJKLMNPQRSTUVWXYZ23456789";

	for (size_t i = 0; i < MADE_CHARS; i++)
		out[i] = letters[entropy_below(sizeof(letters) - 1)];
	out[MADE_CHARS] = '\0';
}

int command_password(struct cli *cli)
{
	char password[PASSWORD_LINE];
	bool made = !cli_flag(cli, "password-stdin");
	json_t *request = request_of(cli);
	int status;

	if (made)
		make_password(password);
	else if (!read_password(password, sizeof(password))) {
		json_decref(request);
		return cli_fail("no password on standard input");
	}
	json_object_set_new(request, "password", json_string(password));
	if (!json_object_get(request, "password")) {
		json_decref(request);
		return cli_fail("a password must be UTF-8");
	}
	bool json = cli->json;

	cli->json = false; /* one object is printed, here */
	status = ask(cli, request);
	if (status == CLI_OK && json)
		printf("{\"account\": \"%s\"%s%s%s}\n", cli->operand,
			made ? ", \"password\": \"" : "", made ? password : "", made ? "\"" : "");
	else if (status == CLI_OK && made)
		printf("password: %s\n", password);
	crypt_wipe(password, sizeof(password));
	return status;
}

/* --- DKIM ---------------------------------------------------------------------------------------------- */

static bool read_file(const char *path, struct out *o)
{
	FILE *file = fopen(path, "r");
	char buf[4096];
	size_t got;

	if (!file)
		return false;
	while ((got = fread(buf, 1, sizeof(buf), file)) > 0)
		out_bytes(o, buf, got);
	fclose(file);
	return out_ok(o) && o->len;
}

int command_dkim_add(struct cli *cli)
{
	json_t *request = request_of(cli);
	const char *path = cli_flag(cli, "key-file"), *bits = cli_flag(cli, "bits");
	struct out pem = out_heap(KEY_FILE_MAX);
	uint64_t n = 0;
	int status = CLI_OK;

	if (bits && !text_parse_uint(slice_str(bits), 16384, &n))
		status = cli_fail("--bits: a number is wanted");
	if (path && !read_file(path, &pem))
		status = cli_fail("%s: cannot be read", path);
	if (status == CLI_OK) {
		if (bits)
			json_object_set_new(request, "bits", json_integer((json_int_t)n));
		if (path)
			json_object_set_new(request, "pem", json_stringn(pem.buf, pem.len));
		status = ask(cli, request);
	} else {
		json_decref(request);
	}
	if (pem.buf)
		crypt_wipe(pem.buf, pem.len);
	out_heap_done(&pem);
	return status;
}
