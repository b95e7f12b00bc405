#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Print docs/protocols.md: which file implements which section of which RFC, and which test cites it.

The code names its sources where it follows them ("RFC 5321 4.5.2"), tests do the same; this only
collects the citations, so the page cannot say what the code does not.
"""
import collections
import re
import subprocess

TITLES = {
    1122: "Host requirements", 1428: "8-bit to MIME", 1847: "Security multiparts", 2104: "HMAC",
    2183: "Content-Disposition", 2554: "AUTH (old)", 3720: "CRC-32C test values", 4231: "HMAC test vectors",
    7914: "PBKDF2 test vectors", 8551: "S/MIME",
    1870: "SIZE", 1939: "POP3", 2033: "LMTP", 2034: "Enhanced error codes", 2045: "MIME, part 1",
    2046: "MIME, part 2: media types", 2047: "MIME, part 3: encoded words", 2231: "MIME parameters",
    2595: "TLS with IMAP, POP3", 2852: "DELIVERBY", 2920: "PIPELINING", 3030: "CHUNKING, BINARYMIME", 3207: "STARTTLS",
    3461: "DSN", 3462: "multipart/report", 3463: "Enhanced status codes", 3464: "Delivery status notifications",
    3629: "UTF-8", 3834: "Automatic responses", 3848: "ESMTP transmission types", 4616: "SASL PLAIN",
    4648: "Base encodings", 4865: "FUTURERELEASE", 4954: "AUTH", 5234: "ABNF", 5246: "TLS 1.2", 5321: "SMTP",
    5322: "Message format", 5802: "SCRAM", 6066: "TLS extensions", 6125: "Names in certificates", 6152: "8BITMIME",
    6376: "DKIM", 6409: "Submission", 6522: "multipart/report", 6531: "SMTPUTF8", 6532: "UTF-8 headers",
    6533: "DSN for UTF-8 addresses", 6710: "MT-PRIORITY", 7301: "ALPN", 7505: "Null MX", 7677: "SCRAM-SHA-256",
    8018: "PBKDF2", 8259: "JSON", 8301: "DKIM: algorithms", 8314: "Implicit TLS", 8446: "TLS 1.3",
    8463: "DKIM: Ed25519", 8601: "Authentication-Results", 8689: "REQUIRETLS", 9266: "tls-exporter channel binding",
    9422: "LIMITS", 3339: "Timestamps", 4422: "SASL", 5952: "IPv6 text", 2822: "Message format (old)",
    8058: "One-click unsubscribe", 2369: "List- fields", 2919: "List-Id", 7372: "Authentication status codes",
    2177: "IMAP IDLE", 2180: "IMAP: several sessions", 2342: "IMAP NAMESPACE", 2449: "POP3 extensions", 2971: "IMAP ID",
    3206: "POP3 response codes", 3348: "IMAP CHILDREN", 3501: "IMAP4rev1", 3502: "IMAP MULTIAPPEND",
    3516: "IMAP BINARY", 3691: "IMAP UNSELECT", 4315: "IMAP UIDPLUS", 4731: "IMAP ESEARCH", 4959: "IMAP SASL-IR",
    4978: "IMAP COMPRESS", 5032: "IMAP WITHIN", 5034: "POP3 AUTH", 5051: "i;unicode-casemap", 5161: "IMAP ENABLE",
    5182: "IMAP SEARCHRES", 5256: "IMAP SORT, THREAD", 5258: "IMAP LIST-EXTENDED", 5530: "IMAP response codes",
    5819: "IMAP LIST-STATUS", 5957: "IMAP SORT=DISPLAY", 6154: "IMAP SPECIAL-USE", 6851: "IMAP MOVE",
    6855: "IMAP UTF-8", 6856: "POP3 UTF8, LANG", 7162: "IMAP CONDSTORE, QRESYNC", 7888: "IMAP LITERAL+",
    7889: "IMAP APPENDLIMIT", 8438: "IMAP STATUS=SIZE", 8457: "IMAP Important", 8474: "IMAP OBJECTID",
    8514: "IMAP SAVEDATE", 8970: "IMAP PREVIEW", 9051: "IMAP4rev2", 9208: "IMAP QUOTA", 1951: "DEFLATE",
    5890: "IDNA", 5891: "IDNA", 8017: "PKCS #1", 2782: "SRV", 4033: "DNSSEC", 1035: "DNS", 6761: "Special names",
}
CITATION = re.compile(r"RFC[ \n\t*/]*(\d{4})((?:,? (?:and )?§?\d+(?:\.\d+)*(?!\d*[a-z%]))*)")
SECTION = re.compile(r"\d+(?:\.\d+)*")

HEAD = """# Protocols: RFC section, file, test

Printed by `tools/protocols.py` from the citations in the code; do not edit. A section without a test of its own
citation is covered by the tests of its module, or by the dialogues in `tests/wire` and the programs of others
in `tests/e2e`.
"""


def tracked():
    out = subprocess.run(["git", "ls-files", "*.c", "*.h", "*.py", "*.txt", "*.wire", "*.script"],
                         capture_output=True, text=True, check=True).stdout
    return [path for path in out.splitlines() if not path.startswith(("tools/", "tests/lint/"))]


def main():
    found = collections.defaultdict(lambda: (set(), set()))
    for path in tracked():
        with open(path, encoding="utf-8", errors="replace") as f:
            text = f.read()
        for rfc, sections in CITATION.findall(text):
            for section in SECTION.findall(sections) or [""]:
                if section.isdigit() and int(section) > 821:  # "RFC 2045, 2046": another document
                    found[int(section), ()][path.startswith("tests/")].add(path)
                    continue
                key = (int(rfc), tuple(int(n) for n in section.split(".")) if section else ())
                found[key][path.startswith("tests/")].add(path)
    print(HEAD)
    for rfc in sorted({rfc for rfc, _ in found}):
        print(f"## RFC {rfc}" + (f": {TITLES[rfc]}" if rfc in TITLES else "") + "\n")
        print("| section | files | tests |\n|---|---|---|")
        for (_, section), (files, tests) in sorted(item for item in found.items() if item[0][0] == rfc):
            name = "§" + ".".join(map(str, section)) if section else "whole"
            cell = lambda paths: "<br>".join(f"`{path}`" for path in sorted(paths)) or "–"
            print(f"| {name} | {cell(files)} | {cell(tests)} |")
        print()


main()
