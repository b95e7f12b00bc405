/* SPDX-License-Identifier: GPL-2.0-or-later */
/* post.h - asking another worker to do something.
 *
 * The only way data crosses between threads. A post is embedded in its owner and belongs to
 * the receiver until `run` is called there, from the loop; run may free it or post it on.
 * Posts of one sender to one receiver run in order. Sending never blocks and never fails; a
 * sleeping receiver is woken once however many posts it gets. Posts sent after workers_join()
 * are lost. */
#ifndef CORE_POST_H
#define CORE_POST_H

#include "core/base/base.h"

struct worker;

struct post {
	struct post *next;
	void (*run)(struct worker *w, struct post *post);
};

/* From any thread; also to oneself: it then runs later in this turn, or in the next. */
void post_to(unsigned worker, struct post *post);

/* Run fn(worker, arg) on that worker's loop and wait for it, uninterruptibly, on the calling
 * fiber. fn must not wait. On the same worker it is called directly. */
void post_call(unsigned worker, void (*fn)(struct worker *w, void *arg), void *arg);
/* The same with fn on a fiber there, where it may wait; its result is returned. */
enum err post_call_fiber(unsigned worker, enum err (*fn)(struct worker *w, void *arg),
	void *arg) must_use;

#endif
