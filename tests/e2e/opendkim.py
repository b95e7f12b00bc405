# SPDX-License-Identifier: GPL-2.0-or-later
"""DKIM checked by OpenDKIM, which finds keys by DNS only.

opendkim-testmsg takes no key file, so it runs in a network and mount namespace of its own, with a
knot of its own on port 53 that serves the records of the test. That needs root.
"""
import os
import re

from support import Dns, Skip, foreign_env, program, run

# $1: knot's configuration, $2: resolv.conf, rest: message files. One line a message: file, status.
SCRIPT = """
set -eu
ip link set lo up
mount --bind "$2" "$(readlink -f /etc/resolv.conf)"
"$KNOTD" -c "$1" >/dev/null 2>&1 &
knot=$!
trap 'kill $knot; wait $knot || true' EXIT
shift 2
tries=0
until "$PYTHON" -c 'import socket; socket.create_connection(("127.0.0.1", 53), 1)' 2>/dev/null; do
	tries=$((tries + 1))
	[ $tries -lt 200 ]
	sleep 0.05
done
for file in "$@"; do
	status=0
	"$TESTMSG" <"$file" >"$file.said" 2>&1 || status=$?
	echo "$status"
done
"""


def verify(place, messages, keys):
    """What OpenDKIM says of each message (bytes, CRLF): '' when its signatures are good, else a
    text. `keys` maps a record's full name, 's1._domainkey.example.test', to its TXT value."""
    if os.getuid() != 0:
        raise Skip("namespaces want root")
    if run("unshare", "--net", "--mount", "true", check=False).returncode:
        raise Skip("no namespaces here: a container without the right, or a chroot")
    files = []
    for number, text in enumerate(messages):
        files.append(place.file(f"opendkim-{number}.eml"))
        with open(files[-1], "wb") as f:
            f.write(text)
    env = foreign_env(KNOTD=program("knotd", "knot"), TESTMSG=program("opendkim-testmsg"),
                      PYTHON="/usr/bin/python3")
    config = knot_config(place, keys)
    resolver = place.file("opendkim-resolv.conf", "nameserver 127.0.0.1\n")
    said = run("unshare", "--net", "--mount", "sh", "-c", SCRIPT, "verify", config, resolver,
               *files, env=env).stdout.split()
    return ["" if status == "0" else f"status {status}: {read(file + '.said')}"
            for file, status in zip(files, said, strict=True)]


def read(path):
    with open(path, encoding="utf-8", errors="replace") as f:
        return f.read()


def knot_config(place, keys):
    """One zone a domain, on port 53 of the namespace."""
    zones = {}
    for name, value in keys.items():
        label, domain = re.fullmatch(r"(.+\._domainkey)\.(.+)", name).groups()
        parts = " ".join(f'"{value[i:i + 200]}"' for i in range(0, len(value), 200))
        zones[domain] = zones.get(domain, "") + f"{label} TXT {parts}\n"
    storage = place.file("opendkim-knot")
    os.makedirs(storage, exist_ok=True)
    rows = ""
    for zone, text in zones.items():
        path = place.file(f"opendkim-knot/{zone}.zone", Dns.HEAD.format(zone=zone) + text)
        rows += f"  - domain: {zone}\n    file: {path}\n    journal-content: none\n"
    return place.file("opendkim-knot.conf", f"server:\n  rundir: {storage}\n  listen: 127.0.0.1@53\n"
                      f"database:\n  storage: {storage}\nzone:\n{rows}")
