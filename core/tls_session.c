/* SPDX-License-Identifier: GPL-2.0-or-later */
/* tls_session.c - what both ends of a TLS session share: bytes in and out of wolfSSL, and its
 * errors.
 *
 * wolfSSL's output callback writes straight into the connection's send queue, so everything it
 * produces (alerts, tickets, key updates) is there when a call returns; its input callback takes
 * from the bytes of the call, and "no more" is WANT_READ. Outside a call both are NULL. */
#include <wolfssl/options.h>

#include "core/tls_int.h"

#include "core/base/text.h"
#include "core/fiber.h"
#include "core/job.h"
#include "core/metric.h"
#include "core/rsa_batch_int.h"

#include <stdio.h>
#include <stdlib.h>
#include <wolfssl/error-ssl.h>
#include <wolfssl/ssl.h>
#include <wolfssl/wolfcrypt/error-crypt.h>

static const struct metric_row metric_rows[] = {
	[TLS_M_ACCEPTED] = { "handshakes_total{side=\"server\"}", METRIC_COUNTER,
		"TLS handshakes that ended well" },
	[TLS_M_CONNECTED] = { "handshakes_total{side=\"client\"}", METRIC_COUNTER,
		"TLS handshakes that ended well" },
	[TLS_M_RESUMED] = { "resumed_total", METRIC_COUNTER,
		"Handshakes that resumed an earlier session, both sides" },
	[TLS_M_FAILED] = { "failed_total", METRIC_COUNTER, "TLS sessions that failed, both sides" },
	[TLS_M_SESSIONS] = { "sessions", METRIC_GAUGE, "TLS sessions alive, both sides" },
};
struct metric_table tls_metrics = METRIC_TABLE("tls", metric_rows);

/* --- Bytes --- */

static int on_recv(WOLFSSL *ssl, char *buf, int size, void *arg)
{
	struct tls *t = arg;
	size_t held = t->hello_len - t->hello_read, n;

	if (held) {
		n = MIN(held, (size_t)size);
		memcpy(buf, t->hello + t->hello_read, n);
		t->hello_read += n;
		return (int)n;
	}
	free(t->hello);
	t->hello = NULL;
	t->hello_len = t->hello_read = 0;
	n = t->in ? MIN(t->in->len, (size_t)size) : 0;
	if (n == 0)
		return WOLFSSL_CBIO_ERR_WANT_READ;
	memcpy(buf, t->in->ptr, n);
	*t->in = slice_skip(*t->in, n);
	return (int)n;
}

static int on_send(WOLFSSL *ssl, char *buf, int size, void *arg)
{
	struct tls *t = arg;

	if (!t->records)
		return WOLFSSL_CBIO_ERR_GENERAL;
	out_bytes(t->records, buf, (size_t)size);
	t->has_spoken = true;
	return out_ok(t->records) ? size : WOLFSSL_CBIO_ERR_GENERAL;
}

void tls_ctx_set_io(struct WOLFSSL_CTX *ctx)
{
	wolfSSL_CTX_SetIORecv(ctx, on_recv);
	wolfSSL_CTX_SetIOSend(ctx, on_send);
	/* A flight leaves in as few records' worth of writes as it can. */
	wolfSSL_CTX_set_group_messages(ctx);
}

void tls_attach(struct tls *t, struct WOLFSSL *ssl)
{
	t->ssl = ssl;
	wolfSSL_SetIOReadCtx(ssl, t);
	wolfSSL_SetIOWriteCtx(ssl, t);
}

/* --- Errors --- */

static const int cert_errors[] = {
	ASN_NO_SIGNER_E,
	ASN_SELF_SIGNED_E,
	ASN_BEFORE_DATE_E,
	ASN_AFTER_DATE_E,
	ASN_SIG_CONFIRM_E,
	ASN_NAME_INVALID_E,
	ASN_PATHLEN_SIZE_E,
	ASN_PATHLEN_INV_E,
	ASN_PARSE_E,
	EXTKEYUSAGE_E,
	KEYUSAGE_E,
	DOMAIN_NAME_MISMATCH,
	IPADDR_MISMATCH,
	VERIFY_CERT_ERROR,
	NO_PEER_CERT,
	MAX_CHAIN_ERROR,
};

static bool is_cert_error(int code)
{
	for (size_t i = 0; i < array_len(cert_errors); i++)
		if (cert_errors[i] == code)
			return true;
	return false;
}

static const char *words_for(int code)
{
	switch (code) {
	case ASN_NO_SIGNER_E:
	case ASN_SELF_SIGNED_E:
		return "the certificate does not lead to a trusted authority";
	case ASN_BEFORE_DATE_E:
		return "the certificate is not valid yet";
	case ASN_AFTER_DATE_E:
		return "the certificate has expired";
	case DOMAIN_NAME_MISMATCH:
	case IPADDR_MISMATCH:
		return "the certificate does not name the host";
	default:
		return wolfSSL_ERR_reason_error_string((unsigned long)code);
	}
}

static const char *alert_name(int code)
{
	static const struct {
		int code;
		const char *name;
	} names[] = { { 10, "unexpected_message" }, { 20, "bad_record_mac" },
		{ 40, "handshake_failure" }, { 42, "bad_certificate" },
		{ 43, "unsupported_certificate" }, { 45, "certificate_expired" },
		{ 46, "certificate_unknown" }, { 47, "illegal_parameter" }, { 48, "unknown_ca" },
		{ 50, "decode_error" }, { 51, "decrypt_error" }, { 70, "protocol_version" },
		{ 71, "insufficient_security" }, { 80, "internal_error" },
		{ 86, "inappropriate_fallback" }, { 112, "unrecognized_name" },
		{ 120, "no_application_protocol" } };

	for (size_t i = 0; i < array_len(names); i++)
		if (names[i].code == code)
			return names[i].name;
	return "alert";
}

static void set_why(struct tls *t, int code, const char *text)
{
	WOLFSSL_ALERT_HISTORY h;
	char buf[256];

	if (t->why)
		return;
	if (t->ssl && code == FATAL_ERROR && wolfSSL_get_alert_history(t->ssl, &h) > 0 &&
		h.last_rx.code > 0)
		snprintf(buf, sizeof(buf), "%s: the peer sent %s (alert %d)", text,
			alert_name(h.last_rx.code), h.last_rx.code);
	else if (code)
		snprintf(buf, sizeof(buf), "%s: %s (%d)", text, words_for(code), code);
	else
		snprintf(buf, sizeof(buf), "%s", text);
	t->why = strdup(buf);
}

enum err tls_fail(struct tls *t, int code, const char *text)
{
	enum err err = t->waiting_err ? t->waiting_err :
		is_cert_error(code)   ? ERR_TLS_CERT :
		code == MEMORY_E      ? ERR_NOMEM :
					ERR_TLS;

	if (!t->failed)
		metric_add(&tls_metrics, TLS_M_FAILED, 1);
	t->failed = true;
	set_why(t, code, text);
	return err;
}

/* What a call into wolfSSL that did not succeed means. */
static enum err judge(struct tls *t, int returned, const char *what)
{
	int code = wolfSSL_get_error(t->ssl, returned);

	if (code == WOLFSSL_ERROR_WANT_READ || code == WOLFSSL_ERROR_WANT_WRITE)
		return ERR_BUSY;
	if (code == WOLFSSL_ERROR_ZERO_RETURN)
		return ERR_CLOSED;
	return tls_fail(t, code, what);
}

/* --- The calls of a connection --- */

static void enter(struct tls *t, slice *in, struct out *records)
{
	t->in = in;
	t->records = records;
}

static enum err leave(struct tls *t, enum err err)
{
	t->in = NULL;
	t->records = NULL;
	return err;
}

/* RFC 9266 for TLS 1.3; for 1.2 it would ask for more than we can prove. */
static void derive_exporter(struct tls *t)
{
	static const char label[] = "EXPORTER-Channel-Binding";

	if (strcmp(wolfSSL_get_version(t->ssl), "TLSv1.3") == 0)
		t->has_exporter =
			wolfSSL_export_keying_material(t->ssl, t->exporter, TLS_EXPORTER_BYTES,
				label, sizeof(label) - 1, NULL, 0, 0) == WOLFSSL_SUCCESS;
	wolfSSL_FreeArrays(t->ssl);
}

static void finish_handshake(struct tls *t)
{
	t->done = true;
	t->resumed = wolfSSL_session_reused(t->ssl);
	if (t->server ? t->accept.exporter : t->connect.exporter)
		derive_exporter(t);
	metric_add(&tls_metrics, t->server ? TLS_M_ACCEPTED : TLS_M_CONNECTED, 1);
	if (t->resumed)
		metric_add(&tls_metrics, TLS_M_RESUMED, 1);
}

static enum err shake(struct tls *t)
{
	if (t->server && !t->ssl) {
		enum err err = tls_server_begin(t, t->in);

		if (err)
			return err;
	}
	int ret = t->server ? wolfSSL_accept(t->ssl) : wolfSSL_connect(t->ssl);

	if (ret == WOLFSSL_SUCCESS) {
		finish_handshake(t);
		return OK;
	}
	enum err err = judge(t, ret, "TLS handshake");

	/* wolfSSL 5.5 is silent when no suite fits; RFC 8446 6.2 wants an alert. */
	if (t->server && err != ERR_BUSY && !t->has_spoken && !t->waiting_err)
		out_slice(t->records, slice_of("\x15\3\3\0\2\2\x28", 7));
	return err == ERR_CLOSED ? tls_fail(t, 0, "TLS handshake: closed by the peer") : err;
}

static enum err session_handshake(struct tls_session *base, slice *in, struct out *records)
{
	struct tls *t = tls_of(base);

	if (t->failed)
		return ERR_TLS;
	enter(t, in, records);
	return leave(t, shake(t));
}

/* long: the parameter list is the connection's */
static enum err session_read(struct tls_session *base, slice *in, char *buf, size_t cap,
	size_t *out_len, struct out *records)
{
	struct tls *t = tls_of(base);

	if (t->failed || !t->done)
		return ERR_TLS;
	enter(t, in, records);
	int n = wolfSSL_read(t->ssl, buf, (int)MIN(cap, (size_t)INT32_MAX));

	if (n <= 0)
		return leave(t, judge(t, n, "TLS"));
	*out_len = (size_t)n;
	return leave(t, OK);
}

static enum err session_write(struct tls_session *base, slice plain, struct out *records)
{
	struct tls *t = tls_of(base);
	enum err err = OK;

	if (t->failed || !t->done)
		return ERR_TLS;
	enter(t, NULL, records);
	while (plain.len > 0 && !err) {
		int n = wolfSSL_write(t->ssl, plain.ptr, (int)MIN(plain.len, (size_t)1 << 20));

		if (n <= 0)
			err = out_ok(records) ? tls_fail(t, wolfSSL_get_error(t->ssl, n), "TLS") :
						ERR_NOMEM;
		else
			plain = slice_skip(plain, (size_t)n);
	}
	return leave(t, err);
}

static void session_shutdown(struct tls_session *base, struct out *records)
{
	struct tls *t = tls_of(base);

	if (!t->ssl || !t->done || t->failed)
		return;
	enter(t, NULL, records);
	wolfSSL_shutdown(t->ssl);
	leave(t, OK);
}

static void session_close(struct tls_session *base)
{
	struct tls *t = tls_of(base);

	if (t->client)
		tls_client_keep(t);
	wolfSSL_free(t->ssl);
	tls_server_put(t->server);
	tls_client_put(t->client);
	metric_add(&tls_metrics, TLS_M_SESSIONS, -1);
	free(t->hello);
	free(t->sni);
	free(t->why);
	free(t);
}

const struct conn_tls_ops tls_server_ops = {
	.handshake = session_handshake,
	.read = session_read,
	.write = session_write,
	.shutdown = session_shutdown,
	.close = session_close,
};
const struct conn_tls_ops tls_client_ops = {
	.handshake = session_handshake,
	.read = session_read,
	.write = session_write,
	.shutdown = session_shutdown,
	.close = session_close,
};

/* --- What came of it --- */

void tls_info(const struct tls_session *base, struct tls_info *out)
{
	struct tls *t = tls_of(base);
	char *alpn = NULL;
	unsigned short alpn_len = 0;

	*out = (struct tls_info){ .version = "", .cipher = "", .sni = slice_str(t->sni) };
	if (!t->ssl || !t->done)
		return;
	out->version = wolfSSL_get_version(t->ssl);
	out->cipher = wolfSSL_get_cipher(t->ssl);
	if (!out->cipher)
		out->cipher = "";
	/* Everything allowed has one of the two strengths. */
	out->bits = strstr(out->cipher, "256_") || strstr(out->cipher, "CHACHA") ? 256 : 128;
	out->resumed = t->resumed;
	out->verified = t->client && t->connect.policy == TLS_VERIFY;
	if (wolfSSL_ALPN_GetProtocol(t->ssl, &alpn, &alpn_len) == WOLFSSL_SUCCESS)
		out->alpn = slice_of(alpn, alpn_len);
}

slice tls_exporter(const struct tls_session *base)
{
	const struct tls *t = tls_of(base);

	return slice_of(t->exporter, t->has_exporter ? TLS_EXPORTER_BYTES : 0);
}

enum err tls_update_keys(struct tls_session *base, struct out *records)
{
	struct tls *t = tls_of(base);

	if (t->failed || !t->done || strcmp(wolfSSL_get_version(t->ssl), "TLSv1.3") != 0)
		return ERR_UNSUPPORTED;
	enter(t, NULL, records);
	int ret = wolfSSL_update_keys(t->ssl);

	return leave(t, ret == WOLFSSL_SUCCESS ? OK : judge(t, ret, "TLS key update"));
}

const char *tls_why(const struct tls_session *base)
{
	const char *why = tls_of(base)->why;

	return why ? why : "";
}

void tls_run_job(void (*fn)(void *arg), void *arg)
{
	if (fiber_self())
		job_run(fn, arg);
	else
		fn(arg);
}

enum err tls_start(void)
{
	rsa_batch_prepare();
	if (wolfSSL_Init() != WOLFSSL_SUCCESS)
		return ERR_NOMEM;
	rsa_batch_take_seeds();
	return OK;
}

void tls_stop(void)
{
	tls_ticket_wipe();
	wolfSSL_Cleanup();
}
