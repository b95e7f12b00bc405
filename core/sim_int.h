/* SPDX-License-Identifier: GPL-2.0-or-later */
/* sim_int.h - the parts of the simulation among themselves: clock and events (sim.c), reactor
 * (ring_sim.c), network (sim_net.c), disk (sim_disk.c). One thread; nothing here is locked. */
#ifndef CORE_SIM_INT_H
#define CORE_SIM_INT_H

#include "core/base/heap.h"
#include "core/file_int.h"
#include "core/sim.h"
#include "core/worker_int.h"

/* Descriptors of the simulation begin here, so that a stray system call on one fails. */
enum { SIM_SOCKETS = 1 << 20, SIM_FILES = 1 << 21 };

struct sim {
	struct sim_config config;
	bool active, crashed;
	uint64_t random;
	int64_t now_us;
	wall_ms wall_base; /* wall clock minus monotonic one */
	struct heap events;
	uint64_t event_count;
	unsigned crash_at; /* writes and syncs to go; 0: never */
	bool ended[WORKERS_MAX];
};
extern struct sim sim;

bool sim_chance(unsigned per_mille);

/* Something that happens `us` from now. Allocated by its maker, freed by fire. Returns the
 * moment. */
struct sim_event {
	struct heap_node node;
	void (*fire)(struct sim_event *event);
};
int64_t sim_at(int64_t us_from_now, struct sim_event *event);
void *sim_alloc(size_t bytes);

/* The result of an op, told in the next turn of its worker. Stale ops are ignored. */
struct sim_op_ref {
	struct worker *w; /* NULL: none */
	uint64_t user_data;
};
struct sim_op_ref sim_op_ref(struct worker *w, const struct op *op);
/* NULL when it has ended. */
struct op *sim_op(struct sim_op_ref ref);
void sim_complete(struct sim_op_ref ref, int res);
/* The same with the bytes of a receive. */
void sim_complete_recv(struct sim_op_ref ref, const char *bytes, size_t len);
bool sim_has_results(const struct worker *w);
bool sim_has_buffer(const struct worker *w);

/* True: a crash begins with this write. Counts every write and sync. */
bool sim_count_write(void);

void sim_net_begin(struct worker *w, struct op *op);
void sim_net_cancel(struct worker *w, struct op *op);
void sim_net_reset(void);
enum err sim_net_socket(const struct addr *like, enum ring_socket_kind kind, int *out_fd);
enum err sim_net_bind(int fd, const struct addr *to, bool share_port);
enum err sim_net_listen(int fd, int backlog);
void sim_net_shutdown(int fd, int how);
void sim_net_close(int fd);
struct addr sim_net_local(int fd);
void sim_net_say(int fd, slice text);

void sim_disk_begin(struct worker *w, struct op *op);
/* Lose what was not synced, sector by sector. */
void sim_disk_crash(void);
void sim_disk_drop(void);

#endif
