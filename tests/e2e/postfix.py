# SPDX-License-Identifier: GPL-2.0-or-later
"""A real Postfix for one test: unpacked by ./dev, never installed, in a folder of its own.

    with Place() as place, Sink() as sink, Postfix(place, relay_to=sink.port) as postfix:
        ... send to 127.0.0.1 port postfix.port ...

It takes mail from loopback for any recipient, queues it, and relays all of it. Its programs change
to users that every Debian has, so it needs root; without root its tests are skipped.
"""
import os
import shutil

from support import PATIENCE_S, Process, Skip, accepts, foreign_env, free_port, program, until

OWNER, GROUP, DEFAULT = "mail", "utmp", "nobody"  # three accounts, as Postfix insists

MAIN = """compatibility_level = 3.6
myhostname = postfix.example.test
mydestination =
mynetworks = 127.0.0.0/8
inet_interfaces = 127.0.0.1
inet_protocols = ipv4
queue_directory = {place}/queue
data_directory = {place}/state
meta_directory = {place}/conf
daemon_directory = {daemons}
command_directory = {commands}
shlib_directory = {libraries}
mail_owner = {owner}
setgid_group = {group}
default_privs = {default}
import_environment = MAIL_CONFIG LD_LIBRARY_PATH
maillog_file = {place}/mail.log
maillog_file_prefixes = {place}
alias_maps =
alias_database =
local_recipient_maps =
smtpd_relay_restrictions = permit_mynetworks, reject
smtpd_peername_lookup = no
smtpd_client_connection_count_limit = 0
smtp_dns_support_level = disabled
smtp_host_lookup = native
default_process_limit = 100
relayhost = [127.0.0.1]:{relay}
"""

MASTER = """127.0.0.1:{port} inet n - n - - smtpd
cleanup unix n - n - 0 cleanup
qmgr unix n - n 300 1 qmgr
tlsmgr unix - - n 1000? 1 tlsmgr
rewrite unix - - n - - trivial-rewrite
bounce unix - - n - 0 bounce
defer unix - - n - 0 bounce
trace unix - - n - 0 bounce
flush unix n - n 1000? 0 flush
proxymap unix - - n - - proxymap
smtp unix - - n - - smtp
relay unix - - n - - smtp
lmtp unix - - n - - lmtp
showq unix n - n - - showq
error unix - - n - - error
retry unix - - n - - error
anvil unix - - n - 1 anvil
scache unix - - n - 1 scache
postlog unix-dgram n - n - 1 postlogd
"""

QUEUES = ("active", "bounce", "corrupt", "defer", "deferred", "flush", "hold", "incoming", "private",
          "saved", "trace")


class Postfix:
    """`options` are lines of main.cf by name; `tls` offers STARTTLS with the place's certificate."""

    def __init__(self, place, relay_to, tls=False, options=None):
        self.place, self.relay_to, self.tls = place, relay_to, tls
        self.options = options or {}

    def folders(self):
        os.chmod(self.place.path, 0o755)
        for name, mode in (("conf", 0o755), ("queue", 0o755), ("state", 0o700)):
            os.makedirs(self.place.file(name), mode, exist_ok=True)
        shutil.chown(self.place.file("state"), OWNER)
        os.makedirs(self.place.file("queue/pid"), exist_ok=True)
        for name in QUEUES:
            os.makedirs(self.place.file("queue/" + name), 0o700, exist_ok=True)
            shutil.chown(self.place.file("queue/" + name), OWNER)
        for name, mode in (("maildrop", 0o730), ("public", 0o710)):
            path = self.place.file("queue/" + name)
            os.makedirs(path, exist_ok=True)
            shutil.chown(path, OWNER, GROUP)
            os.chmod(path, mode)

    def configure(self, master):
        daemons = os.path.dirname(master)
        text = MAIN.format(place=self.place.path, daemons=daemons,
                           commands=os.path.dirname(program("postdrop", "postfix")),
                           libraries=os.path.dirname(daemons), owner=OWNER, group=GROUP,
                           default=DEFAULT, relay=self.relay_to)
        options = dict(self.options)
        if self.tls:
            cert, key = self.place.certificate()
            options |= {"smtpd_tls_cert_file": cert, "smtpd_tls_key_file": key,
                        "smtpd_tls_security_level": "may"}
        text += "".join(f"{name} = {value}\n" for name, value in options.items())
        self.place.file("conf/main.cf", text)
        self.place.file("conf/master.cf", MASTER.format(port=self.port))

    def __enter__(self):
        if os.getuid() != 0:
            raise Skip("Postfix wants root")
        master = program("master", "postfix")
        self.folders()
        for _ in range(5):  # the port may be taken between our look and its bind
            self.port = free_port()
            self.configure(master)
            conf = self.place.file("conf")
            self.process = Process(self.place, "postfix", [master, "-c", conf, "-d"],
                                   env=foreign_env(MAIL_CONFIG=conf))
            until(lambda: accepts(self.port) or self.process.child.poll() is not None, "Postfix",
                  PATIENCE_S)
            if self.process.child.poll() is None:
                return self
            self.process.stop()
        raise RuntimeError("Postfix does not start:\n" + self.log())

    def log(self):
        try:
            with open(self.place.file("mail.log"), encoding="utf-8", errors="replace") as f:
                return f.read()
        except FileNotFoundError:
            return self.process.log()

    def queued(self):
        """Names of the messages that are still here."""
        return [name for queue in ("active", "deferred", "incoming", "hold")
                for _, _, names in os.walk(self.place.file("queue/" + queue)) for name in names]

    def __exit__(self, *_):
        self.process.stop()
