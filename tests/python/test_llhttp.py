"""The framing of HTTP against llhttp, Node's parser, on thousands of requests from fixed seeds.

Both are given the same bytes and then the end of them. They must frame the same requests with the
same methods, targets and bodies, and then agree on whether something is wrong, unless the table of
deliberate differences says why not.
"""

import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import hrmr
import llhttp
import pytest
from conftest import Compile, place
from http_mutations import Maker
from wire_client import Client, http_request

SEEDS = range(4)
SAMPLES_PER_SEED = 1000

ONLY_LLHTTP = "only llhttp refuses"

Framed = tuple[bytes, bytes, bytes]  # method, target, body


@dataclass
class Outcome:
    """What was made of the bytes: whole requests, then why no more; empty when all was well or the
    end came too early."""

    requests: list[Framed] = field(default_factory=list)
    refusal: str = ""
    is_closed: bool = False  # by a request that said so: what follows was not looked at


# What hrmr refuses, by its own words, and llhttp accepts.
STRICTER = {
    "HTTP/1.1 needs a Host header": "RFC 9112 section 3.2; llhttp leaves Host to its user",
    "more than one Host header": "RFC 9112 section 3.2, as above",
    "the Host header is no host": "RFC 9112 section 3.2, as above",
    "only HTTP/1.0 and HTTP/1.1 are spoken": "llhttp parses HTTP/0.9 and HTTP/2.0 lines as well",
    "the request line has no HTTP version": "that is HTTP/0.9, which llhttp speaks",
    "the request target has a fragment": "RFC 9112 section 3.2 has none; llhttp passes it on",
    "the request target is neither": "RFC 9112 section 3.2.4: '*' is for OPTIONS alone",
    "Transfer-Encoding in HTTP/1.0": "RFC 9112 section 6.1: its framing is faulty",
    "only Transfer-Encoding: chunked": "RFC 9112 section 6.1 asks for 501; llhttp passes gzip on",
    "both Content-Length and Transfer": "also when the coding is empty or unknown",
    "the HTTP version is malformed": "RFC 9112 section 3: one space; llhttp skips several",
    "the request line does not begin": "llhttp skips a CR or LF alone in front of a request",
    "the request target has a byte": "RFC 9112 section 3, as above",
    "more than one Transfer-Encoding": "also when both are empty",
    "the body is too large": "--body-max; llhttp knows no bound",
    "only Expect: 100-continue": "RFC 9110 section 10.1.1; llhttp leaves it to its user",
}
# What llhttp refuses, by the beginning of its error, and hrmr accepts; where the error says too
# little, with a pattern that the bytes must match.
LOOSER = {
    "InvalidMethodError": "llhttp has a list of methods; RFC 9110 section 9.1 has any token",
    "InvalidVersionError": "RFC 9110 section 2.5: HTTP/1.2 and on is taken as HTTP/1.1",
    "InvalidChunkSizeError": "RFC 9112 section 7.1.1 allows blanks in front of an extension's ';'",
    "StrictError: Invalid character in chunk ext": "extensions are dropped, so their bytes and "
    "length are checked, their grammar is not",
    "InvalidTransferEncodingError: Request has": "RFC 9110 section 5.6.3: a tab is whitespace too",
    "InvalidContentLengthError: Invalid char": "the same",
    "InvalidTransferEncodingError: Invalid": "RFC 9112 section 7.1.2: a trailer never frames",
    "InvalidContentLengthError: Content-Length can't": "the same",
}
IN_TRAILER = rb"\n0\S*\r\n(Trailer: value\r\n)*(Content-Length|Transfer-Encoding)"
PATTERNS = {
    "InvalidChunkSizeError": rb"\d[ \t]+;",
    "InvalidVersionError": rb" HTTP/1\.[2-9]\r\n",
    "InvalidTransferEncodingError: Request has": rb"chunked[ \t]*\t[ \t]*\r\n",
    "InvalidContentLengthError: Invalid char": rb"\d[ \t]*\t[ \t]*\r\n",
    "InvalidTransferEncodingError: Invalid": IN_TRAILER,
    "InvalidContentLengthError: Content-Length can't": IN_TRAILER,
}


def llhttp_outcome(sent: bytes) -> Outcome:
    outcome = Outcome()

    class Parser(llhttp.Request):  # type: ignore[misc]
        method_text = b""
        target = b""
        body = b""

        def on_message_begin(self) -> None:
            self.method_text = self.target = self.body = b""

        def on_method(self, part: bytes) -> None:
            self.method_text += bytes(part)

        def on_url(self, part: bytes) -> None:
            self.target += bytes(part)

        def on_body(self, part: bytes) -> None:
            self.body += bytes(part)

        def on_message_complete(self) -> None:
            outcome.requests.append((self.method_text, self.target, self.body))

    parser = Parser()
    try:
        parser.execute(sent)
    except llhttp.ClosedConnectionError:
        outcome.is_closed = True
    except llhttp.Error as error:
        outcome.refusal = f"{type(error).__name__}: {error}"
    return outcome


def hrmr_outcome(port: int, sent: bytes) -> Outcome:
    outcome = Outcome()
    with Client(port) as client:
        client.send(http_request("/first"))
        assert client.read_response().headers["x-target"] == b"/first".hex()
        client.send_parts([sent])
        client.half_close()
        answers = client.read_to_end()
    while answers:
        head, _, rest = answers.partition(b"\r\n\r\n")
        status = int(head[9:12])
        assert b"\r\nDate: " in head or status == 100
        if status == 100:
            answers = rest
            continue
        length = int(found.group(1)) if (found := re.search(rb"Content-Length: (\d+)", head)) else 0
        if status != 200:
            outcome.refusal = rest.decode().strip()
            assert b"\r\nConnection: close" in head
            assert len(rest) == length
            return outcome
        method = re.search(rb"X-Method: (\S+)", head)
        target = re.search(rb"X-Target: (\S+)", head)
        assert method
        assert target
        is_head = method[1] == b"HEAD"
        body = b"" if is_head else bytes.fromhex(rest[:length].split(b"\n")[0][5:].decode())
        outcome.requests.append((method[1], bytes.fromhex(target[1].decode()), body))
        outcome.is_closed = b"\r\nConnection: close" in head
        answers = rest if is_head else rest[length:]
    return outcome


@pytest.fixture(scope="module")
def port(build: Compile, tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    folder: Path = tmp_path_factory.mktemp("seen")
    place(build("seen", SEEN_FRAMING="2"), folder)
    with hrmr.Server(port=0, modules=[folder]) as server:
        yield server.port


def without_bodies_of_head(requests: list[Framed]) -> list[Framed]:
    return [(m, t, b"" if m == b"HEAD" else body) for m, t, body in requests]


def is_as_in(key: str, refusal: str, sent: bytes) -> bool:
    return refusal.startswith(key) and re.search(PATTERNS.get(key, b""), sent) is not None


def difference(sent: bytes, ours: Outcome, theirs: Outcome) -> str:
    """Empty when there is none; a key of the tables when it is deliberate; else what it is."""
    mine, other = ours.requests, without_bodies_of_head(theirs.requests)
    shared = min(len(mine), len(other))
    if mine[:shared] != other[:shared]:
        return f"requests differ: {mine[:shared]} and {other[:shared]}"
    is_closed = ours.is_closed or theirs.is_closed
    stops_earlier = len(mine) < len(other) or (
        len(mine) == len(other) and ours.refusal and not theirs.refusal and not is_closed
    )
    if stops_earlier:
        why = f"only hrmr refuses: {ours.refusal}"
        return next((key for key in STRICTER if ours.refusal.startswith(key)), why)
    goes_on = len(mine) > len(other) or (
        len(mine) == len(other) and theirs.refusal and not ours.refusal and not is_closed
    )
    if goes_on:
        why = f"{ONLY_LLHTTP}: {theirs.refusal}"
        return next((key for key in LOOSER if is_as_in(key, theirs.refusal, sent)), why)
    return ""


@pytest.mark.parametrize("seed", SEEDS)
def test_same_requests_and_same_refusals_as_llhttp(port: int, seed: int) -> None:
    maker = Maker(seed)
    seen: Counter[str] = Counter()
    for _ in range(SAMPLES_PER_SEED):
        sent = maker.sample()
        ours, theirs = hrmr_outcome(port, sent), llhttp_outcome(sent)
        found = difference(sent, ours, theirs)
        if found.startswith(ONLY_LLHTTP):
            # hrmr judges no line before it is whole.
            sent += b"\r\n\r\n"
            ours, theirs = hrmr_outcome(port, sent), llhttp_outcome(sent)
            found = difference(sent, ours, theirs)
        assert not found or found in STRICTER or found in LOOSER, (found, sent)
        agreed = "refused" if ours.refusal else "accepted" if ours.requests else "unfinished"
        seen[found or agreed] += 1
    # Enough of each kind that the comparison says something.
    assert seen["accepted"] > SAMPLES_PER_SEED / 10
    assert seen["refused"] > SAMPLES_PER_SEED / 10


POST = b"POST / HTTP/1.1\r\nHost: h\r\n"
CHUNKED = POST + b"Transfer-Encoding: chunked\r\n\r\n"
CASES = {
    "HTTP/1.1 needs a Host header": b"GET / HTTP/1.1\r\n\r\n",
    "more than one Host header": POST + b"Host: h\r\n\r\n",
    "the Host header is no host": b"GET / HTTP/1.1\r\nHost: h h\r\n\r\n",
    "only HTTP/1.0 and HTTP/1.1 are spoken": b"GET / HTTP/2.0\r\nHost: h\r\n\r\n",
    "the request line has no HTTP version": b"GET /\r\n\r\n",
    "the request target has a fragment": b"GET /#a HTTP/1.1\r\nHost: h\r\n\r\n",
    "the request target is neither": b"GET * HTTP/1.1\r\nHost: h\r\n\r\n",
    "Transfer-Encoding in HTTP/1.0": CHUNKED.replace(b"/1.1", b"/1.0") + b"0\r\n\r\n",
    "only Transfer-Encoding: chunked": CHUNKED.replace(b"chunked", b"gzip, chunked") + b"0\r\n\r\n",
    "both Content-Length and Transfer": POST + b"Transfer-Encoding:\r\nContent-Length: 0\r\n\r\n",
    "the HTTP version is malformed": b"GET /  HTTP/1.1\r\nHost: h\r\n\r\n",
    "the request line does not begin": b"\rGET / HTTP/1.1\r\nHost: h\r\n\r\n",
    "the request target has a byte": b"GET  / HTTP/1.1\r\nHost: h\r\n\r\n",
    "more than one Transfer-Encoding": POST + b"Transfer-Encoding:\r\n" * 2 + b"\r\n",
    "the body is too large": POST + b"Content-Length: 999999999999\r\n\r\n",
    "only Expect: 100-continue": POST + b"Expect: x\r\n\r\n",
    "InvalidMethodError": b"BREW / HTTP/1.1\r\nHost: h\r\n\r\n",
    "InvalidVersionError": b"GET / HTTP/1.2\r\nHost: h\r\n\r\n",
    "InvalidChunkSizeError": CHUNKED + b"1 ;a\r\nx\r\n0\r\n\r\n",
    "StrictError: Invalid character in chunk ext": CHUNKED + b"1;\r\nx\r\n0\r\n\r\n",
    "InvalidTransferEncodingError: Request has": CHUNKED.replace(b"chunked", b"chunked\t")
    + b"0\r\n\r\n",
    "InvalidContentLengthError: Invalid char": POST + b"Content-Length: 1\t\r\n\r\nx",
    "InvalidTransferEncodingError: Invalid": CHUNKED + b"0\r\nTransfer-Encoding: chunked\r\n\r\n",
    "InvalidContentLengthError: Content-Length can't": CHUNKED + b"0\r\nContent-Length: 1\r\n\r\n",
}


@pytest.mark.parametrize("key", [*STRICTER, *LOOSER])
def test_each_deliberate_difference_is_one(port: int, key: str) -> None:
    sent = CASES[key]
    assert difference(sent, hrmr_outcome(port, sent), llhttp_outcome(sent)) == key
