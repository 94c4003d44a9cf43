"""HTTP/1.1 requests, right and wrong, made from a seed.

A sample is a pipeline of up to three requests from a small grammar that knows the classic traps of
framing, of which most are then damaged a little. The same seed always gives the same bytes.
"""

import random

METHODS = [
    b"GET",
    b"POST",
    b"PUT",
    b"HEAD",
    b"DELETE",
    b"PATCH",
    b"OPTIONS",
    b"GET",
    b"POST",
    b"BREW",
]
TARGETS = [
    b"/",
    b"/a?b=c",
    b"/%41/%2e%2e",
    b"/a//b",
    b"*",
    b"http://other/a",
    b"http://other:80?x",
    b"/frag#ment",
    b"/sp%20ace",
    b"relative",
    b"/" + b"long/" * 40,
]
VERSIONS = [b"HTTP/1.1"] * 40 + [b"HTTP/1.0", b"HTTP/1.2", b"HTTP/2.0", b"HTTP/0.9", b"http/1.1"]
NAMES = [b"X-Name", b"x-a", b"Accept", b"Cookie", b"X_y", b"Connection", b"TE", b"Range"]
VALUES = [b"value", b"", b" padded ", b"a\tb", b"a, b", b'"quoted"', b"\xff\xfe", b"keep-alive"]
LENGTHS = [b"+3", b"3 ", b"0x3", b"3, 3", b"-1", b"", b"3.0", b"99999999999999999999", b"03"]
CODINGS = [
    b"chunked",
    b"Chunked",
    b"gzip, chunked",
    b"chunked, gzip",
    b"identity",
    b"xchunked",
    b"chunked ",
    b"chunked, chunked",
    b"",
]
SIZES = [
    b"3",
    b"03",
    b"3 ",
    b" 3",
    b"0x3",
    b"+3",
    b"3;a=b",
    b'3;a="b;c"',
    b"3 ;a",
    b"G",
    b"",
    b"-3",
]
# Bytes on which parsers differ.
TRICKY = [b"\r", b"\n", b"\r\n", b"\0", b" ", b"\t", b":", b";", b",", b"\x7f", b"\x80", b"\x0b"]


class Maker:
    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)

    def sample(self) -> bytes:
        made = b"".join(self.request() for _ in range(self.random.choice([1, 1, 2, 3])))
        for _ in range(self.random.choice([0, 0, 1, 1, 1, 2])):
            made = self.damaged(made)
        return made

    def rarely(self, one_in: int) -> bool:
        return self.random.randrange(one_in) == 0

    def request(self) -> bytes:
        pick = self.random.choice
        headers = [(b"Host", b"h")]
        if self.rarely(20):
            headers = pick([[], headers * 2, [(b"Host", b"h h")], [(b"Host", b"[::1]:80")]])
        for _ in range(self.random.randrange(4)):
            headers.append((pick(NAMES), pick(VALUES)))
        body = self.body(headers)
        self.random.shuffle(headers)
        line = b" ".join((pick(METHODS), pick(TARGETS[:3] * 8 + TARGETS), pick(VERSIONS)))
        lines = [line, *(name + pick([b": ", b":"]) + value for name, value in headers)]
        if self.rarely(30):
            lines.insert(self.random.randrange(1, len(lines) + 1), pick([b" folded", b"\tfolded"]))
        if self.rarely(30):
            lines.append(pick([b"No colon", b"Space : x", b": no name", b"Expect: 100-continue"]))
        return b"\r\n".join(lines) + b"\r\n\r\n" + body

    def body(self, headers: list[tuple[bytes, bytes]]) -> bytes:
        kind = self.random.randrange(10)
        content = bytes(self.random.choices(b"abc\r\n 0", k=self.random.randrange(12)))
        length = b"%d" % len(content)
        if kind < 3:
            return b""
        if kind < 6:
            headers.append((b"Content-Length", length))
            return content
        if kind == 6:
            headers.append((b"Content-Length", self.random.choice(LENGTHS)))
            return b"abc"
        headers.append((b"Transfer-Encoding", b"chunked"))
        if kind == 9:
            headers[-1] = (b"Transfer-Encoding", self.random.choice(CODINGS))
            if self.rarely(2):
                headers.append((b"Content-Length", self.random.choice([length, b"3"])))
        return self.chunks()

    def chunks(self) -> bytes:
        made = b""
        for _ in range(self.random.randrange(3)):
            size = b"3" if self.rarely(2) else self.random.choice(SIZES)
            made += size + b"\r\nabc\r\n"
        made += self.random.choice([b"0", b"0", b"0", b"000", b"0;x"]) + b"\r\n"
        if self.rarely(4):
            made += b"Trailer: value\r\n"
        return made + b"\r\n"

    def damaged(self, made: bytes) -> bytes:
        at = self.random.randrange(len(made) + 1)
        kind = self.random.randrange(6)
        if kind == 0:
            return made[:at] + self.random.choice(TRICKY) + made[at:]
        if kind == 1:
            return made[:at] + self.random.choice(TRICKY) + made[at + 1 :]
        if kind == 2:
            return made[:at] + made[at + self.random.randrange(1, 4) :]
        if kind == 3:  # a line end that is none
            ends = [i for i in range(len(made)) if made.startswith(b"\r\n", i)]
            if ends:
                end = self.random.choice(ends)
                return made[:end] + self.random.choice([b"\n", b"\r", b"\r\r\n"]) + made[end + 2 :]
        if kind == 4:  # a line twice, or elsewhere
            lines = made.split(b"\r\n")
            lines.insert(self.random.randrange(len(lines)), self.random.choice(lines))
            return b"\r\n".join(lines)
        return made[:at] if self.rarely(2) else made
