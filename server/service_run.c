/* SPDX-License-Identifier: GPL-2.0-or-later */
/* service_run.c - the main thread of `ringpost serve`.
 *
 * It becomes the configured user, starts the server, and then only waits: for signals, and once a
 * second to look at the clock, the store's health and the watchdog. It holds no mail state. */
#include <signal.h>
#include <stdio.h>
#include <unistd.h>

#include "core/log.h"
#include "core/metric.h"
#include "core/proc.h"
#include "core/tls.h"
#include "core/worker.h"
#include "relay/relay.h"
#include "server/health.h"
#include "server/login.h"
#include "server/seat.h"
#include "server/service_int.h"
#include "server/imap/imap_session.h"
#include "server/pop3/pop3_session.h"
#include "server/smtp/smtp_session.h"
#include "store/store.h"

enum { LOOK_MS = 1000, WHY_BYTES = 8192, CLOCK_JUMP_MS = 60000 };

static void say_lines(enum log_level level, const char *what, slice lines)
{
	slice line;

	while (slice_cut(&lines, '\n', &line))
		if (line.len)
			log_text(level, "%s%.*s", what, SLICE_ARG(line));
}

static void reload(struct service *svc)
{
	char buf[WHY_BYTES];
	struct out why = out_fixed(buf, sizeof(buf));
	enum err err;

	proc_notify_reloading();
	err = service_reload(svc, &why);
	say_lines(err ? LOG_ERROR : LOG_WARN, err ? "reload: " : "reload: restart to change ",
		out_written(&why));
	log_text(err ? LOG_ERROR : LOG_INFO, "%s",
		err ? "reload failed, the old configuration stays" : "configuration reloaded");
	proc_notify("READY=1");
}

/* What works, but not as it should. */
static void warn_of_lacks(struct service *svc)
{
	struct store_stats n;
	struct places p;

	store_stats(svc->store, &n);
	places_now(svc, &p);
	if (n.nosync)
		log_text(LOG_WARN, "store.nosync: accepted mail is lost with the power");
	else if (!n.direct)
		log_text(LOG_WARN,
			"the data folder's file system does not take O_DIRECT: writes are "
			"buffered and synced, and slower");
	log_event(LOG_INFO, "places", log_uint("descriptors", p.files),
		log_uint("connections", p.most), log_uint("outgoing", p.outgoing));
	if (p.most + p.reserve > p.files)
		log_text(LOG_WARN,
			"the limit of %u descriptors is small: %u may be needed beside connections",
			p.files, p.reserve);
	if (geteuid() == 0)
		log_text(LOG_WARN, "running as root: name a `user` to become");
}

/* Timers do not follow such a jump, but what is due and what expires is wall time. */
static void watch_clock(msec *ahead)
{
	msec now = clock_wall() - clock_now();

	if (now - *ahead > CLOCK_JUMP_MS || *ahead - now > CLOCK_JUMP_MS)
		log_text(LOG_WARN, "the system's clock was moved by %lld s",
			(long long)((now - *ahead) / 1000));
	*ahead = now; /* slow drift is none */
}

static void watch_store(struct service *svc, struct health *health)
{
	char bad_buf[1024], good_buf[256];
	struct out bad = out_fixed(bad_buf, sizeof(bad_buf));
	struct out good = out_fixed(good_buf, sizeof(good_buf));
	struct health_look look = { .now = clock_now() };
	struct store_stats n;

	store_stats(svc->store, &n);
	look.write_errors = n.write_errors;
	look.index_errors = n.index_errors;
	look.disk_free_bytes = n.disk_free_bytes;
	(void)store_accepting(svc->store, &look.refusing);
	health_tell(health, &look, &bad, &good);
	say_lines(LOG_ERROR, "", out_written(&bad));
	say_lines(LOG_INFO, "", out_written(&good));
}

static void serve(struct service *svc, int signals)
{
	msec watchdog = proc_watchdog_ms(), ahead = clock_wall() - clock_now();
	msec wake = watchdog ? MIN(watchdog, (msec)LOOK_MS) : LOOK_MS;
	struct health health = { 0 };

	warn_of_lacks(svc);
	proc_notify("READY=1");
	log_text(LOG_INFO, "ready");
	for (;;) {
		int signal_number = proc_signals_wait(signals, wake);

		watch_clock(&ahead);
		watch_store(svc, &health);
		if (watchdog)
			proc_notify("WATCHDOG=1");
		if (signal_number == SIGHUP)
			reload(svc);
		else if (signal_number == SIGTERM || signal_number == SIGINT)
			break;
	}
	proc_notify("STOPPING=1");
	log_text(LOG_INFO, "stopping");
	workers_stop();
	service_end(svc);
	log_text(LOG_INFO, "stopped");
}

/* What the root helper may open or bind: what the configuration file, read anew, names. */
static bool helper_allows(enum proc_request what, const char *path, const struct addr *addr,
	void *arg)
{
	char buf[WHY_BYTES];
	struct out why = out_fixed(buf, sizeof(buf));
	struct conf *conf = NULL;
	bool allowed = false;

	if (conf_load(&setup_schema, arg, &why, &conf))
		return false;
	if (what == PROC_BIND)
		allowed = listeners_named(conf, addr);
	else
		allowed = files_named(conf, path);
	conf_put(conf);
	return allowed;
}

static enum err become_user(const struct setup *setup, const char *path, struct out *why)
{
	const struct service_options *o = setup->service;
	struct proc_helper helper = { .allow = helper_allows, .arg = (void *)path };
	char reason[PROC_WHY] = "";
	enum err err;

	if (o->user.len == 0 || geteuid() != 0)
		return OK;
	err = proc_helper_start(&helper, reason);
	if (err)
		out_printf(why, "%s\n", reason);
	return err ? err : setup_become_user(setup, why);
}

void service_register_tables(void)
{
	event_register(&smtp_events);
	event_register(&pop3_events);
	event_register(&imap_events);
	event_register(&relay_events);
	metric_register(&smtp_metrics);
	metric_register(&pop3_metrics);
	metric_register(&imap_metrics);
	imap_init();
	pop3_init();
	seat_init();
	metric_register(&relay_metrics);
	metric_register(&login_metrics);
	metric_register(&tls_metrics);
}

int service_run(const char *config_path)
{
	char buf[WHY_BYTES];
	struct out why = out_fixed(buf, sizeof(buf));
	struct setup *setup = NULL;
	struct service *svc = NULL;
	int signals = -1;
	enum err err;

	proc_start();
	service_register_tables();
	err = tls_start();
	if (!err)
		err = setup_load(config_path, &why, &setup);
	if (!err)
		err = become_user(setup, conf_path(setup->conf).ptr, &why);
	if (!err)
		err = proc_signals_open(&signals);
	if (!err) {
		service_use_log_options(setup);
		err = log_start(0);
	}
	if (!err)
		err = service_start(setup, &why, &svc);
	if (!err)
		serve(svc, signals);
	else
		setup_put(setup);
	proc_helper_stop(); /* or the service manager would have to kill it */
	log_stop(1000);
	if (err && why.len)
		fprintf(stderr, "%.*s%s", SLICE_ARG(out_written(&why)),
			why.buf[why.len - 1] == '\n' ? "" : "\n");
	else if (err)
		fprintf(stderr, "ringpost: %s\n", err_text(err));
	return err ? 1 : 0;
}
