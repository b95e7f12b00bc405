# SPDX-License-Identifier: GPL-2.0-or-later
"""One server with mailboxes for all tests of a script, and an account of its own for each of them.

    suite = Suite(staged(CONFIG, ("smtp", "imap")))

    @suite.test
    def mail_is_read(st):
        name = st.account()
        st.deliver(name, mail("one"))
"""
import contextlib
import os
import smtplib
import stat

from support import PATIENCE_S, Place, Ringpost


class Stage:
    def __init__(self, place, server):
        self.place, self.server, self.ports = place, server, server.ports
        self.ca = place.certificate()[0]
        self.count = 0

    def account(self):
        """A fresh one, so that tests do not see each other's mail."""
        self.count += 1
        name = f"user{self.count}@example.test"
        self.server.add_accounts(name)
        return name

    def deliver(self, to, *bodies):
        with smtplib.SMTP("127.0.0.1", self.ports["smtp"], timeout=PATIENCE_S) as client:
            for body in bodies:
                client.sendmail("sender@example.org", [to], body)

    def secret(self, name, text):
        """A file that only its owner reads, as mail programs want it."""
        path = self.place.file(name, text)
        os.chmod(path, stat.S_IRUSR | stat.S_IWUSR)
        return path

    def folder(self, name):
        path = os.path.join(self.place.path, name)
        os.makedirs(path, exist_ok=True)
        return path


def staged(config, services, make=Stage, **more):
    """What a Suite shares: `make` of a running server; `more` is Ringpost's."""
    @contextlib.contextmanager
    def stage():
        with Place() as place, Ringpost(place, config, services=services, **more) as server:
            yield make(place, server)
    return stage


def mail(subject, body="Hello.\n", **fields):
    """Text of a letter. Names of header fields: '_' becomes '-'."""
    more = "".join(f"{name.replace('_', '-')}: {value}\n" for name, value in fields.items())
    return f"From: s@example.org\nTo: r@example.test\nSubject: {subject}\n{more}\n{body}"
