/* SPDX-License-Identifier: GPL-2.0-or-later */
/* list.h - doubly linked lists whose links live in their members.
 *
 * A list is a ring of links with the head among them. A link that was zeroed or removed is "not in
 * a list", and removing it again is harmless. The list owns nothing; nothing here can fail. */
#ifndef CORE_BASE_LIST_H
#define CORE_BASE_LIST_H

#include "core/base/types.h"

struct list_link {
	struct list_link *prev, *next;
};

struct list {
	struct list_link head;
};

static inline void list_init(struct list *l)
{
	l->head.prev = l->head.next = &l->head;
}

static inline bool list_empty(const struct list *l)
{
	return l->head.next == &l->head;
}

static inline bool list_has(const struct list_link *link)
{
	return link->next != NULL;
}

static inline void list_insert_after(struct list_link *at, struct list_link *link)
{
	link->prev = at;
	link->next = at->next;
	at->next->prev = link;
	at->next = link;
}

static inline void list_push(struct list *l, struct list_link *link)
{
	list_insert_after(l->head.prev, link);
}

static inline void list_push_front(struct list *l, struct list_link *link)
{
	list_insert_after(&l->head, link);
}

static inline void list_remove(struct list_link *link)
{
	if (!link->next)
		return;
	link->prev->next = link->next;
	link->next->prev = link->prev;
	link->prev = link->next = NULL;
}

/* NULL when empty. */
static inline struct list_link *list_first(const struct list *l)
{
	return list_empty(l) ? NULL : l->head.next;
}

static inline struct list_link *list_next(const struct list *l, const struct list_link *link)
{
	return link->next == &l->head ? NULL : link->next;
}

static inline struct list_link *list_pop(struct list *l)
{
	struct list_link *first = list_first(l);

	if (first)
		list_remove(first);
	return first;
}

/* The present link may be removed (and freed) in the body. */
#define list_each(l, link)                                                       \
	for (struct list_link *link = (l)->head.next, *link##_next = link->next; \
		link != &(l)->head; link = link##_next, link##_next = link->next)

#endif
