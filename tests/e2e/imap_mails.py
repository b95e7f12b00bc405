# SPDX-License-Identifier: GPL-2.0-or-later
"""Messages of all kinds that are as the standards want them, made from a seed."""
import base64
import quopri

NAMES = ["Jörg Müller", "Ann Example", "O'Neil, Pat", "Иван Петров", "plain", "山田太郎", 'Quote "Q" Me', "ÅSA"]
HOSTS = ["example.org", "Example.COM", "mail.example.net"]
WORDS = "alpha beta Gamma delta EPSILON zeta eta theta Straße naïve Ελλάδα тест résumé über".split()
BODY_WORDS = "quince walnut Größe жук".split()  # in no header, not even an enclosed one
SUBJECTS = ["report", "Invoice 42", "lunch", "naïve question", "тест", "[list] news", ""]


def encoded(text, dice, charset=None):
    """A header's text, as an encoded word if it needs it."""
    if text.isascii():
        return text
    charset = charset or ("utf-8" if dice.random() < 0.7 else "iso-8859-1")
    try:
        data = text.encode(charset)
    except UnicodeEncodeError:
        charset, data = "utf-8", text.encode()
    if dice.random() < 0.5:
        return f"=?{charset}?B?{base64.b64encode(data).decode()}?="
    word = "".join(chr(c) if chr(c).isalnum() and c < 128 else f"={c:02X}" for c in data)
    return f"=?{charset}?Q?{word}?="


def address(dice):
    name, local = dice.choice(NAMES), dice.choice(["ann", "Bob", "c.d", "joerg+x"])
    spec = f"{local}@{dice.choice(HOSTS)}"
    kind = dice.random()
    if kind < 0.3:
        return spec
    if kind < 0.4:
        return f"{spec} ({name})" if name.isascii() and '"' not in name else spec
    if name.isascii():
        name = '"' + name.replace('"', '\\"') + '"'
    return f"{encoded(name, dice)} <{spec}>"


def addresses(dice):
    if dice.random() < 0.1:
        return "team: " + ", ".join(address(dice) for _ in range(dice.randrange(3))) + ";"
    return (",\r\n\t" if dice.random() < 0.2 else ", ").join(address(dice) for _ in range(dice.randrange(1, 4)))


def date(dice):
    zone = dice.choice(["+0000", "-0700", "+0530", "+1300", "GMT"])
    return (f"{dice.randrange(1, 29)} {dice.choice(['Jan', 'Jun', 'Dec'])} {dice.choice([1999, 2020, 2021])} "
            f"{dice.randrange(24):02}:{dice.randrange(60):02}:{dice.randrange(60):02} {zone}")


def subject(dice):
    text = encoded(dice.choice(SUBJECTS), dice)
    text = dice.choice(["", "", "Re: ", "re: ", "Fwd: ", "RE: Fw: ", "Re[2]: "]) + text + dice.choice(["", " (fwd)", ""])
    return text.strip().replace("  ", " ")  # more than one space: kept by some, not by others


def text_body(dice):
    return "".join(" ".join(dice.choice(WORDS + BODY_WORDS) for _ in range(dice.randrange(1, 9))) + "\r\n"
                   for _ in range(dice.randrange(1, 8)))


def text_part(dice, subtype="plain"):
    text, charset = text_body(dice), dice.choice(["utf-8", "UTF-8", "iso-8859-1", "koi8-r"])
    if subtype == "html":
        text = "<html><body><p>" + text + "</p></body></html>\r\n"
    data = text.encode(charset, "replace")
    coding = dice.choice(["8bit", "base64", "quoted-printable"])
    if coding == "base64":
        data = base64.encodebytes(data).replace(b"\n", b"\r\n")
    elif coding == "quoted-printable":
        # As binary: the encoder would take CR for something to encode.
        lines = data.split(b"\r\n")
        data = b"\r\n".join(quopri.encodestring(line).replace(b"\n", b"\r\n") for line in lines)
    quote = dice.choice(['"', ""])
    return (f"Content-Type: text/{subtype}; charset={quote}{charset}{quote}\r\n"
            f"Content-Transfer-Encoding: {coding}\r\n").encode() + b"\r\n" + data


def attachment(dice):
    data = bytes(dice.randrange(256) for _ in range(dice.randrange(1, 300)))
    name = dice.choice(["a.bin", "two words.pdf", "semi;colon.doc"])
    return (f'Content-Type: application/octet-stream; name="{name}"\r\nContent-Transfer-Encoding: base64\r\n'
            f'Content-Disposition: attachment;\r\n filename="{name}"; size={len(data)}\r\n'
            "Content-ID: <part1@example.org>\r\nContent-Description: some bytes\r\nContent-Language: en, de\r\n"
            "Content-Location: http://example.org/a\r\n\r\n").encode() + \
        base64.encodebytes(data).replace(b"\n", b"\r\n")


def multipart(dice, depth):
    boundary = f"=_b{dice.randrange(1 << 30)}"
    kind = dice.choice(["mixed", "alternative", "related", "digest" if depth else "mixed"])
    parts = [part(dice, depth + 1) for _ in range(dice.randrange(1, 4))]
    if kind == "digest":
        parts = [b"\r\n" + message(dice, depth + 2) for _ in parts]
    out = f'Content-Type: multipart/{kind}; boundary="{boundary}"\r\n\r\n'.encode()
    out += dice.choice([b"", b"A preamble.\r\n"])
    for one in parts:
        out += f"--{boundary}\r\n".encode() + one + b"\r\n"
    return out + f"--{boundary}--\r\n".encode() + dice.choice([b"", b"An epilogue.\r\n"])


def part(dice, depth=0):
    kind = dice.random()
    if depth < 3 and kind < 0.3:
        return multipart(dice, depth)
    if depth < 3 and kind < 0.4:
        return b"Content-Type: message/rfc822\r\n\r\n" + message(dice, depth + 1)
    if kind < 0.55:
        return attachment(dice)
    return text_part(dice, dice.choice(["plain", "plain", "html"]))


def message(dice, depth=0, number=None, known=()):
    """`known`: Message-IDs that it may refer to."""
    head = [("Date", date(dice)), ("From", address(dice))]
    for name, odds in (("Sender", 0.2), ("Reply-To", 0.2), ("To", 0.9), ("Cc", 0.3), ("Bcc", 0.1)):
        if dice.random() < odds:
            head.append((name, address(dice) if name == "Sender" else addresses(dice)))
    if dice.random() < 0.95:
        head.append(("Subject", subject(dice)))
    number = number if number is not None else f"x{dice.randrange(1 << 40)}"
    head.append(("Message-ID", f"<{number}@id.example>"))
    if known and dice.random() < 0.6:
        refs = [f"<{one}@id.example>" for one in dice.sample(known, min(len(known), dice.randrange(1, 4)))]
        head.append(("References", "\r\n ".join(refs)))
        head.append(("In-Reply-To", refs[-1]))
    if dice.random() < 0.4:
        head.append(("X-Mixed", dice.choice(WORDS[:8])))
    if dice.random() < 0.3:
        head.append(("Received", "from a.example by b.example\r\n\twith SMTP id 1; 1 Jan 2020 00:00:00 +0000"))
    if dice.random() < 0.5:
        dice.shuffle(head)
    rest = part(dice, depth)
    if rest.split(b"\r\n\r\n")[0]:
        head.append(("MIME-Version", "1.0"))
    return "".join(f"{name}: {value}\r\n" for name, value in head).encode() + rest
