/* SPDX-License-Identifier: GPL-2.0-or-later */
/* control.h - the control socket: one JSON object a line, asked and answered; a member "behind" says how many
 * octets stand behind the line as they are. Requests may be sent ahead; they are answered in order.
 *
 * A unix socket of mode 0600, served by the first worker. Each request runs on a fiber of its connection,
 * so one that waits delays nobody else; requests and answers are bounded, and lists come by pages.
 * Framing only: what can be asked is admin.h's. */
#ifndef SERVER_CONTROL_H
#define SERVER_CONTROL_H

#include "core/base/base.h"

struct control;
struct service;
struct worker;

enum { CONTROL_REQUEST_MAX = 48 * 1024, CONTROL_ANSWER_MAX = 4 * 1024 * 1024 };
enum { CONTROL_DATA_MAX = 256 * 1024 }; /* behind a line */

/* Takes the listening descriptor over, whatever happens. */
enum err control_start(struct service *svc, struct worker *w, int fd,
	struct control **out) must_use;
/* On its worker: listen no more, end the connections. NULL is harmless. */
void control_stop(struct control *control);

#endif
