/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The tables behind words.h. */
#include "proto/imap/words.h"

struct word {
	slice name;
	unsigned bit;
};

static const slice codes[] = { [IMAP_CODE_NONE] = SLICE_INIT(""),
#define X(name, text) [IMAP_CODE_##name] = SLICE_INIT(text),
	IMAP_CODE_TABLE(X)
#undef X
};

static const struct word uses[] = {
	{ SLICE_INIT("\\Drafts"), IMAP_USE_DRAFTS },
	{ SLICE_INIT("\\Sent"), IMAP_USE_SENT },
	{ SLICE_INIT("\\Junk"), IMAP_USE_JUNK },
	{ SLICE_INIT("\\Trash"), IMAP_USE_TRASH },
	{ SLICE_INIT("\\Archive"), IMAP_USE_ARCHIVE },
	{ SLICE_INIT("\\All"), IMAP_USE_ALL },
	{ SLICE_INIT("\\Flagged"), IMAP_USE_FLAGGED },
	{ SLICE_INIT("\\Important"), IMAP_USE_IMPORTANT },
};

static const struct word status_items[] = {
	{ SLICE_INIT("MESSAGES"), IMAP_STATUS_MESSAGES },
	{ SLICE_INIT("UIDNEXT"), IMAP_STATUS_UIDNEXT },
	{ SLICE_INIT("UIDVALIDITY"), IMAP_STATUS_UIDVALIDITY },
	{ SLICE_INIT("UNSEEN"), IMAP_STATUS_UNSEEN },
	{ SLICE_INIT("DELETED"), IMAP_STATUS_DELETED },
	{ SLICE_INIT("SIZE"), IMAP_STATUS_SIZE },
	{ SLICE_INIT("RECENT"), IMAP_STATUS_RECENT },
	{ SLICE_INIT("HIGHESTMODSEQ"), IMAP_STATUS_HIGHESTMODSEQ },
	{ SLICE_INIT("APPENDLIMIT"), IMAP_STATUS_APPENDLIMIT },
	{ SLICE_INIT("MAILBOXID"), IMAP_STATUS_MAILBOXID },
	{ SLICE_INIT("DELETED-STORAGE"), IMAP_STATUS_DELETED_STORAGE },
};

static unsigned find_bit(const struct word *words, size_t len, slice name)
{
	for (size_t i = 0; i < len; i++)
		if (slice_eq_nocase(words[i].name, name))
			return words[i].bit;
	return 0;
}

slice imap_code_name(enum imap_code code)
{
	return codes[code];
}

unsigned imap_use_bit(slice attribute)
{
	return find_bit(uses, array_len(uses), attribute);
}

bool imap_put_uses(struct out *o, unsigned set)
{
	bool any = false;

	for (size_t i = 0; i < array_len(uses); i++) {
		if (!(set & uses[i].bit))
			continue;
		if (any)
			out_char(o, ' ');
		out_slice(o, uses[i].name);
		any = true;
	}
	return any;
}

unsigned imap_status_bit(slice word)
{
	return find_bit(status_items, array_len(status_items), word);
}

slice imap_status_name(unsigned bit)
{
	for (size_t i = 0; i < array_len(status_items); i++)
		if (status_items[i].bit == bit)
			return status_items[i].name;
	return (slice){ 0 };
}
