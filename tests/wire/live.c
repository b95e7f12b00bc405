/* SPDX-License-Identifier: GPL-2.0-or-later */
/* live.c - plays the dialogues against the real program over loopback.
 *
 *	wire_live SCRIPTS-FOLDER RINGPOST
 *
 * A template of the data folder (domains, routes, an account) is made once by the program's own commands;
 * each script gets a copy, a configuration with free ports, and a server of its own, which is ended by
 * its process id. Steps that need a clock or a look into the store are passed over. */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <wolfssl/options.h>
#include <wolfssl/ssl.h>
#include <zlib.h>

#include "core/base/text.h"
#include "tests/support/tmpdir.h"
#include "tests/wire/script.h"

enum { PATIENCE_MS = 60000, PATH_BYTES = 512 };

/* A connection of the client's; compressed (RFC 4978) inside TLS, if both are there. */
struct client {
	int fd;
	WOLFSSL *ssl;
	bool packed;
	z_stream deflate, inflate;
	size_t input_len;
	char input[1 << 18];
};

static struct tmpdir place;
static char binary[PATH_MAX], config[PATH_BYTES], service_now[32];
static pid_t server = -1;
static int log_fd = -1;
static struct client clients[WIRE_SESSIONS], *me = clients;
static char log_text[1 << 20], bound[32];
static size_t log_len;
static WOLFSSL_CTX *ctx;

static const char base[] =
	"hostname: mx.test\ndata: data\ncontrol: control.sock\nworkers: 1\n"
	"tls: { certificates: [ { cert: cert.pem, key: key.pem } ] }\n"
	"auth: { fail_delay: 10ms, hash: yescrypt }\nstore: { segment: 1M, map: 4M }\n"
	"relay:\n  routes:\n    - { domain: own.test, hosts: [ 127.0.0.1 ], port: 9 }\n"
	"    - { domain: accepted.test, hosts: [ 127.0.0.1 ], port: 9, accept: true }\n"
	"    - { domain: \"*\", hosts: [ 127.0.0.1 ], port: 9 }\n";

static void write_bytes(const char *name, slice bytes)
{
	char path[PATH_BYTES];
	FILE *file = fopen(tmpdir_file(&place, name, path, sizeof(path)), "w");

	must(file && fwrite(bytes.ptr, 1, bytes.len, file) == bytes.len);
	fclose(file);
}

static void write_file(const char *name, const char *text)
{
	write_bytes(name, slice_str(text));
}

static bool shell(const char *fmt, ...) printf_like(1, 2);
static bool shell(const char *fmt, ...)
{
	char command[2048];
	va_list args;

	va_start(args, fmt);
	vsnprintf(command, sizeof(command), fmt, args);
	va_end(args);
	return system(command) == 0;
}

/* The domain whose mail stays here: see tests/server/house.h. */
static bool make_home(void)
{
	static const char *const names[] = { "bob", "carol", "off", "full" };
	bool good = shell("cd %s && %s domain add home.test", place.path, binary);

	for (size_t i = 0; good && i < array_len(names); i++)
		good = shell("cd %s && echo secret | %s account add %s@home.test --password-stdin",
			place.path, binary, names[i]);
	return good &&
		shell("cd %s && %s account set off@home.test --disable && "
		      "%s account set full@home.test --quota-messages 1",
			place.path, binary, binary) &&
		shell("cd %s && %s account set carol@home.test --forward x@far.test && "
		      "%s alias add team@home.test bob@home.test,carol@home.test,y@far.test && "
		      "%s alias add round@home.test round@home.test",
			place.path, binary, binary, binary);
}

static bool make_template(void)
{
	write_file("ringpost.yaml", base);
	tmpdir_file(&place, "ringpost.yaml", config, sizeof(config));
	return shell("cd %s && openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 "
		     "-nodes -keyout "
		     "key.pem -out cert.pem -days 30 -subj /CN=mx.test 2>openssl.log",
		       place.path) &&
		shell("cd %s && %s domain add own.test && %s domain add empty.test && "
		      "echo secret | %s account add alice@own.test --password-stdin",
			place.path, binary, binary, binary) &&
		make_home() && shell("cd %s && mv data template", place.path);
}

/* --- The server -------------------------------------------------------------------------------------- */

static unsigned logged(const char *what)
{
	unsigned count = 0;

	for (const char *at = log_text; (at = strstr(at, what)); at++)
		count++;
	return count;
}

/* Read the log until it holds `what`; false when the server ended. */
static bool wait_for_log(const char *what)
{
	while (!strstr(log_text, what)) {
		struct pollfd p = { .fd = log_fd, .events = POLLIN };
		ssize_t got = poll(&p, 1, PATIENCE_MS) == 1 ?
			read(log_fd, log_text + log_len, sizeof(log_text) - 1 - log_len) :
			0;

		if (got <= 0) {
			fprintf(stderr, "%s\n", log_text);
			return false;
		}
		log_len += (size_t)got;
		log_text[log_len] = '\0';
	}
	return true;
}

static bool run_server(void)
{
	int fds[2];

	must(pipe2(fds, O_CLOEXEC) == 0);
	log_len = 0;
	log_text[0] = '\0';
	server = fork();
	if (server == 0) {
		must(chdir(place.path) == 0);
		dup2(fds[1], STDERR_FILENO);
		execl(binary, binary, "serve", "--config", config, (char *)NULL);
		_exit(127);
	}
	close(fds[1]);
	log_fd = fds[0];
	return wait_for_log("text=ready");
}

static bool end_server(void)
{
	int status = 0;
	char rest[4096];
	ssize_t got;

	if (server < 0)
		return true;
	kill(server, SIGTERM);
	while ((got = read(log_fd, rest, sizeof(rest))) > 0)
		if (log_len + (size_t)got < sizeof(log_text)) {
			memcpy(log_text + log_len, rest, (size_t)got);
			log_len += (size_t)got;
			log_text[log_len] = '\0';
		}
	waitpid(server, &status, 0);
	close(log_fd);
	server = -1;
	if (status)
		fprintf(stderr, "the server ended with %d\n%s\n", status, log_text);
	return status == 0;
}

static bool start(const char *service, const char *yaml)
{
	char text[8192];

	snprintf(service_now, sizeof(service_now), "%s", service);
	snprintf(text, sizeof(text),
		"%slisten: [ { address: 127.0.0.1, port: 0, service: %s } ]\n%s", base, service,
		yaml);
	write_file("ringpost.yaml", text);
	return shell("cd %s && rm -rf data && cp -r template data", place.path) && run_server();
}

static void hangup(void)
{
	if (me->packed) {
		deflateEnd(&me->deflate);
		inflateEnd(&me->inflate);
	}
	me->packed = false;
	if (me->ssl)
		wolfSSL_free(me->ssl);
	me->ssl = NULL;
	if (me->fd >= 0)
		close(me->fd);
	me->fd = -1;
}

static void session(unsigned n)
{
	me = &clients[n];
}

static void hang_up_all(void)
{
	for (unsigned i = 0; i < WIRE_SESSIONS; i++) {
		session(i);
		hangup();
	}
	session(0);
}

static void stop(void)
{
	hang_up_all();
	if (!end_server())
		abort();
}

static bool restart(void)
{
	hang_up_all();
	return end_server() && run_server();
}

/* --- The connection -------------------------------------------------------------------------------------- */

static bool connect_it(void)
{
	struct sockaddr_in at = { .sin_family = AF_INET,
		.sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	const char *line = strstr(log_text, "port=");
	int on = 1;

	hangup();
	me->input_len = 0;
	if (!line)
		return false;
	at.sin_port = htons((uint16_t)strtoul(line + 5, NULL, 10));
	me->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	setsockopt(me->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
	return connect(me->fd, (struct sockaddr *)&at, sizeof(at)) == 0;
}

static void send_plain(slice bytes)
{
	while (bytes.len && me->fd >= 0) {
		ssize_t sent = me->ssl ? wolfSSL_write(me->ssl, bytes.ptr, (int)bytes.len) :
					 send(me->fd, bytes.ptr, bytes.len, MSG_NOSIGNAL);

		if (sent <= 0)
			return; /* the server closed; what it said is still to be read */
		bytes = slice_skip(bytes, (size_t)sent);
	}
}

static void send_it(slice bytes)
{
	char packed[8192];

	if (!me->packed) {
		send_plain(bytes);
		return;
	}
	me->deflate.next_in = (unsigned char *)bytes.ptr;
	me->deflate.avail_in = (unsigned)bytes.len;
	do {
		me->deflate.next_out = (unsigned char *)packed;
		me->deflate.avail_out = sizeof(packed);
		deflate(&me->deflate, Z_SYNC_FLUSH);
		send_plain(slice_of(packed, sizeof(packed) - me->deflate.avail_out));
	} while (me->deflate.avail_out == 0);
}

/* As many bytes as are there; 0 at the end or after a long silence. */
static size_t receive(char *to, size_t room)
{
	struct pollfd p = { .fd = me->fd, .events = POLLIN };
	ssize_t got;

	if (me->fd < 0 || !room)
		return 0;
	if (!(me->ssl && wolfSSL_pending(me->ssl)) && poll(&p, 1, PATIENCE_MS) != 1)
		return 0;
	got = me->ssl ? wolfSSL_read(me->ssl, to, (int)room) : recv(me->fd, to, room, 0);
	return got > 0 ? (size_t)got : 0;
}

/* A block of 4 KiB never inflates to more than the room there is in a dialogue. */
static bool unpack(void)
{
	char packed[4096];
	size_t got = receive(packed, sizeof(packed));

	me->inflate.next_in = (unsigned char *)packed;
	me->inflate.avail_in = (unsigned)got;
	me->inflate.next_out = (unsigned char *)me->input + me->input_len;
	me->inflate.avail_out = (unsigned)(sizeof(me->input) - me->input_len);
	if (!got || inflate(&me->inflate, Z_SYNC_FLUSH) != Z_OK || me->inflate.avail_in)
		return false;
	me->input_len = sizeof(me->input) - me->inflate.avail_out;
	return true;
}

/* More input; false at the end or after a long silence. */
static bool more(void)
{
	size_t got;

	if (me->packed)
		return unpack();
	got = receive(me->input + me->input_len, sizeof(me->input) - me->input_len);
	me->input_len += got;
	return got > 0;
}

static bool line(struct out *o)
{
	ptrdiff_t end;

	while ((end = slice_search(slice_of(me->input, me->input_len), SLICE("\r\n"))) < 0)
		if (!more())
			return false;
	out_slice(o, slice_of(me->input, (size_t)end));
	me->input_len -= (size_t)end + 2;
	memmove(me->input, me->input + end + 2, me->input_len);
	return true;
}

static bool closed(void)
{
	while (more())
		me->input_len = 0;
	return true;
}

static bool deflate_it(void)
{
	me->packed = deflateInit2(&me->deflate, Z_DEFAULT_COMPRESSION, Z_DEFLATED, -MAX_WBITS, 8,
			     Z_DEFAULT_STRATEGY) == Z_OK &&
		inflateInit2(&me->inflate, -MAX_WBITS) == Z_OK;
	return me->packed;
}

static bool tls(void)
{
	static const char label[] = "EXPORTER-Channel-Binding";

	if (me->ssl)
		return true;
	if (!ctx) {
		wolfSSL_Init();
		ctx = wolfSSL_CTX_new(wolfTLSv1_3_client_method());
		wolfSSL_CTX_set_verify(ctx, WOLFSSL_VERIFY_NONE, NULL);
	}
	me->ssl = wolfSSL_new(ctx);
	wolfSSL_KeepArrays(me->ssl);
	wolfSSL_set_fd(me->ssl, me->fd);
	if (wolfSSL_connect(me->ssl) != WOLFSSL_SUCCESS)
		return false;
	return wolfSSL_export_keying_material(me->ssl, (unsigned char *)bound, sizeof(bound), label,
		       sizeof(label) - 1, NULL, 0, 0) == WOLFSSL_SUCCESS;
}

static bool mail(slice message)
{
	static unsigned count; /* a Maildir each: an import goes on where it ended */
	char name[32];

	count++;
	if (!shell("cd %s && mkdir -p box%u/cur box%u/new box%u/tmp", place.path, count, count,
		    count))
		return false;
	snprintf(name, sizeof(name), "box%u/new/1", count);
	write_bytes(name, message);
	return shell("cd %s && %s import alice@own.test box%u >import.log", place.path, binary,
		count);
}

static slice binding(void)
{
	return slice_of(bound, sizeof(bound));
}

static unsigned messages(void)
{
	struct pollfd p = { .fd = log_fd, .events = POLLIN };

	/* The line is written before the 250, but by another thread: give it a moment. */
	while (poll(&p, 1, 200) == 1) {
		ssize_t got = read(log_fd, log_text + log_len, sizeof(log_text) - 1 - log_len);

		if (got <= 0)
			break;
		log_len += (size_t)got;
		log_text[log_len] = '\0';
	}
	return logged(" info received ");
}

static const struct wire_transport transport = { .name = "live",
	.start = start,
	.stop = stop,
	.connect = connect_it,
	.send = send_it,
	.line = line,
	.closed = closed,
	.hangup = hangup,
	.tls = tls,
	.restart = restart,
	.messages = messages,
	.mail = mail,
	.binding = binding,
	.session = session,
	.deflate = deflate_it };

int main(int argc, char **argv)
{
	int status = 2;

	if (argc != 3 || !realpath(argv[2], binary))
		return 2;
	signal(SIGPIPE, SIG_IGN);
	for (unsigned i = 0; i < WIRE_SESSIONS; i++)
		clients[i].fd = -1;
	tmpdir_make(&place);
	if (make_template())
		status = wire_play_all(&transport, argv[1]);
	if (ctx)
		wolfSSL_CTX_free(ctx);
	wolfSSL_Cleanup();
	tmpdir_remove(&place);
	return status;
}
