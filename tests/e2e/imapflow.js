// SPDX-License-Identifier: GPL-2.0-or-later
// What a modern client does: COMPRESS, CONDSTORE and QRESYNC, IDLE, flags, moves. Run by imap_clients.py.
'use strict';
const assert = require('assert');
const fs = require('fs');
const net = require('net');
const { ImapFlow } = require('imapflow');

const connect = async (more = {}) => {
	const client = new ImapFlow({
		// By address: the name may be that of ::1 too, which nobody serves here.
		host: '127.0.0.1', servername: 'localhost', port: Number(process.env.IMAP_PORT), secure: true, logger: false,
		auth: { user: process.env.IMAP_USER, pass: process.env.IMAP_PASSWORD },
		tls: { ca: fs.readFileSync(process.env.IMAP_CA) }, qresync: true, ...more,
	});
	await client.connect();
	return client;
};

// One message by SMTP, as the world sends it.
const deliver = subject => new Promise((resolve, reject) => {
	const lines = ['HELO x', 'MAIL FROM:<s@example.org>', `RCPT TO:<${process.env.IMAP_USER}>`, 'DATA',
		`Subject: ${subject}\r\n\r\nHello.\r\n.`, 'QUIT'];
	const socket = net.connect(Number(process.env.SMTP_PORT), '127.0.0.1');
	socket.on('error', reject).on('close', resolve);
	socket.on('data', () => lines.length && socket.write(lines.shift() + '\r\n'));
});

const main = async () => {
	const one = await connect();
	assert(one.capabilities.has('IDLE') && one.capabilities.has('QRESYNC'));
	const boxes = await one.list();
	assert(boxes.some(box => box.specialUse === '\\Trash'));
	await one.mailboxOpen('INBOX');
	assert.strictEqual(one.mailbox.exists, 10);
	const before = one.mailbox.highestModseq, validity = one.mailbox.uidValidity;

	const all = [];
	for await (const m of one.fetch('1:*', { envelope: true, bodyStructure: true, flags: true,
		source: true, threadId: true, internalDate: true }))
		all.push(m);
	assert.strictEqual(all.length, 10);
	assert.strictEqual(all[3].envelope.subject, 'flow 3');
	assert(all[0].source.toString().includes('Hello.'));

	// A second client changes things while the first one is away.
	const two = await connect();
	await two.mailboxOpen('INBOX');
	await two.messageFlagsAdd('2', ['\\Seen', '$Forwarded']);
	await two.messageDelete('5');
	await two.messageMove('1', 'Archive');
	await one.mailboxClose();
	const changed = [], gone = [];
	one.on('expunge', info => gone.push(info.uid || info.seq));
	await one.mailboxOpen('INBOX');
	for await (const m of one.fetch('1:*', { flags: true, uid: true }, { changedSince: before }))
		changed.push(m);
	assert.strictEqual(one.mailbox.uidValidity, validity);
	assert.strictEqual(one.mailbox.exists, 8);
	assert.strictEqual(changed.length, 1);
	assert(changed[0].flags.has('$Forwarded'));

	// IDLE: what arrives is told.
	const told = new Promise((resolve, reject) => {
		one.once('exists', resolve);
		setTimeout(() => reject(new Error('nothing was told in IDLE')), 20000).unref();
	});
	const idling = one.idle();
	await new Promise(resolve => setTimeout(resolve, 200));
	await deliver('in the night');
	const news = await told;
	assert.strictEqual(news.count, 9);
	const found = await one.search({ subject: 'night' });
	assert.deepStrictEqual(found, [9]);
	await idling;

	const appended = await one.append('Sent', 'Subject: sent\r\n\r\nBody\r\n', ['\\Seen']);
	assert(appended.uid === 1 && appended.uidValidity);
	const status = await one.status('Sent', { messages: true, unseen: true, highestModseq: true });
	assert(status.messages === 1 && status.unseen === 0);
	await one.mailboxCreate('Deep/Er');
	await one.mailboxRename('Deep/Er', 'Deep/Est');
	await one.mailboxDelete('Deep/Est');
	await one.logout();
	await two.logout();
	console.log('all well');
};

main().catch(error => {
	console.error(error);
	process.exit(1);
});
