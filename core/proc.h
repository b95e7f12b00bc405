/* SPDX-License-Identifier: GPL-2.0-or-later */
/* proc.h - being a daemon: limits, signals, systemd, privileges and the small root helper.
 *
 * For the start of the program and its control thread, never for a worker: calls here may block.
 * Order at start: proc_start, load the configuration, proc_helper_start (if root), bind through
 * proc_bind, proc_drop, workers_start, proc_notify("READY=1"). Whatever can fail returns an err
 * and, where `why` is given, one line of text in it. */
#ifndef CORE_PROC_H
#define CORE_PROC_H

#include "core/addr.h"

enum { PROC_WHY = 256 };

/* RLIMIT_NOFILE to its hard limit, SIGPIPE ignored, umask 027, descriptors of systemd noted,
 * stdin/out/err open; memory that was freed goes back to the system. */
void proc_start(void);
/* The limit that proc_start reached. */
unsigned proc_files_max(void);

/* From now on a mapped file that ends early, or cannot be read from the disk, is named as the reason on
 * stderr before SIGBUS ends the process, as it does without this. */
void proc_explain_bus(void);

/* --- Signals: blocked in all threads started later, read from a descriptor --- */
/* SIGTERM, SIGINT, SIGHUP, SIGUSR1. Call before any thread starts. A signalfd, non-blocking. */
enum err proc_signals_open(int *out_fd) must_use;
/* The next signal number, 0: none waiting. */
int proc_signals_next(int fd);
/* Block until one comes (for a main thread with nothing else to do). */
int proc_signals_wait(int fd, msec timeout_ms);

/* --- systemd, spoken directly --- */
/* "READY=1", "STOPPING=1", "RELOADING=1\nMONOTONIC_USEC=..."; without NOTIFY_SOCKET nothing
 * happens. */
void proc_notify(const char *state);
/* RELOADING=1 with its time stamp. */
void proc_notify_reloading(void);
/* How often WATCHDOG=1 is expected (half of WATCHDOG_USEC); 0: never. */
msec proc_watchdog_ms(void);
/* The path of a file of the credentials folder; false without such a folder, or for a name with a
 * slash. Whether it is there shows when it is opened, perhaps by the root helper. */
bool proc_credential(const char *name, char *buf, size_t cap);
/* A listening socket passed by systemd for this address, taken once; -1: none. */
int proc_take_socket(const struct addr *addr);

/* --- Privileges --- */
/* The helper is a child that stays root. It asks `allow` (in the child: have it load the
 * configuration file anew) before it opens or binds anything, so a request for what the file does
 * not name is refused whoever asks. */
enum proc_request { PROC_OPEN_READ, PROC_BIND };
struct proc_helper {
	/* `path` for PROC_OPEN_READ, `addr` for PROC_BIND. */
	bool (*allow)(enum proc_request what, const char *path, const struct addr *addr, void *arg);
	void *arg;
};
/* Fork it; before threads, before proc_drop. Ends with us. */
enum err proc_helper_start(const struct proc_helper *helper, char why[PROC_WHY]) must_use;
void proc_helper_stop(void);

/* Bound and listening, close-on-exec, SO_REUSEPORT for TCP (call it once per worker). Taken from
 * systemd, made here, or by the helper when we may not. A stale unix socket file is replaced;
 * `mode` is its permission (0: 0660). */
enum err proc_bind(const struct addr *addr, unsigned mode, int *out_fd,
	char why[PROC_WHY]) must_use;
/* For reading; by the helper when we may not. */
enum err proc_open_read(const char *path, int *out_fd) must_use;
/* The whole file, at most `max` bytes, the same way; appended to `o`. ERR_TOO_LARGE. */
enum err proc_read_file(const char *path, size_t max, struct out *o) must_use;

/* Become that user and group ("" or NULL user: stay; group NULL: the user's own) with no
 * supplementary groups and no_new_privs; verified. Only root can. */
enum err proc_drop(const char *user, const char *group, char why[PROC_WHY]) must_use;

/* Whether proc_drop would find the two. ERR_NOT_FOUND. */
enum err proc_user_known(const char *user, const char *group, char why[PROC_WHY]) must_use;

/* Resident bytes of this process, for metrics; 0 when unknown. */
uint64_t proc_rss_bytes(void);

#endif
