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

#include "core/base/text.h"
#include "tests/support/tmpdir.h"
#include "tests/wire/script.h"

enum { PATIENCE_MS = 60000, PATH_BYTES = 512 };

static struct tmpdir place;
static char binary[PATH_MAX], config[PATH_BYTES], service_now[32];
static pid_t server = -1;
static int log_fd = -1, conn = -1;
static char log_text[1 << 20], input[1 << 18], bound[32];
static size_t log_len, input_len;
static WOLFSSL_CTX *ctx;
static WOLFSSL *ssl;

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
	if (ssl)
		wolfSSL_free(ssl);
	ssl = NULL;
	if (conn >= 0)
		close(conn);
	conn = -1;
}

static void stop(void)
{
	hangup();
	if (!end_server())
		abort();
}

static bool restart(void)
{
	hangup();
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
	input_len = 0;
	if (!line)
		return false;
	at.sin_port = htons((uint16_t)strtoul(line + 5, NULL, 10));
	conn = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	setsockopt(conn, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
	return connect(conn, (struct sockaddr *)&at, sizeof(at)) == 0;
}

static void send_it(slice bytes)
{
	while (bytes.len && conn >= 0) {
		ssize_t sent = ssl ? wolfSSL_write(ssl, bytes.ptr, (int)bytes.len) :
				     send(conn, bytes.ptr, bytes.len, MSG_NOSIGNAL);

		if (sent <= 0)
			return; /* the server closed; what it said is still to be read */
		bytes = slice_skip(bytes, (size_t)sent);
	}
}

/* More input; false at the end or after a long silence. */
static bool more(void)
{
	struct pollfd p = { .fd = conn, .events = POLLIN };
	size_t room = sizeof(input) - input_len;
	ssize_t got;

	if (conn < 0 || !room)
		return false;
	if (!(ssl && wolfSSL_pending(ssl)) && poll(&p, 1, PATIENCE_MS) != 1)
		return false;
	got = ssl ? wolfSSL_read(ssl, input + input_len, (int)room) :
		    recv(conn, input + input_len, room, 0);
	if (got <= 0)
		return false;
	input_len += (size_t)got;
	return true;
}

static bool line(struct out *o)
{
	ptrdiff_t end;

	while ((end = slice_search(slice_of(input, input_len), SLICE("\r\n"))) < 0)
		if (!more())
			return false;
	out_slice(o, slice_of(input, (size_t)end));
	input_len -= (size_t)end + 2;
	memmove(input, input + end + 2, input_len);
	return true;
}

static bool closed(void)
{
	while (more())
		input_len = 0;
	return true;
}

static bool tls(void)
{
	static const char label[] = "EXPORTER-Channel-Binding";

	if (ssl)
		return true;
	if (!ctx) {
		wolfSSL_Init();
		ctx = wolfSSL_CTX_new(wolfTLSv1_3_client_method());
		wolfSSL_CTX_set_verify(ctx, WOLFSSL_VERIFY_NONE, NULL);
	}
	ssl = wolfSSL_new(ctx);
	wolfSSL_KeepArrays(ssl);
	wolfSSL_set_fd(ssl, conn);
	if (wolfSSL_connect(ssl) != WOLFSSL_SUCCESS)
		return false;
	return wolfSSL_export_keying_material(ssl, (unsigned char *)bound, sizeof(bound), label,
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
	.binding = binding };

int main(int argc, char **argv)
{
	int status = 2;

	if (argc != 3 || !realpath(argv[2], binary))
		return 2;
	signal(SIGPIPE, SIG_IGN);
	tmpdir_make(&place);
	if (make_template())
		status = wire_play_all(&transport, argv[1]);
	if (ctx)
		wolfSSL_CTX_free(ctx);
	wolfSSL_Cleanup();
	tmpdir_remove(&place);
	return status;
}
