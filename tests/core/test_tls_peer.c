/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Both ends against the openssl command, over loopback, on real workers: what is negotiated, what
 * is refused, resumption, channel binding, key updates, verification. */
#include "core/conn.h"
#include "core/dial.h"
#include "core/fiber.h"
#include "core/job.h"
#include "core/listen.h"
#include "core/proc.h"
#include "core/rsa_batch.h"
#include "core/base/codec.h"
#include "core/tls.h"
#include "tests/core/certs.h"
#include "tests/core/workers.h"

#include <signal.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#define EC "ec -pkeyopt ec_paramgen_curve:P-256"
#define RSA "rsa:2048"

static struct tls_server *server;
static struct tls_client *client;

static void set_up(void)
{
	cr_assert_eq(tls_start(), OK);
	certs_make("ec", EC, "DNS:mx.a.test");
	certs_make("rsa", RSA, "DNS:mx.a.test");
}

static void tear_down(void)
{
	tls_server_put(server);
	tls_client_put(client);
	tls_stop();
	certs_done();
}

TestSuite(tls_peer, .init = set_up, .fini = tear_down, .timeout = 100);

/* --- Our server --- */

static struct addr server_at;
static struct listener *server_listener;

static void on_closed(struct conn *c, enum err why)
{
	(void)c;
	(void)why;
}

/* One line in, one line about it out, and the end. */
static size_t answer(struct conn *c, slice in)
{
	struct out *o = conn_out(c);
	struct tls_info info;
	ptrdiff_t end = slice_find(in, '\n');

	if (end < 0)
		return 0;
	tls_info(conn_tls(c), &info);
	out_printf(o, "GOT %.*s sni=%.*s alpn=%.*s resumed=%d binding=", (int)end, in.ptr,
		SLICE_ARG(info.sni), SLICE_ARG(info.alpn), info.resumed);
	codec_put_hex(o, tls_exporter(conn_tls(c)));
	out_str(o, ".\n");
	conn_close(c);
	return in.len;
}

static const struct conn_ops answer_ops = { .data = answer, .closed = on_closed };

static void on_accept(struct listener *l, int fd, const struct addr *peer)
{
	struct worker *w = listener_worker(l);
	struct conn_open args = { .fd = fd, .peer = peer, .ops = &answer_ops, .listener = l };
	struct tls_accept accept = { .alpn = "h2,http/1.1", .exporter = true };
	struct conn *c;

	if (conn_open(w, &args, &c) == OK)
		conn_start_tls(c, tls_server_session(server, w, &accept));
}

static void make_server(void)
{
	static const char *const names[] = { "rsa", "ec", NULL };
	struct certs_set set;
	struct out errors = out_heap(4096);

	certs_options(&set, names);
	cr_assert_eq(tls_server_new(&set.options, &errors, &server), OK);
	out_heap_done(&errors);
}

static void serve(struct worker *w)
{
	struct addr at = addr_ip4(0x7f000001, 0);
	struct listen_config config = { .accepted = on_accept };

	check(listen_open(&at, 0, &config.fd) == OK);
	server_at = listen_addr(config.fd);
	check(listener_start(w, &config, &server_listener) == OK);
}

struct run {
	char command[2048], said[65536];
};

static void run_job(void *arg)
{
	struct run *r = arg;
	FILE *f = popen(r->command, "r");
	size_t len = f ? fread(r->said, 1, sizeof(r->said) - 1, f) : 0;

	r->said[len] = 0;
	if (f)
		pclose(f);
}

static const struct {
	const char *why, *input, *options;
	const char *says[3]; /* all must stand in what openssl prints */
	bool refused;        /* and "GOT" must not */
} cases[] = {
	{ "TLS 1.3 prefers ECDSA and AES-128", "hello\\n", "-tls1_3",
		{ "New, TLSv1.3, Cipher is TLS_AES_", "Peer signature type: ECDSA", "GOT hello" },
		false },
	{ "X25519 without a second ClientHello", "hello\\n", "-tls1_3 -msg",
		{ "Server Temp Key: X25519", "GOT hello" }, false },
	{ "RSA when the client signs with nothing else", "hello\\n",
		"-tls1_3 -sigalgs rsa_pss_rsae_sha256",
		{ "Peer signature type: RSA-PSS", "GOT hello" }, false },
	{ "TLS 1.2, RSA with PKCS1", "hello\\n", "-tls1_2 -sigalgs RSA+SHA256",
		{ "New, TLSv1.2, Cipher is ECDHE-RSA-AES", "Peer signature type: RSA",
			"GOT hello" },
		false },
	{ "TLS 1.2, ECDSA", "hello\\n", "-tls1_2", { "Cipher is ECDHE-ECDSA-AES", "GOT hello" },
		false },
	{ "P-256 only", "hello\\n", "-groups P-256", { "Server Temp Key: ECDH", "GOT hello" },
		false },
	{ "a group guessed wrong: HelloRetryRequest", "hello\\n", "-groups P-521:X25519",
		{ "Server Temp Key: X25519", "GOT hello" }, false },
	{ "ChaCha", "hello\\n", "-ciphersuites TLS_CHACHA20_POLY1305_SHA256",
		{ "Cipher is TLS_CHACHA20_POLY1305_SHA256", "GOT hello" }, false },
	{ "SNI reaches us", "hello\\n", "-servername MX.a.test", { "sni=mx.a.test" }, false },
	{ "ALPN by our preference", "hello\\n", "-alpn http/1.1",
		{ "ALPN protocol: http/1.1", "GOT" }, false },
	{ "TLS 1.1", "hello\\n", "-tls1_1 -cipher ALL:@SECLEVEL=0", { "alert protocol version" },
		true },
	{ "no forward secrecy", "hello\\n", "-tls1_2 -cipher AES128-GCM-SHA256",
		{ "alert handshake failure" }, true },
	{ "CBC", "hello\\n", "-tls1_2 -cipher ECDHE-RSA-AES128-SHA", { "alert handshake failure" },
		true },
	{ "unknown ALPN", "hello\\n", "-alpn zz", { "alert no application protocol" }, true },
};

static void connect_openssl(struct run *r, const char *input, const char *options)
{
	snprintf(r->command, sizeof(r->command),
		"(printf '%s'; sleep 0.3) | timeout 20 openssl s_client -connect 127.0.0.1:%u "
		"-ign_eof %s 2>&1",
		input, server_at.port, options);
	job_run(run_job, r);
}

static void try_all(struct worker *w)
{
	struct run *r = malloc(sizeof(*r));

	serve(w);
	for (size_t i = 0; i < array_len(cases); i++) {
		connect_openssl(r, cases[i].input, cases[i].options);
		bool good = cases[i].refused == (strstr(r->said, "GOT") == NULL);

		for (size_t k = 0; k < array_len(cases[i].says) && cases[i].says[k]; k++)
			good = good && strstr(r->said, cases[i].says[k]);
		/* A second ClientHello was not needed. */
		if (strstr(cases[i].options, "-msg"))
			good = good && !strstr(strstr(r->said, "ClientHello") + 1, "ClientHello");
		if (!good)
			fprintf(stderr, "%s: %s\n%s\n", cases[i].why, cases[i].options, r->said);
		check(good);
	}
	free(r);
}

Test(tls_peer, s_client_in_every_way)
{
	make_server();
	run_on_workers(1, try_all);
}

static void resume_openssl(struct worker *w)
{
	static const char *const versions[] = { "-tls1_2", "-tls1_3" };
	struct run *r = malloc(sizeof(*r));
	char options[700];

	serve(w);
	for (size_t i = 0; i < array_len(versions); i++) {
		const char *file = certs_path("session", versions[i] + 1).ptr;

		snprintf(options, sizeof(options), "%s -sess_out %s", versions[i], file);
		connect_openssl(r, "hello\\n", options);
		check(strstr(r->said, "resumed=0") != NULL);
		snprintf(options, sizeof(options), "%s -sess_in %s", versions[i], file);
		connect_openssl(r, "hello\\n", options);
		check(strstr(r->said, "resumed=1") != NULL);
		check(strstr(r->said, "Reused, TLSv1.") != NULL);
	}
	free(r);
}

Test(tls_peer, s_client_resumes)
{
	make_server();
	run_on_workers(1, resume_openssl);
}

/* Both ends print the binding in hex; openssl in capitals. */
static void compare_binding(struct worker *w)
{
	struct run *r = malloc(sizeof(*r));
	char theirs[65] = "", ours[65] = "";

	serve(w);
	connect_openssl(r, "hello\\n",
		"-tls1_3 -keymatexport EXPORTER-Channel-Binding -keymatexportlen 32");
	const char *at = strstr(r->said, "Keying material: ");

	check(at && sscanf(at, "Keying material: %64s", theirs) == 1);
	at = strstr(r->said, "binding=");
	check(at && sscanf(at, "binding=%64[0-9a-f]", ours) == 1);
	check(strlen(ours) == 64 && slice_eq_nocase(slice_str(ours), slice_str(theirs)));
	connect_openssl(r, "hello\\n", "-tls1_2");
	check(strstr(r->said, "binding=.") != NULL);
	free(r);
}

Test(tls_peer, channel_binding_is_the_same)
{
	make_server();
	run_on_workers(1, compare_binding);
}

/* --- A connection that ends while its handshake waits for a signature --- */

static enum err closed_why;
static unsigned closed_count, jobs_done;

static void note_closed(struct conn *c, enum err why)
{
	(void)c;
	closed_why = why;
	closed_count++;
}

static size_t no_data(struct conn *c, slice in)
{
	(void)c;
	check(false);
	return in.len;
}

static const struct conn_ops waiting_ops = { .data = no_data, .closed = note_closed };
static struct rsa_key *other_key;

/* Enough signatures before it that the handshake waits for many turns. */
static void keep_busy(void *arg)
{
	unsigned char digest[32] = { 0 };
	struct rsa_sig sig;

	(void)arg;
	check(rsa_batch_sign(worker_self(), other_key, RSA_PKCS1_SHA256, digest, &sig) == OK);
	jobs_done++;
}

static slice make_hello(struct worker *w, struct out *o)
{
	struct tls_connect to = { .host = SLICE("mx.a.test"), .policy = TLS_REQUIRED };
	struct tls_session *t = tls_client_session(client, w, &to);
	slice none = { 0 };

	check(t->ops->handshake(t, &none, o) == ERR_BUSY);
	t->ops->close(t);
	return out_written(o);
}

/* A helper thread makes it at the first handshake; afterwards only the batch waits. */
static void make_context(struct worker *w, slice hello)
{
	struct tls_session *t = tls_server_session(server, w, &(struct tls_accept){ 0 });
	struct out o = out_heap(65536);

	check(t->ops->handshake(t, &hello, &o) == ERR_BUSY);
	t->ops->close(t);
	out_heap_done(&o);
}

static void close_in_handshake(struct worker *w)
{
	struct rsa_batch_stats stats;
	struct out o = out_heap(65536);
	struct conn_open args = { .ops = &waiting_ops,
		.peer = &(struct addr){ .kind = ADDR_UNIX } };
	struct conn *c = NULL;
	slice hello = make_hello(w, &o);
	int pair[2];

	make_context(w, hello);
	check(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) == 0);
	args.fd = pair[0];
	check(conn_open(w, &args, &c) == OK);
	rsa_batch_stats(w, &stats);
	uint64_t before = stats.signatures;

	for (int i = 0; i < 100; i++)
		check(fiber_start(w, keep_busy, NULL) == OK);
	conn_start_tls(c, tls_server_session(server, w, &(struct tls_accept){ 0 }));
	check(write(pair[1], hello.ptr, hello.len) == (ssize_t)hello.len);
	do {
		check(fiber_sleep(0) == OK);
		rsa_batch_stats(w, &stats);
	} while (stats.signatures + stats.waiting <= before + 100 && jobs_done < 100);
	check(jobs_done < 100);
	conn_abort(c, ERR_TIMEOUT);
	while (!closed_count)
		check(fiber_sleep(0) == OK);
	check(closed_why == ERR_TIMEOUT && closed_count == 1);
	while (jobs_done < 100)
		check(fiber_sleep(0) == OK);
	rsa_batch_stats(w, &stats);
	check(stats.waiting == 0);
	close(pair[1]);
	out_heap_done(&o);
}

static void make_client(const char *ca);

Test(tls_peer, closes_while_waiting_for_a_signature)
{
	static const char *const names[] = { "rsa", NULL };
	struct certs_set set;
	struct out o = out_heap(65536);

	certs_options(&set, names);
	cr_assert_eq(tls_server_new(&set.options, &o, &server), OK);
	make_client("rsa");
	cr_assert_eq(proc_read_file(certs_path("rsa", "key").ptr, 60000, &o), OK);
	cr_assert_eq(rsa_key_parse(out_written(&o), &other_key), OK);
	run_on_workers(1, close_in_handshake);
	rsa_key_put(other_key);
	out_heap_done(&o);
}

/* --- Our client --- */

static pid_t peer_pid;

/* openssl s_server on a free port, reversing every line. */
static void start_peer(const char *cert, const char *options)
{
	char command[1024], line[256];
	int out[2];
	unsigned port = 0;

	snprintf(command, sizeof(command),
		"exec openssl s_server -accept 0 -cert %s/%s.pem -key %s/%s.key -rev %s "
		"2>/dev/null",
		certs_dir.path, cert, certs_dir.path, cert, options);
	cr_assert_eq(pipe(out), 0);
	peer_pid = fork();
	if (peer_pid == 0) {
		dup2(out[1], 1);
		close(out[0]);
		close(out[1]);
		execl("/bin/sh", "sh", "-c", command, NULL);
		_exit(127);
	}
	close(out[1]);
	FILE *f = fdopen(out[0], "r");

	while (!port && fgets(line, sizeof(line), f))
		sscanf(line, "ACCEPT %*[^]]]:%u", &port);
	cr_assert_neq(port, 0);
	server_at = addr_ip4(0x7f000001, (uint16_t)port);
}

static void stop_peer(void)
{
	kill(peer_pid, SIGKILL);
	waitpid(peer_pid, NULL, 0);
}

static void make_client(const char *ca)
{
	static const char *const none[] = { NULL };
	struct certs_set set;
	struct out errors = out_heap(4096);

	tls_client_put(client);
	certs_options(&set, none);
	set.options.ca_file = certs_path(ca, "pem");
	cr_assert_eq(tls_client_new(&set.options, &errors, &client), OK);
	out_heap_done(&errors);
}

static struct {
	const char *host, *version;
	enum tls_policy policy;
	enum err err;
	bool resumes;
} wanted;

/* A line there and back. True: the session was resumed. */
static bool talk(struct worker *w)
{
	struct tls_connect to = { .host = slice_str(wanted.host), .policy = wanted.policy };
	struct conn *c = NULL;
	struct tls_info info;
	slice in = { 0 };

	check(dial(w, &server_at, NULL, &c) == OK);
	enum err err = conn_start_tls_wait(c, tls_client_session(client, w, &to), 20000);

	check(err == wanted.err);
	if (err) {
		conn_abort(c, err);
		return false;
	}
	tls_info(conn_tls(c), &info);
	check(slice_eq(slice_str(info.version), slice_str(wanted.version)));
	check(info.verified == (wanted.policy == TLS_VERIFY));
	bool resumed = info.resumed;

	out_str(conn_out(c), "hello\n");
	conn_flush(c);
	while (in.len < 6 && conn_wait_data(c, &in, 20000) == OK)
		;
	check(slice_eq(in, SLICE("olleh\n")));
	conn_close(c);
	return resumed;
}

static void talk_twice(struct worker *w)
{
	check(!talk(w));
	/* The session is kept when the connection is closed, which takes a moment. */
	while (fiber_sleep(1) == OK) {
		struct worker_stats stats;

		worker_stats(w, &stats);
		if (stats.conns == 0)
			break;
	}
	check(talk(w) == wanted.resumes);
}

static const struct {
	const char *why, *cert, *options, *trust, *host, *version;
	enum tls_policy policy;
	enum err err;
	bool resumes;
} peers[] = {
	{ "TLS 1.3", "ec", "-tls1_3", "ec", "mx.a.test", "TLSv1.3", TLS_OPPORTUNISTIC, OK, true },
	{ "TLS 1.2", "rsa", "-tls1_2", "ec", "mx.a.test", "TLSv1.2", TLS_REQUIRED, OK, true },
	{ "no tickets", "rsa", "-tls1_2 -no_ticket", "ec", "mx.a.test", "TLSv1.2", TLS_REQUIRED, OK,
		false },
	{ "verified, RSA", "rsa", "", "rsa", "mx.a.test", "TLSv1.3", TLS_VERIFY, OK, true },
	{ "verified, ECDSA in 1.2", "ec", "-tls1_2", "ec", "mx.a.test", "TLSv1.2", TLS_VERIFY, OK,
		true },
	{ "not trusted", "rsa", "", "ec", "mx.a.test", "", TLS_VERIFY, ERR_TLS_CERT, false },
	{ "another name", "ec", "", "ec", "mx.b.test", "", TLS_VERIFY, ERR_TLS_CERT, false },
	{ "too old", "rsa", "-tls1_1 -cipher ALL:@SECLEVEL=0", "ec", "mx.a.test", "",
		TLS_OPPORTUNISTIC, ERR_TLS, false },
	{ "finite-field DHE", "rsa", "-tls1_2 -cipher DHE-RSA-AES128-GCM-SHA256", "ec", "mx.a.test",
		"TLSv1.2", TLS_OPPORTUNISTIC, OK, true },
	{ "P-384 by HelloRetryRequest", "ec", "-groups P-384", "ec", "mx.a.test", "TLSv1.3",
		TLS_VERIFY, OK, true },
};

Test(tls_peer, s_server_in_every_way)
{
	for (size_t i = 0; i < array_len(peers); i++) {
		fprintf(stderr, "%s\n", peers[i].why);
		start_peer(peers[i].cert, peers[i].options);
		make_client(peers[i].trust);
		wanted.host = peers[i].host;
		wanted.version = peers[i].version;
		wanted.policy = peers[i].policy;
		wanted.err = peers[i].err;
		wanted.resumes = peers[i].resumes;
		run_on_workers(1, talk_twice);
		stop_peer();
	}
}
