/* SPDX-License-Identifier: GPL-2.0-or-later */
/* proc_helper.c - the child that stays root, what we ask of it, and giving up our own rights.
 *
 * One request and one answer at a time over a pair of sequenced-packet sockets; the descriptor
 * comes as SCM_RIGHTS. The child asks `allow` about every request, so whoever takes over the
 * server gets nothing but what the configuration file (which it cannot write) names. */
#include "core/proc.h"

#include "core/listen.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <limits.h>
#include <poll.h>
#include <pthread.h>
#include <pwd.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

enum { PATH_LEN = 1024, ANSWER_MS = 10000, BACKLOG = 4096 };

struct request {
	enum proc_request what;
	unsigned mode;
	struct addr addr; /* its path, if any, is in `path` */
	char path[PATH_LEN];
};

static struct {
	pthread_mutex_t lock;
	int fd;
	pid_t pid;
} helper = { .lock = PTHREAD_MUTEX_INITIALIZER, .fd = -1 };

/* --- What both sides do --- */

static enum err open_read(const char *path, int *out_fd)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
	struct stat st;

	if (fd < 0)
		return errno == ENOENT || errno == ENOTDIR ? ERR_NOT_FOUND :
			errno == EACCES || errno == EPERM  ? ERR_DENIED :
			errno == EMFILE || errno == ENFILE ? ERR_NOFILES :
							     ERR_IO;
	/* Not a pipe or device, on which a read could wait for ever. */
	if (fstat(fd, &st) < 0 || !S_ISREG(st.st_mode)) {
		close(fd);
		return ERR_INVALID;
	}
	*out_fd = fd;
	return OK;
}

static enum err bind_here(const struct addr *addr, unsigned mode, int *out_fd)
{
	int fd;
	enum err err = listen_open(addr, BACKLOG, &fd);

	if (err)
		return err;
	if (addr->kind == ADDR_UNIX && chmod(addr->path, mode ? mode : 0660) < 0) {
		close(fd);
		return ERR_DENIED;
	}
	*out_fd = fd;
	return OK;
}

static bool send_answer(int to, enum err err, int fd)
{
	union {
		struct cmsghdr align;
		char bytes[CMSG_SPACE(sizeof(int))];
	} control = { 0 };
	struct iovec iov = { .iov_base = &err, .iov_len = sizeof(err) };
	struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1 };

	if (!err) {
		msg.msg_control = control.bytes;
		msg.msg_controllen = sizeof(control.bytes);
		struct cmsghdr *c = CMSG_FIRSTHDR(&msg);

		c->cmsg_level = SOL_SOCKET;
		c->cmsg_type = SCM_RIGHTS;
		c->cmsg_len = CMSG_LEN(sizeof(int));
		memcpy(CMSG_DATA(c), &fd, sizeof(fd));
	}
	return sendmsg(to, &msg, MSG_NOSIGNAL) == (ssize_t)sizeof(err);
}

static enum err receive_answer(int from, int *out_fd)
{
	enum err err = ERR_IO;
	union {
		struct cmsghdr align;
		char bytes[CMSG_SPACE(sizeof(int))];
	} control = { 0 };
	struct iovec iov = { .iov_base = &err, .iov_len = sizeof(err) };
	struct msghdr msg = {
		.msg_iov = &iov,
		.msg_iovlen = 1,
		.msg_control = control.bytes,
		.msg_controllen = sizeof(control.bytes),
	};

	if (recvmsg(from, &msg, MSG_CMSG_CLOEXEC) != (ssize_t)sizeof(err))
		return ERR_STOPPED;
	struct cmsghdr *c = CMSG_FIRSTHDR(&msg);

	if (!err && (!c || c->cmsg_type != SCM_RIGHTS))
		return ERR_IO;
	if (!err)
		memcpy(out_fd, CMSG_DATA(c), sizeof(*out_fd));
	return err;
}

/* --- The child --- */

static void answer_one(int fd, struct request *r, const struct proc_helper *rules)
{
	enum err err = ERR_DENIED;
	int made = -1;

	r->path[PATH_LEN - 1] = 0;
	r->addr.path = r->addr.kind == ADDR_UNIX ? r->path : NULL;
	if (rules->allow(r->what, r->path, &r->addr, rules->arg))
		err = r->what == PROC_BIND ? bind_here(&r->addr, r->mode, &made) :
					     open_read(r->path, &made);
	send_answer(fd, err, made);
	if (made >= 0)
		close(made);
}

static _Noreturn void helper_main(int fd, const struct proc_helper *rules)
{
	struct request r;

	/* Among the rest is the lock of the data folder, which must end with the server, not with
	 * us. */
	if (fd > 3)
		close_range(3, (unsigned)fd - 1, 0);
	close_range((unsigned)fd + 1, UINT_MAX, 0);
	prctl(PR_SET_NAME, "ringpost-root");
	/* The terminal's ^C and the service manager's signals are for the server; the end of the
	 * socket ends us. */
	signal(SIGINT, SIG_IGN);
	signal(SIGTERM, SIG_IGN);
	signal(SIGHUP, SIG_IGN);
	for (;;) {
		ssize_t n = recv(fd, &r, sizeof(r), 0);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			_exit(0);
		if (n == (ssize_t)sizeof(r))
			answer_one(fd, &r, rules);
		else
			send_answer(fd, ERR_INVALID, -1);
	}
}

enum err proc_helper_start(const struct proc_helper *rules, char why[PROC_WHY])
{
	int pair[2];

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0) {
		snprintf(why, PROC_WHY, "root helper: %s", strerror(errno));
		return ERR_NOFILES;
	}
	pid_t pid = fork();

	if (pid < 0) {
		snprintf(why, PROC_WHY, "root helper: %s", strerror(errno));
		close(pair[0]);
		close(pair[1]);
		return ERR_NOMEM;
	}
	if (pid == 0) {
		close(pair[0]);
		helper_main(pair[1], rules);
	}
	close(pair[1]);
	helper.fd = pair[0];
	helper.pid = pid;
	return OK;
}

void proc_helper_stop(void)
{
	if (helper.fd < 0)
		return;
	close(helper.fd);
	helper.fd = -1;
	while (waitpid(helper.pid, NULL, 0) < 0 && errno == EINTR)
		;
}

/* --- Our side --- */

static enum err ask_locked(const struct request *r, int *out_fd)
{
	struct pollfd p = { .fd = helper.fd, .events = POLLIN };

	if (helper.fd < 0)
		return ERR_DENIED;
	if (send(helper.fd, r, sizeof(*r), MSG_NOSIGNAL) != (ssize_t)sizeof(*r))
		return ERR_STOPPED;
	/* A late answer would be taken for the next one's: give the helper up. */
	if (poll(&p, 1, ANSWER_MS) <= 0) {
		close(helper.fd);
		helper.fd = -1;
		return ERR_TIMEOUT;
	}
	return receive_answer(helper.fd, out_fd);
}

static enum err ask(const struct request *r, int *out_fd)
{
	pthread_mutex_lock(&helper.lock);
	enum err err = ask_locked(r, out_fd);

	pthread_mutex_unlock(&helper.lock);
	return err;
}

enum err proc_open_read(const char *path, int *out_fd)
{
	enum err err = open_read(path, out_fd);
	struct request r = { .what = PROC_OPEN_READ };

	if (err != ERR_DENIED || helper.fd < 0 || strlen(path) >= PATH_LEN)
		return err;
	memcpy(r.path, path, strlen(path) + 1);
	return ask(&r, out_fd);
}

enum err proc_bind(const struct addr *addr, unsigned mode, int *out_fd, char why[PROC_WHY])
{
	struct request r = { .what = PROC_BIND, .mode = mode, .addr = *addr };
	char text[ADDR_TEXT];
	int fd = proc_take_socket(addr);
	enum err err = OK;

	if (fd < 0) {
		err = bind_here(addr, mode, &fd);
		if (addr->kind == ADDR_UNIX && addr->path)
			snprintf(r.path, sizeof(r.path), "%s", addr->path);
		r.addr.path = NULL;
		if (err == ERR_DENIED && helper.fd >= 0)
			err = ask(&r, &fd);
	}
	if (err) {
		snprintf(why, PROC_WHY, "cannot listen on %s: %s", addr_text(addr, text),
			err == ERR_EXISTS       ? "something is there that is no socket" :
				err == ERR_BUSY ? "the address is in use" :
						  err_text(err));
		return err;
	}
	*out_fd = fd;
	return OK;
}

/* --- Privileges --- */

static enum err refuse(char why[PROC_WHY], const char *what, const char *name)
{
	snprintf(why, PROC_WHY, "%s %s: %s", what, name, errno ? strerror(errno) : "unknown");
	return ERR_DENIED;
}

struct ids {
	uid_t user;
	gid_t group;
};

static enum err find_ids(const char *user, const char *group, char why[PROC_WHY], struct ids *out)
{
	const struct passwd *pw = getpwnam(user);
	const struct group *gr = group && *group ? getgrnam(group) : NULL;

	if (!pw || (group && *group && !gr)) {
		snprintf(why, PROC_WHY, "user %s or group %s does not exist", user,
			group && *group ? group : "(its own)");
		return ERR_NOT_FOUND;
	}
	*out = (struct ids){ .user = pw->pw_uid, .group = gr ? gr->gr_gid : pw->pw_gid };
	return OK;
}

enum err proc_user_known(const char *user, const char *group, char why[PROC_WHY])
{
	struct ids ids;

	return user && *user ? find_ids(user, group, why, &ids) : OK;
}

enum err proc_drop(const char *user, const char *group, char why[PROC_WHY])
{
	struct ids to;

	errno = 0;
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
		return refuse(why, "cannot set", "no_new_privs");
	if (!user || !*user)
		return OK;
	if (find_ids(user, group, why, &to))
		return ERR_NOT_FOUND;
	if (geteuid() != 0 && geteuid() == to.user)
		return OK;
	if (setgroups(0, NULL) < 0 || setresgid(to.group, to.group, to.group) < 0 ||
		setresuid(to.user, to.user, to.user) < 0)
		return refuse(why, "cannot become user", user);
	/* Believe it only when the way back is closed. */
	if (to.user != 0 && (setuid(0) == 0 || seteuid(0) == 0))
		return refuse(why, "could still leave user", user);
	return OK;
}
