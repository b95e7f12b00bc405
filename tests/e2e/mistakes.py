#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""What an operator is told when something named is not there, not what it should be, or not to be changed now."""
import json
import os
import re
import signal

from hop import Hop
from support import Place, Ringpost, Suite, accepts, message, ringpost, run, submission, submit, until
from talk import Talk

suite = Suite()


# --- The configuration ---------------------------------------------------------------------------


@suite.test
def what_waits_for_a_restart_is_what_differs_from_what_runs():
    with Place() as place, Ringpost(place, {"log": {"format": "json"}}) as server:
        def reload(name):
            """The complaints of one reload, which `name`s the server so that its end can be seen."""
            server.config["hostname"] = name
            before = len(server.log())
            server.reload()
            until(lambda: "configuration reloaded" in server.log()[before:], "the reload")
            return re.findall(r"restart to change (\S+?)\"", server.log()[before:])

        server.config["job_threads"] = 6
        assert reload("one.example.test") == ["job_threads"]
        server.config["limits"] = {"memory": "64M"}
        assert sorted(reload("two.example.test")) == ["job_threads", "limits.memory"]  # as long as it is true
        server.config.pop("job_threads")
        assert reload("three.example.test") == ["limits.memory"]
        server.config.pop("limits")
        assert reload("four.example.test") == []
        with Talk(server.ports["smtp"]) as talk:
            assert "four.example.test" in talk.greeting[1]


@suite.test
def data_is_a_folder():
    with Place() as place:
        server = Ringpost(place)
        file = place.file("a-file", "")
        os.symlink(place.file("nothing"), place.file("a-link"))
        for path, said in ((file, "is no folder"), (os.path.join(file, "below"), f"no folder {file} "),
                           (place.file("a-link"), "is no folder"),
                           (os.path.join(place.path, "not", "there"), f"no folder {os.path.join(place.path, 'not')} ")):
            server.config["data"] = path
            server.write_config()
            with open(server.config_path, encoding="utf-8") as f:
                line = [n for n, text in enumerate(f, 1) if '"data"' in text][0]
            for command in (["check"], ["serve"], ["domain", "list"], ["fsck"]):
                done = ringpost(*command, "--config", server.config_path)
                assert done.returncode == 1, (command, done)
                assert done.stderr.startswith(f"{server.config_path}:{line}: `data`: ") and said in done.stderr and \
                    "allowed: a folder" in done.stderr and done.stderr.count("\n") == 1, (command, done.stderr)


@suite.test
def no_listener_is_not_all_of_them():
    with Place() as place:
        server = Ringpost(place)
        server.config["listen"] = []
        server.write_config()
        done = ringpost("check", "--config", server.config_path)
        assert done.returncode == 1 and "`listen` must be " in done.stderr and "at least 1" in done.stderr, done


@suite.test
def what_a_start_would_refuse_a_check_tells():
    route = lambda domain: {"domain": domain, "hosts": ["127.0.0.1"]}
    smtp = {"address": "127.0.0.1", "port": 2525, "service": "smtp"}
    local = {"address": "unix:/tmp/x.sock", "service": "lmtp"}
    with Place() as place:
        for name, value, said in (
                ("hostname", "not a host", "not a host is no host name"),
                ("listen", [smtp, local, {**smtp, "service": "submission"}], "two services at 127.0.0.1:2525"),
                ("listen", [smtp, smtp], "two services at 127.0.0.1:2525"), ("listen", [local, local], "two services at "),
                ("listen", [{"service": "smtp"}, {"port": 25, "service": "submission"}], "two services at 0.0.0.0:25"),
                ("store", {"segment": "1500K"}, "a multiple of 1M"), ("user", "no-such-user", "user no-such-user"),
                ("relay", {"ehlo": "a b"}, "a domain name, or an [address]"),
                ("relay", {"routes": [{**route("x.test"), "ehlo": "a b"}]}, "a domain name, or an [address]"),
                ("relay", {"routes": [route("x.test"), route("X.test")]}, "two rows for it"),
                ("relay", {"routes": [route("*"), route("*")]}, "two rows for *")):
            server = Ringpost(place)
            server.config[name] = value
            server.write_config()
            done = ringpost("check", "--config", server.config_path)
            assert done.returncode == 1 and said in done.stderr, (name, value, done)
            assert re.fullmatch(rf"{re.escape(server.config_path)}:\d+: `{name}[^`]*`: .*\n", done.stderr), done
        server = Ringpost(place, {"relay": {"ehlo": "[192.0.2.1]", "routes": [route("x.test"), route("*")]}})
        server.config["listen"] = [smtp, local, {**smtp, "port": 0}, {**smtp, "port": 0}, {**smtp, "address": "127.0.0.2"}]
        server.config["user"] = "nobody"
        server.write_config()
        assert ringpost("check", "--config", server.config_path).returncode == 0
        server.config["group"] = "no-such-group"
        server.write_config()
        done = ringpost("check", "--config", server.config_path)
        assert done.returncode == 1 and "no-such-group does not exist" in done.stderr, done


@suite.test
def a_socket_is_not_taken_from_anybody():
    with Place() as place, Place() as other, Ringpost(place) as server:
        server.config["listen"].append({"address": f"unix:{place.file('lmtp.sock')}", "service": "lmtp"})
        server.reload()
        until(lambda: os.path.exists(place.file("lmtp.sock")), "the new listener")
        server.reload()  # its own are not in its way
        second = Ringpost(other)
        second.config["control"] = server.config["control"]
        second.write_config()
        done = ringpost("serve", "--config", second.config_path)
        assert done.returncode == 1 and "control.sock: the address is in use" in done.stderr, done
        second.config["control"] = other.file("control.sock")
        second.config["listen"].append({"address": f"unix:{place.file('lmtp.sock')}", "service": "lmtp"})
        second.write_config()
        done = ringpost("serve", "--config", second.config_path)
        assert done.returncode == 1 and "lmtp.sock: the address is in use" in done.stderr, done
        assert server.cli_json("stats")["running"] is True
        done = server.cli("fsck", check=False)
        assert done.returncode == 1 and "is in use: stop the server first" in done.stderr and not done.stdout, done
        # Nor what is no socket at all.
        second.config["listen"].pop()
        second.config["control"] = other.file("a-file", "mine")
        second.write_config()
        done = ringpost("serve", "--config", second.config_path)
        assert done.returncode == 1 and "something is there that is no socket" in done.stderr, done
        with open(other.file("a-file"), encoding="utf-8") as f:
            assert f.read() == "mine"
        # What a crash left behind is in nobody's way.
        server.kill()
        server.start()
        assert server.cli_json("stats")["running"] is True


# --- Names -----------------------------------------------------------------------------------------


@suite.test
def the_keys_of_all_domains_are_listed():
    with Place() as place:
        server = Ringpost(place)
        server.write_config()
        names = sorted(f"d{n:02}.test" for n in range(40))
        with server:
            for name in names:
                server.cli("domain", "add", name)
            for name in names[1::2]:  # every other one has none
                for selector in ("s1", "s2"):
                    server.cli("dkim", "add", name, "--selector", selector, "--type", "ed25519")
            want = [(name, selector) for name in names[1::2] for selector in ("s1", "s2")]
            see = lambda *args: [(row["domain"], row["selector"]) for row in server.cli_json("dkim", "list", *args)]
            assert see() == want
            assert see("--selector", "s2") == want[1::2]
            assert see("d03.test") == [("d03.test", "s1"), ("d03.test", "s2")] and see("d02.test") == []
            for verb in ("list", "dns", "remove"):
                done = server.cli("dkim", verb, "d03.test", "--selector", "s3", check=False)
                assert done.returncode == 1 and "selector s3: not found" in done.stderr and not done.stdout, (verb, done)
            done = server.cli("dkim", "remove", "d03.test", check=False)
            assert done.returncode == 1 and "--selector is missing" in done.stderr, done
            text = server.cli("dkim", "list").stdout.splitlines()
            assert text[0].split() == ["DOMAIN", "SELECTOR", "TYPE", "BITS", "CREATED"] and len(text) == 41, text
            assert "d01.test" in text[1] and "s1" in text[1]
        assert see() == want  # without a server, too
    assert "ringpost dkim list [DOMAIN]" in ringpost("dkim", "list", "--help").stdout


@suite.test
def a_domain_that_is_not_there_has_no_empty_list():
    with Place() as place, Ringpost(place) as server:
        server.cli("domain", "add", "here.test")
        for noun, verb in (("account", "list"), ("alias", "list"), ("dkim", "list"), ("dkim", "dns")):
            assert server.cli_json(noun, verb, "here.test") == []
            done = server.cli(noun, verb, "gone.test", check=False)
            assert done.returncode == 1 and "domain gone.test: not found" in done.stderr and not done.stdout, done


VERBS = ("show", "list", "hold", "release", "retry", "bounce", "remove")


def check_unknown(server, unknown, known):
    for verb in VERBS:
        for args in (*([name] for name in unknown), ["--id", unknown[0], "--domain", "example.org"]):
            done = server.cli("queue", verb, "--json", *args, check=False)
            assert done.returncode == 1 and not done.stdout and " is not in the queue: " in done.stderr, (verb, args, done)
            assert json.loads(done.stderr)["error"]
        # A filter that nothing fits is an answer, with an id that is there as well.
        for args in (["--domain", "nowhere.test"], ["--sender", "nobody@example.test"],
                     [known, "--domain", "nowhere.test"]):
            assert server.cli_json("queue", verb, *args) in ([], {"changed": 0}), (verb, args)
        assert server.cli_json("queue", "count", "--id", unknown[0])["recipients"] == 0


@suite.test
def an_id_that_names_nothing_is_an_error():
    later = lambda hop, session, verb, line: "451 4.2.1 later" if verb == "RCPT" and "later" in line else None
    config = {"relay": {"retry": {"first": "1h", "max": "1h"}}}
    with Place() as place, Hop(later) as hop:
        with submission(place, config, route_to=hop.port) as server:
            submit(server, message(), ["later@example.org", "now@example.org"])
            row = until(lambda: server.cli_json("queue", "list", "--state", "parked"), "a parked recipient")[0]
            until(lambda: server.cli_json("queue", "count")["recipients"] == 1, "the other one's delivery")
            name, number = row["id"].split(".")
            other = f"{name}.{1 - int(number)}"
            check_unknown(server, ["1abc", other], row["id"])
            # What a script forgot to fill in is not everything.
            for verb in ("list", "count", "remove"):
                for args in ([""], ["--id", ""], ["--sender", "", "--all"], ["--recipient="], ["--domain", "", "--id", row["id"]],
                             ["--state", ""], ["--age", ""], ["--newer", ""]):
                    if (verb, args) == ("count", [""]):
                        continue
                    done = server.cli("queue", verb, *args, check=False)
                    assert done.returncode == 1 and " is empty" in done.stderr and not done.stdout, (verb, args, done)
            # Nothing to do is no mistake: it is not held, and it is there.
            assert server.cli_json("queue", "release", row["id"]) == {"changed": 0}
        # Without a server, too.
        done = server.cli("queue", "hold", other, check=False)
        assert done.returncode == 1 and f"{other} is not in the queue" in done.stderr, done
        assert server.cli_json("queue", "remove", name) == {"changed": 1}
        assert server.cli("queue", "show", name, check=False).returncode == 1


# --- The data folder -----------------------------------------------------------------------------------


@suite.test
def a_lost_file_of_the_journal_is_told_and_passed_over():
    later = lambda hop, session, verb, line: "451 4.2.1 later" if verb == "RCPT" and not hop.open else None
    config = {"relay": {"retry": {"first": "1h", "max": "1h"}}, "store": {"segment": "1M"}}
    with Place() as place, Hop(later) as hop:
        hop.open = False
        with submission(place, config, route_to=hop.port) as server:
            for n in range(16):
                submit(server, message(subject=f"number {n}", body="A line of text that fills.\n" * 8000),
                       [f"r{n}@example.org"])
            until(lambda: server.cli_json("queue", "count")["parked"] == 16, "all parked")
        os.unlink(os.path.join(server.config["data"], "journal", "slot-00000001"))
        done = ringpost("serve", "--config", server.config_path)
        assert done.returncode == 1 and "segment 2 is missing" in done.stderr and "fsck --rebuild" in done.stderr, done
        done = server.cli("fsck", "--json", check=False)
        assert done.returncode == 2 and "segment 2 is missing" in " ".join(json.loads(done.stdout)["findings"]), done
        done = server.cli("fsck", "--rebuild", "--json", check=False)
        report = json.loads(done.stdout)
        gone = report["missing_bodies"]
        assert done.returncode == 2 and "segment 2 is missing" in " ".join(report["findings"]) and 0 < gone < 8, report
        hop.open = True
        with server:
            server.cli("queue", "retry", "--all")
            hop.wait(16 - gone)
            rows = until(lambda: (rows := server.cli_json("queue", "list")) and len(rows) == gone and
                         all(row["state"] == "held" for row in rows) and rows, "the rest on hold")
            assert all("damaged" in row["last_reply"] for row in rows), rows
            assert len({m.recipients[0] for m in hop.messages}) == 16 - gone == len(hop.messages)
            server.cli("queue", "remove", "--all")
        assert server.cli("fsck").returncode == 0


@suite.test
def an_index_that_was_cut_off_is_told():
    with Place() as place:
        server = Ringpost(place)
        with server:
            for n in range(20):
                server.cli("domain", "add", f"d{n}.example")
        index = os.path.join(server.config["data"], "index")
        for shard in os.listdir(index):
            os.truncate(os.path.join(index, shard, "data.mdb"), 2 * os.sysconf("SC_PAGESIZE"))  # what names the trees
        for command in (["serve"], ["domain", "list"]):
            done = ringpost(*command, "--config", server.config_path)
            assert done.returncode == -signal.SIGBUS, (command, done)
            assert done.stderr.count("ended early or could not be read") == 1 and "run `ringpost fsck`" in done.stderr, done
        done = server.cli("fsck", check=False)
        assert done.returncode == 1, done
        assert server.cli("fsck", "--rebuild", check=False).returncode == 0
        assert len(server.cli_json("domain", "list")) == 20


suite.main()
