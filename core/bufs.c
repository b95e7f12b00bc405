/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Free lists of byte buffers. A free buffer's first word links to the next. */
#include "core/bufs.h"

#include "core/worker_int.h"

#include <stdlib.h>

static const size_t class_bytes[] = { BUFS_SMALL, BUFS_LARGE, BUFS_PIECE };

static bool fault(struct worker *w)
{
#ifdef RP_FAULTS
	return w->ring.faults.fail_alloc && --w->ring.faults.fail_alloc == 0;
#else
	(void)w;
	return false;
#endif
}

static void *pop(struct bufs_class *c)
{
	void *buf = c->free;

	if (buf) {
		memcpy(&c->free, buf, sizeof(void *));
		c->free_count--;
		c->low_count = MIN(c->low_count, c->free_count);
	}
	return buf;
}

/* The class that fits without much waste; none: NULL. */
static struct bufs_class *class_for(struct worker *w, size_t want, size_t *out_cap)
{
	size_t at = want <= BUFS_SMALL ? 0 : want <= BUFS_LARGE ? 1 : 2;
	bool fits = at < 2 || (want > BUFS_PIECE / 2 && want <= BUFS_PIECE);

	*out_cap = fits ? class_bytes[at] : want;
	return fits ? &w->bufs.classes[at] : NULL;
}

void *bufs_get(struct worker *w, size_t want, size_t *out_cap)
{
	size_t cap;

	if (fault(w))
		return NULL;
	struct bufs_class *class = class_for(w, want, &cap);
	void *buf = class ? pop(class) : NULL;

	if (!buf)
		buf = malloc(cap);
	if (!buf)
		return NULL;
	bufs_account(w, (ptrdiff_t)cap);
	*out_cap = cap;
	return buf;
}

void bufs_put(struct worker *w, void *buf, size_t cap)
{
	if (!buf)
		return;
	bufs_account(w, -(ptrdiff_t)cap);
	for (size_t i = 0; i < array_len(class_bytes); i++) {
		struct bufs_class *c = &w->bufs.classes[i];

		if (cap != class_bytes[i])
			continue;
		memcpy(buf, &c->free, sizeof(void *));
		c->free = buf;
		c->free_count++;
		return;
	}
	free(buf);
}

size_t bufs_used_bytes(const struct worker *w)
{
	return w->bufs.used_bytes;
}

bool bufs_over_limit(const struct worker *w)
{
	return w->bufs.max_bytes && w->bufs.used_bytes > w->bufs.max_bytes;
}

void bufs_account(struct worker *w, ptrdiff_t bytes)
{
	w->bufs.used_bytes += (size_t)bytes;
	stat_set(w, bufs_bytes, w->bufs.used_bytes);
}

/* What was free all the time since the last call was not needed. */
void bufs_trim(struct worker *w)
{
	for (size_t i = 0; i < array_len(class_bytes); i++) {
		struct bufs_class *c = &w->bufs.classes[i];

		for (unsigned n = c->low_count; n; n--)
			free(pop(c));
		c->low_count = c->free_count;
	}
}

void bufs_done(struct worker *w)
{
	for (size_t i = 0; i < array_len(class_bytes); i++) {
		void *buf;

		while ((buf = pop(&w->bufs.classes[i])))
			free(buf);
	}
}
