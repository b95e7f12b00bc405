# SPDX-License-Identifier: GPL-2.0-or-later
"""What the rows of ./dev bench stand on: starting the generator, the sink and the server, and reading from
/proc what they cost."""
import contextlib
import json
import os
import re
import subprocess
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(HERE)
os.environ.setdefault("RINGPOST_BUILD", os.path.join(ROOT, "build"))
sys.path.insert(0, os.path.join(ROOT, "tests", "e2e"))
import support  # noqa: E402

BENCH = os.path.join(os.environ["RINGPOST_BUILD"], "ringpost-bench")
USER, PASSWORD = "alice@example.test", "correct horse battery"
TICKS = os.sysconf("SC_CLK_TCK")

# Messages wait for a destination that never greets: what is measured is intake alone.
NOBODY = "connect delay 3600s\n"
# Large enough that nothing is moved to the index for lack of room while a run lasts.
ROOMY = {"relay": {"queue": {"ram": "4G", "path_ready": 10000000, "ready": 10000000, "park_after": "10m"}}}
QUIET = {"log": {"level": "warn"}}


def cpu_tree(pid, step=1):
    """CPU seconds of a process and all its living descendants, reaped children included; with step 2 in
    user mode only."""
    try:
        with open(f"/proc/{pid}/stat", encoding="ascii", errors="replace") as f:
            total = sum(int(n) for n in f.read().rsplit(")", 1)[1].split()[11:15:step]) / TICKS
        with open(f"/proc/{pid}/task/{pid}/children", encoding="ascii") as f:
            return total + sum(cpu_tree(int(child), step) for child in f.read().split())
    except OSError:
        return 0.0


def tree(pid):
    """A process and its living descendants."""
    try:
        with open(f"/proc/{pid}/task/{pid}/children", encoding="ascii") as f:
            return [pid, *(p for child in f.read().split() for p in tree(int(child)))]
    except OSError:
        return []  # it ended


def ran_ns(pid):
    """Nanoseconds on a core by thread, of a process and its living descendants: for what is less than ticks can
    tell. What ends in between is lost."""
    found = {}
    for process in tree(pid):
        with contextlib.suppress(OSError):
            for thread in os.listdir(f"/proc/{process}/task"):
                with open(f"/proc/{process}/task/{thread}/schedstat", encoding="ascii") as f:
                    found[thread] = int(f.read().split()[0])
    return found


def ran_s(pid, before):
    """Seconds on a core since `before`, which ran_ns gave."""
    return sum(ns - before.get(thread, 0) for thread, ns in ran_ns(pid).items()) / 1e9


def bench_json(*words, timeout=600):
    """Run ringpost-bench to its end and return its last JSON line."""
    done = subprocess.run([BENCH, *map(str, words), "--json"], stdout=subprocess.PIPE, text=True,
                          timeout=timeout, check=False)
    lines = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
    if not lines or "title" not in lines[-1] and "final" not in lines[-1]:
        raise RuntimeError(f"{words}: exit {done.returncode}\n{done.stdout[-2000:]}")
    return lines[-1]


class BenchSink:
    """ringpost-bench sink on a free port, its lines in a file."""

    def __init__(self, place, *words, script=None):
        self.place, self.words = place, list(words)
        if script:
            self.words += ["--script", place.file("script.txt", script)]

    def __enter__(self):
        self.process = support.Process(self.place, "sink", [BENCH, "sink", "--listen", "127.0.0.1:0", "--json",
                                                            "--every", "100ms", *self.words])
        line = support.until(lambda: self.process.check_alive() and '"listening"' in self.process.log()
                             and self.process.log().splitlines()[0], "the sink")
        self.port = int(json.loads(line)["listening"].rsplit(":", 1)[1])
        return self

    def latest(self):
        lines = [line for line in self.process.log().splitlines() if line.startswith('{"seen"') and line.endswith("}")]
        return json.loads(lines[-1]) if lines else {"seen": 0}

    def __exit__(self, *_):
        self.process.stop()


def ringpost(place, sink_port, tls="none", config=None, **more):
    base = support.merge(support.merge(ROOMY, QUIET), {
        "relay": {"routes": [{"domain": "*", "hosts": ["127.0.0.1"], "port": sink_port, "tls": tls}]}})
    server = support.Ringpost(place, config=support.merge(base, config or {}), **more)
    for row in server.config["listen"]:
        if row["service"] == "smtp":
            row["relay_from"] = ["127.0.0.0/8"]
    return server


def add_account(server, keys=()):
    server.write_config()
    server.cli("domain", "add", "example.test")
    server.cli("account", "add", USER, "--password-stdin", input=PASSWORD + "\n")
    for selector, kind in keys:
        server.cli("dkim", "add", "example.test", "--selector", selector, "--type", kind)


def memory_kb(pid):
    """PSS of a process tree, in KB."""
    with open(f"/proc/{pid}/smaps_rollup", encoding="ascii") as f:
        total = int(re.search(r"^Pss: +(\d+) kB", f.read(), re.M).group(1))
    with open(f"/proc/{pid}/task/{pid}/children", encoding="ascii") as f:
        return total + sum(memory_kb(int(child)) for child in f.read().split())


class Peak:
    """The most memory that processes had while this was open, above what each had before, in MB. One that ended meanwhile
    does not count."""

    def __init__(self, pid):
        self.pids = tree(pid)

    def kb(self, field):
        found = {}
        for pid in self.pids:
            with contextlib.suppress(OSError, AttributeError), open(f"/proc/{pid}/status", encoding="ascii") as f:
                found[pid] = int(re.search(rf"^{field}:\s+(\d+)", f.read(), re.M).group(1))
        return found

    def __enter__(self):
        for pid in self.pids:
            with contextlib.suppress(OSError), open(f"/proc/{pid}/clear_refs", "w", encoding="ascii") as f:
                f.write("5\n")  # from here on the peak is counted anew
        self.before = self.kb("VmRSS")
        return self

    def __exit__(self, *_):
        self.mb = sum(max(kb - self.before.get(pid, kb), 0) for pid, kb in self.kb("VmHWM").items()) / 1024


def kernel_kb():
    """Slab and socket buffers of the whole machine."""
    with open("/proc/meminfo", encoding="ascii") as f:
        slab = int(re.search(r"^Slab: +(\d+) kB", f.read(), re.M).group(1))
    with open("/proc/net/sockstat", encoding="ascii") as f:
        pages = int(re.search(r"^TCP: .* mem (\d+)", f.read(), re.M).group(1))
    return slab + pages * os.sysconf("SC_PAGESIZE") // 1024


def cpu_group(pgid):
    """CPU seconds of all processes of one group: Postfix is many, short-lived among them."""
    total = 0.0
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{pid}/stat", encoding="ascii", errors="replace") as f:
                fields = f.read().rsplit(")", 1)[1].split()
        except OSError:
            continue
        if int(fields[2]) == pgid:
            total += sum(int(n) for n in fields[11:15]) / TICKS
    return total
