/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the sink looks at in a message: its sequence header and its signatures. The header is
 * kept up to HEAD_MAX bytes; the body goes by and is only hashed, and only when it will be verified. */
#include "bench/sink_int.h"
#include "bench/template.h"
#include "proto/mailauth/dkim_verify.h"

#include <stdlib.h>

enum { HEAD_MAX = 64 * 1024 };

struct sink_mail {
	struct sink *sink;
	struct sink_stats *stats;
	struct out head;
	struct arena arena;
	struct dkim_verifier verifier;
	uint64_t bytes, seen; /* of this message; messages of this session */
	bool in_body, verify;
};

struct sink_mail *sink_mail_new(struct sink *sink, struct sink_stats *stats)
{
	struct sink_mail *mail = calloc(1, sizeof(*mail));

	must(mail);
	mail->sink = sink;
	mail->stats = stats;
	mail->head = out_heap(HEAD_MAX);
	return mail;
}

void sink_mail_free(struct sink_mail *mail)
{
	if (!mail)
		return;
	out_heap_done(&mail->head);
	arena_done(&mail->arena);
	free(mail);
}

void sink_mail_reset(struct sink_mail *mail)
{
	mail->head.len = 0;
	mail->head.overflow = false;
	mail->bytes = 0;
	mail->in_body = mail->verify = false;
	arena_reset(&mail->arena);
}

static void begin_body(struct sink_mail *mail, slice rest)
{
	uint64_t every = mail->sink->verify_every;

	mail->in_body = true;
	mail->verify = every && mail->seen++ % every == 0;
	if (!mail->verify)
		return;
	dkim_verify_init(&mail->verifier, &mail->arena);
	dkim_verify_header(&mail->verifier, out_written(&mail->head), 0);
	if (mail->verifier.count)
		dkim_verify_body(&mail->verifier, rest);
}

void sink_mail_add(struct sink_mail *mail, slice piece)
{
	mail->bytes += piece.len;
	if (mail->in_body) {
		if (mail->verify && mail->verifier.count)
			dkim_verify_body(&mail->verifier, piece);
		return;
	}
	/* The empty line may lie across two pieces: look back three bytes. */
	size_t from = mail->head.len < 3 ? 0 : mail->head.len - 3;
	size_t room = HEAD_MAX - mail->head.len;

	out_slice(&mail->head, slice_sub(piece, 0, room));
	slice written = out_written(&mail->head);
	ptrdiff_t end = slice_search(slice_skip(written, from), SLICE("\r\n\r\n"));

	if (end < 0 && mail->head.len < HEAD_MAX)
		return;
	size_t header = end < 0 ? mail->head.len : from + (size_t)end + 4;
	size_t body_in_piece = mail->head.len - header;

	mail->head.len = header;
	begin_body(mail, slice_skip(piece, MIN(piece.len, room) - body_in_piece));
}

/* Our own header stands in a line of its own, never folded. */
static bool find_sequence(slice head, struct template_fields *out)
{
	slice line;

	while (slice_cut(&head, '\n', &line)) {
		slice name;

		if (!slice_starts(line, template_sequence_name) || !slice_cut(&line, ':', &name) ||
			name.len != template_sequence_name.len)
			continue;
		if (line.len && line.ptr[line.len - 1] == '\r')
			line.len--;
		return template_parse_sequence(line, out);
	}
	return false;
}

static void count_signatures(struct sink_mail *mail)
{
	struct dkim_verifier *v = &mail->verifier;

	if (v->count)
		dkim_verify_body_end(v);
	else
		sink_count(mail->stats, unsigned_mail, 1);
	for (size_t i = 0; i < v->count; i++) {
		enum dkim_result result = v->checks[i].result;

		if (result == DKIM_PENDING) {
			struct out name = out_arena(&mail->arena);

			dkim_verify_query(&v->checks[i], &name);
			slice record = keyfile_find(&mail->sink->keys, out_written(&name));

			result = dkim_verify_key(v, i, record.len ? OK : ERR_NOT_FOUND, record);
		}
		if (result == DKIM_PASS)
			sink_count(mail->stats, signatures_good, 1);
		else
			sink_count(mail->stats, signatures_bad, 1);
	}
}

void sink_mail_accept(struct sink_mail *mail, uint64_t now_ns)
{
	struct template_fields f;

	sink_count(mail->stats, accepted, 1);
	sink_count(mail->stats, bytes, mail->bytes);
	if (find_sequence(out_written(&mail->head), &f)) {
		track_mark(&mail->sink->track, f.number);
		if (f.sent_ns && now_ns > f.sent_ns)
			histogram_record(&mail->stats->end_to_end, (now_ns - f.sent_ns) / 1000);
	} else {
		sink_count(mail->stats, no_sequence, 1);
	}
	if (mail->verify)
		count_signatures(mail);
}
