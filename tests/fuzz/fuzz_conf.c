/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Oracle: a file is either refused with a complaint, or equals itself when read again. */
#include "core/conf.h"

struct item {
	slice name, text;
	int64_t number;
};

struct options {
	slice text, path;
	bool flag;
	int64_t number, size, time;
	int word;
	struct addr addr;
	struct conf_strings texts;
	struct conf_addresses addrs;
	struct conf_cidrs nets;
	struct conf_list items, map;
};

static const struct conf_row item_rows[] = {
	{ "text", CONF_STRING, offsetof(struct item, text), CONF_REQUIRED, .doc = "" },
	{ "number", CONF_INT, offsetof(struct item, number), 0, "5", -10, 10, .doc = "" },
};
static const struct conf_table item_table = { CONF_TABLE(item_rows, struct item) };
static const char *const words[] = { "one", "two", NULL };

#define AT(member) offsetof(struct options, member)
static const struct conf_row rows[] = {
	{ "text", CONF_STRING, AT(text), 0, .max = 20, .doc = "" },
	{ "path", CONF_PATH, AT(path), 0, .doc = "" },
	{ "a.flag", CONF_BOOL, AT(flag), 0, .doc = "" },
	{ "a.number", CONF_INT, AT(number), 0, "1", -5, 100, .doc = "" },
	{ "a.size", CONF_SIZE, AT(size), 0, .doc = "" },
	{ "a.b.time", CONF_DURATION, AT(time), 0, .doc = "" },
	{ "word", CONF_ENUM, AT(word), 0, .words = words, .doc = "" },
	{ "addr", CONF_ADDRESS, AT(addr), 0, .doc = "" },
	{ "texts", CONF_STRINGS, AT(texts), 0, .max = 5, .doc = "" },
	{ "addrs", CONF_ADDRESSES, AT(addrs), 0, .doc = "" },
	{ "nets", CONF_CIDRS, AT(nets), 0, .doc = "" },
	{ "items", CONF_STRUCTS, AT(items), 0, .sub = &item_table, .doc = "" },
	{ "map", CONF_MAP, AT(map), 0, .sub = &item_table, .doc = "" },
};
static const struct conf_table table = { CONF_TABLE(rows, struct options) };
static const struct conf_table *const tables[] = { &table };
static const struct conf_schema schema = { tables, 1 };

static enum err parse(slice text, struct conf **out)
{
	struct out errors = out_heap(1 << 20);
	enum err err = conf_parse(&schema, text, "/f/x.yaml", &errors, out);

	must((err == OK) == (errors.len == 0));
	out_heap_done(&errors);
	return err;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct conf *one = NULL, *two = NULL;
	struct out changed = out_heap(4096);
	slice text = slice_of(data, size);

	if (parse(text, &one) == OK) {
		must(parse(text, &two) == OK);
		must(conf_compare(one, two, &changed) == 0);
		const struct options *o = conf_options(one, &table);

		must(o->number >= -5 && o->number <= 100 && o->texts.count <= 5);
		must(o->text.ptr == NULL || (o->text.len <= 20 && o->text.ptr[o->text.len] == 0));
	}
	conf_put(one);
	conf_put(two);
	out_heap_done(&changed);
	return 0;
}
