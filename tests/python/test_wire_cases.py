"""The cases of tests/wire (its README says what they are), sent over a socket.

A case is what one framing makes of bytes, so each connection first says something that settles its
framing; the opening of a connection has tests of its own in test_routing.py.
"""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import hrmr
import pytest
from conftest import Compile, place
from wire_client import Client, Response, one_by_one

CASES = Path(__file__).parent.parent / "wire"
FRAMINGS = {"line": "1", "http": "2", "raw": "3"}  # the numbers of abi.h
DEFAULT_BODY_MAX = 16 << 20

# Longer cases are not sent in single bytes but for their ends.
BYTEWISE_MAX = 4096

# Built-in words are the server's own; test_commands.py is about them.
BUILT_IN = {b"RELOAD": b"RELOAX", b"SHUTDOWN": b"SHUTDOWX"}

# Outcomes are words with escapes.
ESCAPES = {"r": b"\r", "n": b"\n", "t": b"\t", "0": b"\0", "\\": b"\\"}

Seen = dict[str, bytes | list[bytes]]


@dataclass
class Case:
    name: str
    sent: bytes = b""
    expected: list[str] = field(default_factory=list)
    limits: dict[str, int] = field(default_factory=dict)
    may_continue: bool = False
    half_close: bool = False

    @property
    def framing(self) -> str:
        return self.name.split("/")[0]


def unescape(text: str) -> bytes:
    parts = re.findall(r"\\x([0-9a-fA-F]{2})|\\([rnt0\\])|([^\\])", text)
    return b"".join(
        bytes([int(code, 16)]) if code else ESCAPES.get(letter) or plain.encode()
        for code, letter, plain in parts
    )


def without_built_in(sent: bytes) -> bytes:
    for word, other in BUILT_IN.items():
        sent = sent.replace(word, other)
    return sent


def read_case(path: Path) -> Case:
    case = Case(f"{path.parent.name}/{path.stem}")
    for line in path.read_text().removesuffix("\n").split("\n"):
        word, _, rest = line.partition(" ")
        if word == ">>>":
            case.sent += unescape(rest)
        elif word.startswith(">>>x"):
            case.sent += unescape(rest) * int(word[4:])
        elif word == "expect:":
            case.expected.append(rest)
        elif word == "limits:":
            case.limits = {key: int(value) for key, value in re.findall(r"(\w+)=(\d+)", rest)}
        elif word == "may-continue":
            case.may_continue = True
        elif word == "half-close":
            case.half_close = True
        else:
            assert word == "#", f"{path}: unknown line {line!r}"
    case.sent = without_built_in(case.sent)
    return case


# Those of RESP are sent by test_resp.py.
ALL_CASES = [
    read_case(path) for path in sorted(CASES.glob("*/*.case")) if path.parent.name != "resp"
]
# The options that set the bounds of a case.
OPTIONS = {
    "body": "body_max",
    "head": "header_max",
    "headers": "max_headers",
    "line": "line_max",
}
CASES_OF_ALL_BOUNDS = [case for case in ALL_CASES if set(case.limits) <= set(OPTIONS)]


@pytest.fixture(scope="module")
def port_for(
    build: Compile, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Callable[[Case], int]]:
    """The port of a server for the case; servers are shared by cases."""
    servers: dict[tuple[object, ...], hrmr.Server] = {}

    def find(case: Case) -> int:
        bounds = {"body_max": DEFAULT_BODY_MAX}
        bounds |= {OPTIONS[bound]: value for bound, value in case.limits.items()}
        key = (case.framing, *sorted(bounds.items()))
        if key not in servers:
            folder = tmp_path_factory.mktemp(case.framing)
            place(build("seen", SEEN_FRAMING=FRAMINGS[case.framing]), folder)
            servers[key] = hrmr.Server(port=0, modules=[folder], **bounds).start()
        return servers[key].port

    yield find
    for server in servers.values():
        assert server.stop()


def cuts(sent: bytes) -> dict[str, list[bytes]]:
    end = len(sent) if len(sent) <= BYTEWISE_MAX else 100
    middle = sent[: len(sent) - end]
    long_parts = [middle[at : at + 1000] for at in range(0, len(middle), 1000)]
    half = len(sent) // 2
    return {
        "at once": [sent] if sent else [],
        "one byte at a time": [*long_parts, *one_by_one(sent[len(sent) - end :])],
        "in two": [part for part in (sent[:half], sent[half:]) if part],
    }


def fields_of(response: Response) -> Seen:
    """What the module `seen` says of a request."""
    lines = [line.split(" ") for line in response.text.splitlines()]
    body = {line[0]: bytes.fromhex(line[1]) for line in lines if line[0] != "header"}
    headers = [
        bytes.fromhex(line[1]) + b":" + bytes.fromhex(line[2])
        for line in lines
        if line[0] == "header"
    ]
    return {
        "method": response.headers["x-method"].encode(),
        "target": bytes.fromhex(response.headers["x-target"]),
        "version": f"1.{response.headers['x-minor']}".encode(),
        "keep_alive": b"no" if response.closes else b"yes",
        "header": headers,
        **({"headers": str(len(headers)).encode(), **body} if response.body else {}),
    }


def check_fields(seen: Seen, expected: str) -> None:
    for word in expected.split(" ")[1:]:
        name, _, text = word.partition("=")
        value = without_built_in(unescape(text))
        if name == "header":
            assert value in seen["header"]
        elif name != "head_only":
            assert seen[name] == value, name


def read_http(client: Client, case: Case, expected: str) -> bool:
    """Whether the connection goes on after the outcome."""
    head_only = "head_only=yes" in expected
    response = client.read_response(head_only)
    while response.status == 100:
        assert case.may_continue
        response = client.read_response(head_only)
    if expected.startswith("refused "):
        _, status, reason = expected.split(" ", 2)
        assert (response.status, response.text) == (int(status), reason + "\n")
        assert response.closes
        return False
    assert response.status == 200
    check_fields(fields_of(response), expected)
    return not response.closes


def read_line(client: Client, expected: str) -> bool:
    answer = client.read_line()
    if expected.startswith("refused "):
        assert answer.startswith(expected.removeprefix("refused "))
        return False
    word, _, digits = answer.partition(" ")
    assert word == "seen"
    check_fields({"bytes": bytes.fromhex(digits)}, expected)
    return True


def check_end(client: Client, case: Case, goes_on: bool) -> None:
    """Nothing but the outcomes is answered."""
    if not goes_on or case.half_close:
        assert client.read_to_end() == b""
    elif "more" in case.expected:
        # One loop reads all connections: when a later one is answered, this one was looked at.
        with Client(client.socket.getpeername()[1]) as later:
            settle(later, case.framing)
        assert not client.has_input() or case.may_continue
    else:
        settle(client, case.framing)


def settle(client: Client, framing: str) -> None:
    """Says something that is answered, in that framing."""
    if framing == "http":
        client.send(b"GET / HTTP/1.1\r\nHost:\r\n\r\n")  # within the least bound of a case
        assert client.read_response().headers["x-target"] == b"/".hex()
    else:
        assert client.ask("settle") == "seen " + b"settle".hex()


def try_case(port: int, case: Case, parts: list[bytes]) -> None:
    with Client(port) as client:
        settle(client, case.framing)
        client.send_parts(parts)
        if case.half_close:
            client.half_close()
        goes_on = True
        for expected in case.expected:
            assert goes_on, "closed too early"
            if expected != "more":
                is_http = case.framing == "http"
                goes_on = (
                    read_http(client, case, expected) if is_http else read_line(client, expected)
                )
        check_end(client, case, goes_on)


@pytest.mark.parametrize(
    "case", [case for case in CASES_OF_ALL_BOUNDS if case.framing != "raw"], ids=lambda c: c.name
)
def test_case_has_its_outcome_however_it_is_cut(
    port_for: Callable[[Case], int], case: Case
) -> None:
    for parts in cuts(case.sent).values():
        try_case(port_for(case), case, parts)


@pytest.mark.parametrize(
    "case", [case for case in CASES_OF_ALL_BOUNDS if case.framing == "raw"], ids=lambda c: c.name
)
def test_raw_case_hands_over_every_byte(port_for: Callable[[Case], int], case: Case) -> None:
    expected = b"".join(
        unescape(text) for line in case.expected for text in re.findall(r"bytes=(\S+)", line)
    )
    for parts in cuts(case.sent).values():
        with Client(port_for(case)) as client:
            client.send_parts(parts)
            client.half_close()
            answers = client.read_to_end().decode().splitlines()
        seen = b"".join(bytes.fromhex(answer.removeprefix("seen ")) for answer in answers)
        # Where a cut falls on empty lines, they are in front of a request, and skipped.
        ends = b"\r\n"
        assert seen.translate(None, ends) == expected.translate(None, ends)


def opens_as_http(case: Case) -> bool:
    first_line = case.sent.lstrip(b"\r\n").split(b"\n")[0].rstrip(b"\r")
    is_text = all(byte >= 0x20 and byte != 0x7F for byte in first_line)
    return is_text and re.search(rb" HTTP/\d\.\d$", first_line) is not None


@pytest.mark.parametrize(
    "case",
    [case for case in CASES_OF_ALL_BOUNDS if case.framing == "http" and opens_as_http(case)],
    ids=lambda c: c.name,
)
def test_http_case_is_the_same_on_a_new_connection(
    port_for: Callable[[Case], int], case: Case
) -> None:
    with Client(port_for(case)) as client:
        client.send_parts([case.sent])
        if case.half_close:
            client.half_close()
        for expected in case.expected:
            if expected != "more":
                read_http(client, case, expected)


def test_every_case_has_an_expectation_that_can_fail() -> None:
    assert len(ALL_CASES) > 200
    assert {case.framing for case in ALL_CASES} == set(FRAMINGS)
    assert len(CASES_OF_ALL_BOUNDS) > len(ALL_CASES) * 0.9
