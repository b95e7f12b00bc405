/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Our own two ends against each other in memory: choice of certificate, policies, resumption,
 * channel binding, reload, and records in every division. */
#include "core/tls.h"

#include "core/entropy.h"
#include "core/fiber.h"
#include "tests/core/certs.h"
#include "tests/core/workers.h"

#include <stdlib.h>

#define EC "ec -pkeyopt ec_paramgen_curve:P-256"
#define RSA "rsa:2048"

static struct tls_server *server;
static struct tls_client *client;

/* --- A pair of ends --- */

struct pair {
	struct tls_session *c, *s;
	struct out to_s, to_c; /* records on the way */
	slice rest_s, rest_c;
	size_t step; /* bytes handed over at once; 0: all */
	enum err err_c, err_s;
};

static struct tls_connect to_host(const char *host, enum tls_policy policy)
{
	return (struct tls_connect){ .host = slice_str(host), .policy = policy, .port = 25 };
}

static void pair_open(struct pair *p, struct worker *w, const struct tls_connect *to,
	const struct tls_accept *accept)
{
	*p = (struct pair){ .to_s = out_heap(1 << 20), .to_c = out_heap(1 << 20) };
	p->c = tls_client_session(client, w, to);
	p->s = tls_server_session(server, w, accept);
	check(p->c && p->s);
}

static void pair_close(struct pair *p)
{
	p->c->ops->close(p->c);
	p->s->ops->close(p->s);
	out_heap_done(&p->to_s);
	out_heap_done(&p->to_c);
}

/* Give what is on the way to one end, in pieces. */
static enum err hand_over(struct tls_session *t, struct out *way, struct out *answer, size_t step)
{
	size_t len = way->len, at = 0;
	char *bytes = malloc(len + 1);
	enum err err = ERR_BUSY;

	if (len)
		memcpy(bytes, way->buf, len);
	way->len = 0;
	while (err == ERR_BUSY && (at < len || len == 0)) {
		size_t n = step ? MIN(step, len - at) : len;
		slice in = slice_of(bytes + at, n);

		err = t->ops->handshake(t, &in, answer);
		check(err != ERR_BUSY || in.len == 0);
		at += n - in.len;
		if (len == 0)
			break;
	}
	/* What came behind the handshake (tickets) goes back for reading. */
	char *rest = bytes + at;
	size_t rest_len = len - at;

	if (rest_len) {
		struct out again = out_heap(1 << 20);

		out_bytes(&again, rest, rest_len);
		out_slice(&again, out_written(way));
		out_heap_done(way);
		*way = again;
	}
	free(bytes);
	return err;
}

static void shake(struct pair *p)
{
	p->err_c = p->err_s = ERR_BUSY;
	for (int turn = 0; turn < 10; turn++) {
		if (p->err_c == ERR_BUSY)
			p->err_c = hand_over(p->c, &p->to_c, &p->to_s, p->step);
		if (p->err_s == ERR_BUSY && p->to_s.len)
			p->err_s = hand_over(p->s, &p->to_s, &p->to_c, p->step);
		if (p->err_c != ERR_BUSY && p->err_s != ERR_BUSY)
			return;
	}
}

/* Everything `from` wrote is read by `to`; how many bytes, and do they match `text` repeated? */
static size_t read_all(struct tls_session *t, struct out *way, struct out *answer, char *buf)
{
	slice in = out_written(way);
	size_t total = 0, n;

	for (;;) {
		enum err err = t->ops->read(t, &in, buf + total, 1 << 16, &n, answer);

		if (err == ERR_BUSY)
			break;
		check(err == OK);
		if (err)
			break;
		total += n;
	}
	check(in.len == 0);
	way->len = 0;
	return total;
}

static void exchange(struct pair *p, size_t len)
{
	char *sent = malloc(len), *got = calloc(1, len + (1 << 17));

	for (size_t i = 0; i < len; i++)
		sent[i] = (char)(i * 7 + i / 251);
	check(p->c->ops->write(p->c, slice_of(sent, len), &p->to_s) == OK);
	check(read_all(p->s, &p->to_s, &p->to_c, got) == len && memcmp(sent, got, len) == 0);
	check(p->s->ops->write(p->s, slice_of(sent, len), &p->to_c) == OK);
	check(read_all(p->c, &p->to_c, &p->to_s, got) == len && memcmp(sent, got, len) == 0);
	free(sent);
	free(got);
}

/* Both ends change their keys while data is on the way (RFC 8446 4.6.3). */
static void update_keys(struct pair *p)
{
	check(tls_update_keys(p->c, &p->to_s) == OK);
	check(tls_update_keys(p->s, &p->to_c) == OK);
	exchange(p, 5000);
}

static struct tls_info info_of(const struct tls_session *t)
{
	struct tls_info info;

	tls_info(t, &info);
	return info;
}

/* --- Setting up --- */

static void make_server(const char *const *names, enum tls_min min)
{
	struct certs_set set;
	struct out errors = out_heap(4096);

	certs_options(&set, names);
	set.options.min_version = min;
	cr_assert_eq(tls_server_new(&set.options, &errors, &server), OK, "%.*s",
		SLICE_ARG(out_written(&errors)));
	out_heap_done(&errors);
}

static void make_client(const char *ca)
{
	struct certs_set set;
	const char *const none[] = { NULL };
	struct out errors = out_heap(4096);

	certs_options(&set, none);
	if (ca)
		set.options.ca_file = certs_path(ca, "pem");
	cr_assert_eq(tls_client_new(&set.options, &errors, &client), OK);
	out_heap_done(&errors);
}

static void set_up(void)
{
	cr_assert_eq(tls_start(), OK);
}

static void tear_down(void)
{
	tls_server_put(server);
	tls_client_put(client);
	tls_stop();
	certs_done();
}

TestSuite(tls, .init = set_up, .fini = tear_down);

/* --- Handshakes --- */

static size_t division;

static void shake_and_talk(struct worker *w)
{
	struct tls_connect to = to_host("MX.a.test", TLS_REQUIRED);
	struct pair p;

	to.exporter = true;
	pair_open(&p, w, &to, &(struct tls_accept){ .exporter = true });
	p.step = division;
	shake(&p);
	check(p.err_c == OK && p.err_s == OK);
	check(slice_eq(slice_str(info_of(p.s).version), SLICE("TLSv1.3")));
	check(slice_eq(info_of(p.s).sni, SLICE("mx.a.test")));
	check(info_of(p.c).bits == 128 || info_of(p.c).bits == 256);
	check(strlen(info_of(p.c).cipher) > 5);
	check(!info_of(p.c).resumed && !info_of(p.c).verified);
	check(tls_exporter(p.c).len == 32);
	check(slice_eq(tls_exporter(p.c), tls_exporter(p.s)));
	exchange(&p, 100);
	exchange(&p, 100000);
	update_keys(&p);
	exchange(&p, 100);
	pair_close(&p);
}

Test(tls, ecdsa)
{
	certs_make("a", EC, "DNS:mx.a.test");
	make_server((const char *const[]){ "a", NULL }, TLS_MIN_12);
	make_client("a");
	run_on_workers(1, shake_and_talk);
}

Test(tls, rsa_waits_for_the_batch)
{
	certs_make("a", RSA, "DNS:mx.a.test");
	make_server((const char *const[]){ "a", NULL }, TLS_MIN_12);
	make_client("a");
	run_on_workers(1, shake_and_talk);
}

Test(tls, byte_by_byte)
{
	division = 1;
	certs_make("a", RSA, "DNS:mx.a.test");
	make_server((const char *const[]){ "a", NULL }, TLS_MIN_13);
	make_client("a");
	run_on_workers(1, shake_and_talk);
}

/* --- Which certificate --- */

/* True when the certificate that answers for `host` is the one the client trusts (our trust is a
 * single self-signed certificate). */
static bool answers(struct worker *w, const char *host)
{
	struct tls_connect to = to_host(host, TLS_VERIFY);
	struct pair p;

	to.no_resume = true;
	pair_open(&p, w, &to, &(struct tls_accept){ 0 });
	shake(&p);
	bool ok = p.err_c == OK && p.err_s == OK && info_of(p.c).verified;

	check(ok || p.err_c == ERR_TLS_CERT);
	check(ok || strlen(tls_why(p.c)) > 10);
	pair_close(&p);
	return ok;
}

static void choose_by_name(struct worker *w)
{
	check(answers(w, "mx.b.test"));
	check(answers(w, "other.wild.test"));
	check(answers(w, "OTHER.Wild.TEST."));
	/* The star is one label, and never none. */
	check(!answers(w, "x.other.wild.test"));
	check(!answers(w, "wild.test"));
	check(!answers(w, "mx.a.test"));
	/* The default is "a", which this client does not trust. */
	check(!answers(w, "unknown.test"));
}

Test(tls, certificate_by_name)
{
	certs_make("a", EC, "DNS:mx.a.test");
	certs_make("b", EC, "DNS:mx.b.test,DNS:*.wild.test");
	make_server((const char *const[]){ "a", "b", NULL }, TLS_MIN_12);
	make_client("b");
	run_on_workers(1, choose_by_name);
}

static void refuse_wrong_name(struct worker *w)
{
	check(answers(w, "mx.a.test"));
	struct tls_connect to = to_host("mx.other.test", TLS_VERIFY);
	struct pair p;

	pair_open(&p, w, &to, &(struct tls_accept){ 0 });
	shake(&p);
	check(p.err_c == ERR_TLS_CERT);
	check(strstr(tls_why(p.c), "does not name the host") != NULL);
	check(p.err_s != OK || p.to_s.len > 0);
	pair_close(&p);
	/* The same certificate is good enough where nothing is verified. */
	to.policy = TLS_OPPORTUNISTIC;
	pair_open(&p, w, &to, &(struct tls_accept){ 0 });
	shake(&p);
	check(p.err_c == OK && !info_of(p.c).verified);
	pair_close(&p);
}

Test(tls, name_is_verified)
{
	certs_make("a", EC, "DNS:mx.a.test");
	make_server((const char *const[]){ "a", NULL }, TLS_MIN_12);
	make_client("a");
	run_on_workers(1, refuse_wrong_name);
}

/* Our client offers ECDSA first, so the ECDSA one of the pair answers; the RSA one is there too. */
static void prefer_ecdsa(struct worker *w)
{
	check(answers(w, "mx.a.test"));
}

Test(tls, ecdsa_before_rsa)
{
	certs_make("rsa", RSA, "DNS:mx.a.test");
	certs_make("ec", EC, "DNS:mx.a.test");
	make_server((const char *const[]){ "rsa", "ec", NULL }, TLS_MIN_12);
	make_client("ec");
	run_on_workers(1, prefer_ecdsa);
}

/* --- Resumption --- */

static bool resumes(struct worker *w, struct worker *server_w, enum tls_policy policy)
{
	struct tls_connect to = to_host("mx.a.test", policy);
	struct pair p;

	pair_open(&p, w, &to, &(struct tls_accept){ 0 });
	p.s->ops->close(p.s);
	p.s = tls_server_session(server, server_w, &(struct tls_accept){ 0 });
	shake(&p);
	check(p.err_c == OK && p.err_s == OK);
	exchange(&p, 10);
	bool resumed = info_of(p.c).resumed;

	check(resumed == info_of(p.s).resumed);
	check(info_of(p.c).verified == (policy == TLS_VERIFY));
	pair_close(&p);
	return resumed;
}

static void resume_anywhere(struct worker *w)
{
	/* Worker 1 stands still meanwhile, so its context may be used from here. */
	struct worker *other = worker_get(1);

	check(!resumes(w, w, TLS_REQUIRED));
	check(resumes(w, w, TLS_REQUIRED));
	check(resumes(w, other, TLS_REQUIRED));
	check(resumes(w, w, TLS_REQUIRED));
	/* A session that verified nobody is of no use to one that must. */
	check(!resumes(w, w, TLS_VERIFY));
	check(resumes(w, w, TLS_VERIFY));
	/* Two rotations later the ticket still opens; three are too many. */
	tls_ticket_rotate();
	tls_ticket_rotate();
	check(resumes(w, w, TLS_VERIFY));
	tls_ticket_rotate();
	tls_ticket_rotate();
	tls_ticket_rotate();
	check(!resumes(w, w, TLS_REQUIRED));
}

Test(tls, tickets_on_any_worker)
{
	certs_make("a", EC, "DNS:mx.a.test");
	make_server((const char *const[]){ "a", NULL }, TLS_MIN_12);
	make_client("a");
	run_on_workers(2, resume_anywhere);
}

/* --- Reload --- */

static void survive_reload(struct worker *w)
{
	struct tls_connect to = to_host("mx.a.test", TLS_VERIFY);
	struct pair p, q;

	pair_open(&p, w, &to, &(struct tls_accept){ 0 });
	shake(&p);
	pair_open(&q, w, &to, &(struct tls_accept){ 0 });
	/* One session in mid-life, one not begun: both hold the old set. */
	tls_server_put(server);
	make_server((const char *const[]){ "b", NULL }, TLS_MIN_12);
	shake(&q);
	check(q.err_c == OK && q.err_s == OK);
	exchange(&p, 1000);
	exchange(&q, 1000);
	pair_close(&p);
	pair_close(&q);
	check(!answers(w, "mx.a.test"));
}

Test(tls, sessions_outlive_their_set)
{
	certs_make("a", EC, "DNS:mx.a.test");
	certs_make("b", EC, "DNS:mx.b.test");
	make_server((const char *const[]){ "a", NULL }, TLS_MIN_12);
	make_client("a");
	run_on_workers(1, survive_reload);
}

/* --- In the simulation everything repeats --- */

static void hello_of_seed(struct worker *w, uint64_t seed, struct out *o)
{
	struct tls_connect to = to_host("mx.a.test", TLS_REQUIRED);
	slice none = { 0 };

	entropy_seed(seed);
	struct tls_session *t = tls_client_session(client, w, &to);

	check(t->ops->handshake(t, &none, o) == ERR_BUSY);
	t->ops->close(t);
	entropy_unseed();
}

static void repeat_hello(struct worker *w)
{
	struct out a = out_heap(8192), b = out_heap(8192), c = out_heap(8192);

	/* The context is there from the second on. */
	hello_of_seed(w, 1, &a);
	a.len = 0;
	hello_of_seed(w, 7, &a);
	hello_of_seed(w, 7, &b);
	hello_of_seed(w, 8, &c);
	check(a.len > 100 && slice_eq(out_written(&a), out_written(&b)));
	check(!slice_eq(out_written(&a), out_written(&c)));
	out_heap_done(&a);
	out_heap_done(&b);
	out_heap_done(&c);
}

Test(tls, repeats_when_seeded)
{
	certs_make("a", EC, "DNS:mx.a.test");
	make_client("a");
	run_on_workers(1, repeat_hello);
}

/* --- Options --- */

Test(tls, options_have_their_place_in_the_file)
{
	static const struct conf_table *const tables[] = { &tls_options_table };
	static const struct conf_schema schema = { tables, 1 };
	struct out errors = out_heap(4096);
	struct conf *conf = NULL;
	enum err err = conf_parse(&schema,
		SLICE("tls:\n  certificates: [ { cert: cert.pem, key: key.pem } ]\n"), "/c/r.yaml",
		&errors, &conf);

	cr_assert_eq(err, OK, "%.*s", SLICE_ARG(out_written(&errors)));
	const struct tls_options *o = conf_options(conf, &tls_options_table);
	const struct tls_cert_options *cert =
		conf_item(&o->certificates, struct tls_cert_options, 0);

	cr_expect(slice_eq(cert->cert, SLICE("/c/cert.pem")));
	cr_expect_eq(o->ticket_lifetime_ms, 12 * 3600 * 1000);
	cr_expect_eq(o->min_version, TLS_MIN_12);
	cr_expect_eq(o->ca_file.ptr, NULL);
	conf_put(conf);
	out_heap_done(&errors);
}

/* --- What goes wrong --- */

static char heard[1 << 15]; /* half of a fiber's stack */

static void no_hello(struct worker *w)
{
	static const char *const texts[] = { "EHLO x\r\n", "\x16\x03\x01\xff\xff" };

	for (size_t i = 0; i < array_len(texts); i++) {
		struct tls_session *s = tls_server_session(server, w, &(struct tls_accept){ 0 });
		struct out o = out_heap(4096);
		slice in = slice_str(texts[i]);

		check(s->ops->handshake(s, &in, &o) == ERR_TLS);
		check(slice_eq(out_written(&o), slice_of("\x15\3\3\0\2\2\x32", 7)));
		check(strlen(tls_why(s)) > 0);
		s->ops->shutdown(s, &o);
		s->ops->close(s);
		out_heap_done(&o);
	}
}

static void changed_record(struct worker *w)
{
	struct tls_connect to = to_host("mx.a.test", TLS_REQUIRED);
	struct pair p;
	size_t n;

	pair_open(&p, w, &to, &(struct tls_accept){ 0 });
	shake(&p);
	check(p.c->ops->write(p.c, SLICE("hello"), &p.to_s) == OK);
	p.to_s.buf[p.to_s.len - 1] ^= 1;
	slice in = out_written(&p.to_s);

	check(p.s->ops->read(p.s, &in, heard, sizeof(heard), &n, &p.to_c) == ERR_TLS);
	check(p.s->ops->write(p.s, SLICE("x"), &p.to_c) == ERR_TLS);
	pair_close(&p);
	no_hello(w);
}

static void say_goodbye(struct worker *w)
{
	struct tls_connect to = to_host("mx.a.test", TLS_REQUIRED);
	struct pair p;
	size_t n;

	pair_open(&p, w, &to, &(struct tls_accept){ 0 });
	shake(&p);
	p.c->ops->shutdown(p.c, &p.to_s);
	slice in = out_written(&p.to_s);

	check(p.s->ops->read(p.s, &in, heard, sizeof(heard), &n, &p.to_c) == ERR_CLOSED);
	pair_close(&p);
	changed_record(w);
}

Test(tls, ends_and_faults)
{
	certs_make("a", EC, "DNS:mx.a.test");
	make_server((const char *const[]){ "a", NULL }, TLS_MIN_12);
	make_client("a");
	run_on_workers(1, say_goodbye);
}

static const struct {
	const char *why, *cert, *key, *says;
} wrong_files[] = {
	{ "no file", "none", "a", "cannot be read: not found" },
	{ "not the key", "a", "b", "not the key of" },
	{ "a key for a certificate", "junk", "a", "holds no PEM certificate" },
	{ "a small RSA key", "small", "small", "no RSA key of 2048 to 4096 bits" },
};

Test(tls, wrong_files_are_told)
{
	char command[600];

	certs_make("a", EC, "DNS:mx.a.test");
	certs_make("b", EC, "DNS:mx.b.test");
	certs_make("small", "rsa:1024", "DNS:mx.b.test");
	snprintf(command, sizeof(command), "cp %s/a.key %s/junk.pem", certs_dir.path,
		certs_dir.path);
	certs_run(command);
	for (size_t i = 0; i < array_len(wrong_files); i++) {
		struct certs_set set;
		struct out errors = out_heap(4096);

		certs_options(&set, (const char *const[]){ "a", NULL });
		set.items[0].cert = certs_path(wrong_files[i].cert, "pem");
		set.items[0].key = certs_path(wrong_files[i].key, "key");
		cr_expect_neq(tls_server_new(&set.options, &errors, &server), OK);
		cr_expect(slice_search(out_written(&errors), slice_str(wrong_files[i].says)) >= 0,
			"%s: %.*s", wrong_files[i].why, SLICE_ARG(out_written(&errors)));
		out_heap_done(&errors);
	}
}
