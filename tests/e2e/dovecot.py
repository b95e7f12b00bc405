# SPDX-License-Identifier: GPL-2.0-or-later
"""A real Dovecot for one test or measurement: unpacked by ./dev, never installed, in a folder of its own.

    with Place() as place, Dovecot(place) as dovecot:
        ... IMAP on 127.0.0.1 port dovecot.imap, any user, any password ...

Every user exists; mail lies in sdbox or Maildir below the place. It changes users, so it needs root;
without root its tests are skipped.
"""
import os
import pwd

from support import (FOREIGN, Process, Skip, accepts, foreign_env, free_ports, program, run,
                     until)

CONF = """
base_dir = {place}/run
state_dir = {place}/state
log_path = {place}/dovecot.log
import_environment = TZ LD_LIBRARY_PATH
protocols = imap pop3 lmtp
listen = 127.0.0.1
ssl = {ssl}
{certificates}
disable_plaintext_auth = no
auth_mechanisms = plain login
auth_cache_size = 10M
default_internal_user = {user}
default_internal_group = {group}
default_login_user = {user}
first_valid_uid = 1
mail_uid = {user}
mail_gid = {group}
mail_location = {format}:{place}/mail/%u
mail_fsync = {fsync}
default_process_limit = 1000
default_client_limit = 20000
default_vsz_limit = 0
mail_max_userip_connections = 10000
namespace inbox {{
  inbox = yes
  separator = /
  mailbox Drafts {{
    special_use = \\Drafts
    auto = create
  }}
  mailbox Sent {{
    special_use = \\Sent
    auto = create
  }}
  mailbox Junk {{
    special_use = \\Junk
    auto = create
  }}
  mailbox Trash {{
    special_use = \\Trash
    auto = create
  }}
  mailbox Archive {{
    special_use = \\Archive
    auto = create
  }}
}}
passdb {{
  driver = static
  args = nopassword=y
}}
userdb {{
  driver = static
  args = uid={user} gid={group} home={place}/mail/%u allow_all_users=yes
}}
service imap-login {{
  chroot =
  inet_listener imap {{
    port = {imap}
  }}
  inet_listener imaps {{
    port = {imaps}
  }}
}}
service pop3-login {{
  chroot =
  inet_listener pop3 {{
    port = {pop3}
  }}
  inet_listener pop3s {{
    port = {pop3s}
  }}
}}
service lmtp {{
  inet_listener lmtp {{
    port = {lmtp}
  }}
}}
service stats {{
  client_limit = 20000
}}
service anvil {{
  chroot =
}}
{more}
"""


class Dovecot:
    """`format`: sdbox or maildir. `fsync`: as Dovecot's mail_fsync; "always" is what a durable server
    compares with. `more`: further lines of its configuration."""

    def __init__(self, place, format="sdbox", tls=False, fsync="optimized", more=""):
        self.place, self.format, self.tls, self.fsync, self.more = place, format, tls, fsync, more

    def configuration(self):
        certificates = ""
        if self.tls:
            cert, key = self.place.certificate()
            certificates = f"ssl_cert = <{cert}\nssl_key = <{key}"
        return CONF.format(place=self.place.path, user="mail", group="mail",
                           ssl="yes" if self.tls else "no", certificates=certificates,
                           format=self.format, fsync=self.fsync,
                           imap=self.imap, imaps=self.imaps, pop3=self.pop3, pop3s=self.pop3s,
                           lmtp=self.lmtp, more=self.more)

    def namespace(self):
        """Its paths are compiled in: where it is only unpacked, it sees that over /usr."""
        if os.path.exists("/usr/lib/dovecot/imap"):
            return []
        program("dovecot", "dovecot-core")
        over = os.path.join(FOREIGN, "usr")
        command = ["unshare", "--mount", "sh", "-c",
                   f'mount -t overlay overlay -o "lowerdir={over}:/usr" /usr && exec "$0" "$@"']
        if run(*command, "true", check=False).returncode:
            raise Skip("Dovecot is not installed, and mounts are forbidden here")
        return command

    def __enter__(self):
        if os.geteuid() != 0:
            raise Skip("Dovecot needs root")
        user = pwd.getpwnam("mail")
        os.chmod(self.place.path, 0o755)
        for name in ("run", "state", "mail"):
            os.makedirs(os.path.join(self.place.path, name), exist_ok=True)
        os.chown(os.path.join(self.place.path, "mail"), user.pw_uid, user.pw_gid)
        for last in (False, False, True):  # a port may be taken between our look and its bind
            if self.start(last):
                return self

    def start(self, last):
        """False: a port was taken."""
        self.imap, self.imaps, self.pop3, self.pop3s, self.lmtp = free_ports(5)
        path = self.place.file("dovecot.conf", self.configuration())
        self.process = Process(self.place, "dovecot", [*self.namespace(), "dovecot", "-F", "-c", path],
                               env=foreign_env())
        try:
            until(lambda: self.process.check_alive() and
                  all(map(accepts, (self.imap, self.pop3, self.lmtp))), "Dovecot")
            return self.process.check_alive()
        except BaseException as why:
            self.process.stop()
            if last or not isinstance(why, RuntimeError) or "already in use" not in self.process.log():
                raise
            return False

    def __exit__(self, *_):
        self.process.stop()

    def log(self):
        try:
            with open(os.path.join(self.place.path, "dovecot.log"), errors="replace") as file:
                return file.read()
        except FileNotFoundError:
            return ""
