#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Under a real systemd: a container that boots as process 1 what this machine has in /usr, with our
unit, user and folders, in a network of its own. Nothing of the machine is changed or reached."""
import contextlib
import os
import re
import shutil
import signal
import subprocess

from support import BUILD, Place, Process, Skip, Suite, run, until

BOOT_S = 120
SOURCE = os.environ.get("RINGPOST_SOURCE") or os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..")
PROGRAMS = "/opt/ringpost"
# The leak checker wants to trace its process, which the unit forbids. In a container of cgroup v1 systemd is
# not always told that a group is empty, and waits for this long.
DROP_IN = """[Service]
Environment=ASAN_OPTIONS=detect_leaks=0:detect_stack_use_after_return=0
TimeoutStopSec=10
"""
CONFIG = """hostname: mx.example.test
data: /var/lib/ringpost
control: /run/ringpost/control.sock
user: ringpost
group: ringpost
drain: 2s
tls:
  certificates: [ { cert: cert.pem, key: key.pem } ]
smtp: { size: SIZE }
"""
TALK = """import socket
with socket.create_connection(("127.0.0.1", PORT), 60) as s:
    f = s.makefile("rwb")
    assert f.readline().startswith(b"220 "), "greeting"
    f.write(b"EHLO client.test\\r\\n"); f.flush()
    while True:
        line = f.readline().decode()
        print(line, end="")
        if line[3] == " ": break
"""


class Machine:
    """A booted container; its commands run as its root."""

    def __init__(self, place):
        self.place, self.root = place, place.file("root")
        self.process = self.leader = None

    def file(self, path, text, mode=0o644):
        path = self.root + path
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "w", encoding="utf-8") as f:
            f.write(text)
        os.chmod(path, mode)

    def make(self):
        os.chmod(self.place.path, 0o755)
        for name in ("usr", "etc", "var", "run", "tmp", "proc", "sys", "dev", "root"):
            os.makedirs(os.path.join(self.root, name))
        for name in ("bin", "sbin", "lib", "lib32", "lib64", "libx32"):
            if os.path.islink("/" + name):
                os.symlink("usr/" + name, os.path.join(self.root, name))
        self.file("/etc/os-release", "ID=test\nNAME=test\n")
        self.file("/etc/passwd", "root:x:0:0:root:/root:/bin/sh\n")
        self.file("/etc/group", "root:x:0:\n")
        self.file("/etc/ld.so.cache", "")
        shutil.copy("/etc/ld.so.cache", self.root + "/etc/ld.so.cache")
        with contextlib.suppress(OSError):
            shutil.copytree("/etc/alternatives", self.root + "/etc/alternatives", symlinks=True)
        # Only what a system needs to come up; nothing is enabled because this is its first boot.
        self.file("/etc/systemd/system-preset/00-test.preset", "disable *\n")
        self.file("/etc/systemd/system/test.target", "[Unit]\nRequires=basic.target\nAfter=basic.target\n")
        os.symlink("test.target", self.root + "/etc/systemd/system/default.target")

    def install(self):
        """What `meson install` would, elsewhere; the unit's own text but for the program's path."""
        os.makedirs(self.root + PROGRAMS)
        shutil.copy(os.path.join(BUILD, "ringpost"), self.root + PROGRAMS)
        with open(os.path.join(BUILD, "dist", "ringpost.service"), encoding="utf-8") as f:
            text = re.sub(r"(?m)^(Exec\w+=)\S+/ringpost ", rf"\g<1>{PROGRAMS}/ringpost ", f.read())
        self.file("/etc/systemd/system/ringpost.service", text)
        self.file("/etc/systemd/system/ringpost.service.d/test.conf", DROP_IN)
        for kind in ("sysusers", "tmpfiles"):
            with open(os.path.join(SOURCE, "dist", "ringpost." + kind), encoding="utf-8") as f:
                self.file(f"/etc/{kind}.d/ringpost.conf", f.read())
        cert, key = self.place.certificate()
        for name, path in (("cert.pem", cert), ("key.pem", key)):
            with open(path, encoding="utf-8") as f:
                self.file("/etc/ringpost/" + name, f.read(), 0o600)
        self.configure("40M")

    def configure(self, size):
        self.file("/etc/ringpost/ringpost.yaml", CONFIG.replace("SIZE", size))

    def find_leader(self):
        """Process 1 of the container: the first child of systemd-nspawn."""
        with contextlib.suppress(OSError, IndexError, ValueError):
            pid = self.process.child.pid
            with open(f"/proc/{pid}/task/{pid}/children", encoding="ascii") as f:
                return int(f.read().split()[0])
        return None

    def is_up(self):
        if self.process.child.poll() is not None:
            raise Skip("no container boots here: " + self.process.log()[-300:].strip())
        self.leader = self.find_leader()
        return self.leader and self.ask("systemctl", "is-active", "test.target").stdout.strip() == "active"

    def __enter__(self):
        self.make()
        self.install()
        self.process = Process(self.place, "nspawn", [
            "systemd-nspawn", "--quiet", "--directory", self.root, "--bind-ro=/usr", "--boot", "--private-network",
            "--register=no", "--keep-unit", "--console=pipe", "--link-journal=no"])
        try:
            until(self.is_up, "the container", BOOT_S)
        except TimeoutError:
            self.__exit__(None)
            raise Skip("no container boots here: " + self.process.log()[-300:].strip()) from None
        except BaseException:
            self.__exit__(None)
            raise
        return self

    def __exit__(self, *_):
        if self.process.child.poll() is None and self.leader:
            os.kill(self.leader, signal.SIGRTMIN + 4)  # power off
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.child.wait(60)
        self.process.stop(signal.SIGKILL)

    def ask(self, *command):
        return run("nsenter", "--target", self.leader, "--all", *command, check=False, timeout=120,
                   env={"PATH": "/usr/sbin:/usr/bin", "LC_ALL": "C", "SYSTEMD_COLORS": "0"})

    def do(self, *command):
        try:
            done = self.ask(*command)
        except subprocess.TimeoutExpired as error:
            raise AssertionError(f"{error}\n{self.ask('systemctl', 'list-jobs').stdout}{self.journal()}") from None
        assert done.returncode == 0, (command, done.stdout, done.stderr, self.journal())
        return done.stdout.strip()

    def journal(self):
        return self.ask("journalctl", "--no-pager", "--unit", "ringpost").stdout

    def shows(self, name):
        return self.do("systemctl", "show", "ringpost", "--property", name, "--value")

    def ehlo(self, port=25):
        return self.do("/usr/bin/python3", "-c", TALK.replace("PORT", str(port)))


suite = Suite()


@suite.test
def a_service_lives_and_dies():
    if os.getuid() != 0 or not shutil.which("systemd-nspawn") or not os.path.exists("/lib/systemd/systemd"):
        raise Skip("root, systemd and systemd-nspawn are wanted")
    if not os.path.exists(os.path.join(BUILD, "dist", "ringpost.service")):
        raise Skip("there is no unit file")
    with Place() as place, Machine(place) as machine:
        # Started: it told systemd itself, and serves the standard ports as somebody else than root.
        machine.do("systemctl", "start", "ringpost")
        assert (machine.shows("ActiveState"), machine.shows("SubState")) == ("active", "running")
        assert "SIZE 41943040" in machine.ehlo(25) and "STARTTLS" in machine.ehlo(587)
        running = {tuple(line.split()) for line in machine.do("ps", "-e", "-o", "user:20=,comm=").splitlines()}
        assert running >= {("ringpost", "ringpost"), ("root", "ringpost-root")}, running  # and its helper
        assert "listening" in machine.journal()
        # The command line reaches it; the data folder is the user's alone.
        machine.do(PROGRAMS + "/ringpost", "domain", "add", "example.test")
        assert machine.do("stat", "-c", "%U %a", "/var/lib/ringpost") == "ringpost 700"
        # Reloaded: the root helper reads keys that the user may not.
        first = machine.shows("MainPID")
        machine.configure("30M")
        machine.do("systemctl", "reload", "ringpost")
        until(lambda: "SIZE 31457280" in machine.ehlo(25), "the new configuration")
        assert machine.shows("MainPID") == first and "reload failed" not in machine.journal()
        # Killed: systemd starts it again.
        machine.do("systemctl", "kill", "--kill-whom=main", "--signal=KILL", "ringpost")
        until(lambda: machine.shows("NRestarts") == "1" and machine.shows("ActiveState") == "active", "the restart")
        assert "example.test" in machine.do(PROGRAMS + "/ringpost", "domain", "list")
        # Stopped in order.
        machine.do("systemctl", "stop", "ringpost")
        assert (machine.shows("ActiveState"), machine.shows("Result")) == ("inactive", "success"), machine.journal()
        assert "stopped" in machine.journal()
        # A configuration that cannot work does not start, and the journal says why.
        machine.configure("no size")
        assert machine.ask("systemctl", "start", "ringpost").returncode != 0
        assert "smtp.size" in machine.journal(), machine.journal()
        found = re.search(r"exposure level for ringpost.service: ([\d.]+)",
                          machine.do("systemd-analyze", "--no-pager", "security", "ringpost.service"))
        print("systemd-analyze security:", found[1])
        assert float(found[1]) < 4


suite.main()
