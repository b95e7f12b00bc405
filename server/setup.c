/* SPDX-License-Identifier: GPL-2.0-or-later */
/* setup.c - one configuration in force, and the doors that use it.
 *
 * The option tables of every module are gathered here. Loading reads the file, the certificates
 * and the trust store, and reports all that is wrong with any of them. */
#include "server/door.h"
#include "server/entry.h"

#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "core/proc.h"
#include "core/rsa_batch.h"
#include "core/tls.h"
#include "relay/local.h"
#include "relay/relay.h"
#include "store/store.h"

static const struct conf_table *const tables[] = { &service_options_table, &tls_options_table,
	&smtp_options_table, &pop3_options_table, &imap_options_table, &auth_options_table,
	&store_conf_table, &relay_conf, &local_conf, &rsa_batch_options_table };
const struct conf_schema setup_schema = { tables, array_len(tables) };

/* Doors that speak TLS from the first byte need a certificate. */
static enum err check_doors(const struct setup *setup, struct out *errors)
{
	const struct conf_list *doors = &setup->service->listen;
	const struct tls_options *tls = conf_options(setup->conf, &tls_options_table);
	slice path = conf_path(setup->conf);

	if (tls->certificates.count)
		return OK;
	for (size_t i = 0; i < doors->count; i++)
		if (entry_is_tls(conf_item(doors, struct listen_options, i)->service)) {
			out_printf(errors, "%.*s: service %s needs tls.certificates\n",
				SLICE_ARG(path),
				service_words[conf_item(doors, struct listen_options, i)->service]);
			return ERR_INVALID;
		}
	return OK;
}

enum err setup_become_user(const struct setup *setup, struct out *why)
{
	const struct service_options *o = setup->service;
	char reason[PROC_WHY] = "";
	enum err err;

	if (o->user.len == 0 || geteuid() != 0)
		return OK;
	err = proc_drop(o->user.ptr, o->group.len ? o->group.ptr : NULL, reason);
	if (err)
		out_printf(why, "%s\n", reason);
	return err;
}

enum err setup_load_options(const char *path, struct out *errors, struct setup **out)
{
	struct setup *setup = calloc(1, sizeof(*setup));
	enum err err;

	if (!setup)
		return ERR_NOMEM;
	setup->refs = 1;
	err = conf_load(&setup_schema, path, errors, &setup->conf);
	if (err) {
		setup_put(setup);
		return err;
	}
	setup->service = conf_options(setup->conf, &service_options_table);
	setup->smtp = conf_options(setup->conf, &smtp_options_table);
	setup->pop3 = conf_options(setup->conf, &pop3_options_table);
	setup->imap = conf_options(setup->conf, &imap_options_table);
	setup->auth = conf_options(setup->conf, &auth_options_table);
	*out = setup;
	return OK;
}

const char *setup_control_path(const struct service_options *o, char out[SETUP_CONTROL_PATH])
{
	if (o->control.len)
		snprintf(out, SETUP_CONTROL_PATH, "%s", o->control.ptr);
	else
		snprintf(out, SETUP_CONTROL_PATH, "%s/control.sock", o->data.ptr);
	return out;
}

enum err setup_load(const char *path, struct out *errors, struct setup **out)
{
	struct setup *setup;
	const struct tls_options *tls;
	enum err err = setup_load_options(path, errors, &setup), bad;

	if (err)
		return err;
	tls = conf_options(setup->conf, &tls_options_table);
	err = check_doors(setup, errors);
	if (tls->certificates.count) {
		bad = tls_server_new(tls, errors, &setup->tls);
		err = err ? err : bad;
	}
	bad = tls_client_new(tls, errors, &setup->tls_client);
	err = err ? err : bad;
	if (err) {
		setup_put(setup);
		return err;
	}
	*out = setup;
	return OK;
}

struct setup *setup_hold(struct setup *setup)
{
	atomic_fetch_add_explicit(&setup->refs, 1, memory_order_relaxed);
	return setup;
}

void setup_put(struct setup *setup)
{
	if (!setup || atomic_fetch_sub_explicit(&setup->refs, 1, memory_order_acq_rel) != 1)
		return;
	tls_server_put(setup->tls);
	tls_client_put(setup->tls_client);
	conf_put(setup->conf);
	free(setup);
}

void door_join(struct door *door, struct door_session *ds)
{
	ds->door = door;
	list_push(&door->sessions, &ds->link);
	door->session_count++;
}

void door_leave(struct door_session *ds)
{
	struct door *door = ds->door;

	list_remove(&ds->link);
	door->session_count--;
	if (door->detached && door->session_count == 0)
		door_free(door);
}

void door_free(struct door *door)
{
	list_remove(&door->link);
	setup_put(door->setup);
	arena_done(&door->scratch);
	free(door);
}
