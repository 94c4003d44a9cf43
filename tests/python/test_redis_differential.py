"""HRMR beside a real redis-server 7.0: the same bytes to both, the same bytes back.

What is sent: every connection command rightly and wrongly used, malformed frames, and commands
that are generated and then damaged, with a fixed seed. Where HRMR answers otherwise on purpose,
DELIBERATE says why, and both answers are checked.
"""

import contextlib
import random
import re
from collections.abc import Iterator
from dataclasses import dataclass

import pytest
from redis_process import hrmr_server, redis_server
from wire_client import Client

SEED = 7_0_15
GENERATED = 1500


@dataclass(frozen=True)
class Pair:
    redis: int  # their ports
    hrmr: int

    def answers(self, sent: bytes) -> tuple[bytes, bytes]:
        return answer(self.redis, sent), answer(self.hrmr, sent)


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    with (
        redis_server(tmp_path_factory.mktemp("redis"), "--databases", "1") as redis,
        hrmr_server(tmp_path_factory.mktemp("hrmr")) as hrmr,
    ):
        yield Pair(redis, hrmr)


def answer(port: int, sent: bytes) -> bytes:
    """All that the server says until it closes, which it does at our half-close at the latest."""
    with Client(port) as client:
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            client.send(sent)
            client.half_close()
        return client.read_to_end()


def resp(*words: bytes) -> bytes:
    bulks = b"".join(b"$%d\r\n%b\r\n" % (len(word), word) for word in words)
    return b"*%d\r\n%b" % (len(words), bulks)


# A client of Redis has sent an array before anything else; without one, lines that HRMR does
# not know are text of another kind to it, see DELIBERATE.
RESP_FIRST = resp(b"PING")


def without_identity(reply: bytes) -> bytes:
    """HELLO's answer without what differs from server to server."""
    reply = re.sub(rb"(\$6\r\nserver\r\n)\$\d+\r\n\S+\r\n", rb"\1$\r\n\r\n", reply)
    reply = re.sub(rb"(\$7\r\nversion\r\n)\$\d+\r\n\S+\r\n", rb"\1$\r\n\r\n", reply)
    return re.sub(rb"(\$2\r\nid\r\n):\d+\r\n", rb"\1:\r\n", reply)


def same(got: tuple[bytes, bytes]) -> None:
    redis, hrmr = map(without_identity, got)
    assert hrmr == redis


# ------------------------------------------------------------------------------ connection commands

COMMANDS = [
    b"PING",
    b"PING hello",
    b"PING a b",
    b"ECHO hello",
    b"ECHO",
    b"ECHO a b",
    b'ECHO "\\x00\\r\\n\\xff\\a\\b\\t\\"quoted\\""',
    b"ECHO 'it\\'s'",
    b"ECHO ''",
    b"SELECT 0",
    b"SELECT 1",
    b"SELECT -1",
    b"SELECT 99999999",
    b"SELECT one",
    b"SELECT",
    b"SELECT 0 1",
    b"QUIT",
    b"QUIT now",
    b"RESET",
    b"RESET now",
    b"AUTH",
    b"AUTH secret",
    b"AUTH default secret",
    b"AUTH nobody secret",
    b"AUTH a b c",
    b"HELLO 1",
    b"HELLO 4",
    b"HELLO two",
    b"HELLO 3 NO",
    b"HELLO 3 AUTH",
    b"HELLO 3 AUTH default",
    b"HELLO 3 AUTH nobody secret",
    b"HELLO 3 SETNAME",
    b'HELLO 3 SETNAME "a b"',
    b"CLIENT",
    b"CLIENT NO.SUCH",
    b"CLIENT GETNAME",
    b"CLIENT GETNAME x",
    b"CLIENT SETNAME",
    b"CLIENT SETNAME x",
    b'CLIENT SETNAME "a b"',
    b'CLIENT SETNAME "a\\n"',
    b"CLIENT SETNAME ''",
    b"CLIENT ID x",
    b"CLIENT INFO x",
    b"CLIENT LIST TYPE no",
    b"CLIENT LIST NO",
    b"CLIENT LIST ID",
    b"CLIENT LIST ID x",
    b"CLIENT LIST TYPE pubsub",
    b"CLIENT REPLY",
    b"CLIENT REPLY maybe",
    b"CLIENT NO-EVICT",
    b"CLIENT NO-EVICT on",
    b"CLIENT NO-EVICT off",
    b"CLIENT NO-EVICT maybe",
    b"COMMAND NO.SUCH",
    b"COMMAND COUNT x",
    b"COMMAND INFO no.such",
    b"COMMAND INFO no.such no.such",
    b"COMMAND DOCS no.such",
    b"CONFIG",
    b"CONFIG NO.SUCH",
    b"CONFIG GET",
    b"CONFIG GET no.such.setting",
    b"CLUSTER INFO",
    b"CLUSTER NODES",
    b"MODULE",
    b"MODULE NO.SUCH",
    b"MODULE LIST x",
    b"SENTINEL masters",
    b"NO.SUCH",
    b"NO.SUCH a b c",
    b"no.such 'a b' \"c\\r\\nd\" e\\x00",
    b"NO.SUCH " + b"a" * 200,
    b"NO.SUCH " + b"a " * 200,
    b"N" * 200,
    b'"NO\\r\\nSUCH" x',
    b'"" x',
]


def words_in(line: bytes) -> list[bytes]:
    """What a line of the list above says."""
    words = re.findall(rb'"(?:\\.|[^"\\])*"|\'(?:\\.|[^\'\\])*\'|\S+', line)
    return [unquoted(word) for word in words]


def spoken(line: bytes) -> bytes:
    """The same in RESP."""
    return resp(*words_in(line))


def unquoted(word: bytes) -> bytes:
    if word[:1] == b"'":
        return word[1:-1].replace(b"\\'", b"'")
    if word[:1] != b'"':
        return word
    return word[1:-1].decode("unicode_escape").encode("latin-1")


@pytest.mark.parametrize("line", COMMANDS, ids=lambda line: line[:40].decode())
def test_command_is_answered_as_redis_does(pair: Pair, line: bytes) -> None:
    for sent in (
        RESP_FIRST + line + b"\r\n",
        RESP_FIRST + line + b"\n",
        spoken(line),
        resp(*(word.swapcase() for word in words_in(line))),
        spoken(line) + resp(b"PING"),
    ):
        same(pair.answers(sent))


PIPELINED = {
    "after a failed HELLO": [b"hello 9", b"ping"],
    "after RESET": [b"client setname x", b"reset", b"client getname"],
    "after QUIT": [b"quit", b"ping"],
    "reply off": [b"client reply off", b"ping", b"no.such", b"echo a b c", b"ping"],
    "reply off and on": [b"client reply off", b"ping", b"client reply on", b"echo back"],
    "reply skip": [b"client reply skip", b"ping lost", b"ping seen"],
    "reply skip, error": [b"client reply skip", b"no.such", b"ping seen"],
    "reply skip twice": [b"client reply skip", b"client reply skip", b"ping lost", b"ping seen"],
    "reply off, skip, on": [
        *(b"client reply off", b"client reply skip", b"ping", b"ping"),
        *(b"client reply on", b"ping seen"),
    ],
    "reply off, wrong": [b"client reply off", b"client reply maybe", b"client reply on"],
    "reply off, quit": [b"client reply off", b"quit", b"ping"],
    "reply off, reset": [b"client reply off", b"ping", b"reset", b"ping seen"],
    "reply skip, reset": [b"client reply skip", b"reset", b"ping seen"],
    "reply off, skip, reset": [b"client reply off", b"client reply skip", b"reset", b"ping seen"],
    "names": [b"client setname one", b"CLIENT GETNAME", b"client setname ''", b"client getname"],
}


@pytest.mark.parametrize("lines", PIPELINED.values(), ids=PIPELINED.keys())
def test_pipelined_commands_are_answered_as_redis_does(pair: Pair, lines: list[bytes]) -> None:
    same(pair.answers(RESP_FIRST + b"".join(line + b"\r\n" for line in lines)))
    same(pair.answers(b"".join(map(spoken, lines))))
    same(pair.answers(b"".join(resp(*(word.upper() for word in words_in(line))) for line in lines)))


HELLOS = [
    [b"hello"],
    [b"hello 2"],
    [b"HELLO 3"],
    [b"hello 3 setname worker", b"client getname"],
    [b"hello 3 auth default any", b"client getname"],
    [b"hello 2 auth default any setname worker", b"client getname"],
    [b"hello 3 SETNAME worker AUTH default any", b"client getname"],
    [b"hello 3", b"client getname", b"hello 2", b"client getname", b"hello"],
    [b"hello 3", b"reset", b"client getname"],
    [b"hello 3", b"client reply skip", b"ping", b"client getname"],
    [b"hello 3", b"client setname x", b"select 0", b"no.such", b"echo back"],
    [b"hello 3 setname a", b"hello 3 setname 'b c'", b"client getname"],
]


@pytest.mark.parametrize("lines", HELLOS, ids=lambda lines: b", ".join(lines).decode())
def test_handshakes_in_one_packet_are_answered_as_redis_does(
    pair: Pair, lines: list[bytes]
) -> None:
    redis, hrmr = pair.answers(b"".join(map(spoken, lines)))
    assert without_identity(redis) != redis
    same((redis, hrmr))


SECRET = b"a-secret-of-some-length"
AUTHENTICATED = [
    [b"auth", SECRET],
    [b"AUTH", b"default", SECRET],
    [b"auth", b"no-secret"],
    [b"auth", b"ada", SECRET],
    [b"hello", b"3", b"auth", b"default", SECRET, b"setname", b"worker"],
    [b"hello", b"3", b"setname", b"worker", b"auth", b"default", SECRET],
    [b"hello", b"2", b"auth", b"default", b"no-secret", b"setname", b"worker"],
    [b"hello", b"3", b"auth", b"ada", SECRET],
]


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    secret = SECRET.decode()
    with (
        redis_server(tmp_path_factory.mktemp("redis"), "--requirepass", secret) as redis,
        hrmr_server(tmp_path_factory.mktemp("hrmr"), "--admin-token", secret) as hrmr,
    ):
        yield Pair(redis, hrmr)


@pytest.mark.parametrize("words", AUTHENTICATED, ids=lambda words: b" ".join(words).decode())
def test_secret_is_taken_or_refused_as_redis_does(guarded: Pair, words: list[bytes]) -> None:
    same(guarded.answers(resp(*words)))
    good = resp(b"auth", SECRET)
    same(guarded.answers(good + resp(*words) + resp(b"client", b"getname") + resp(b"ping")))


# ------------------------------------------------------------------------------ malformed frames

MALFORMED = {
    "empty lines": b"\r\n\n\r\nPING\r\n",
    "no elements": b"*0\r\nPING\r\n",
    "minus one element": b"*-1\r\nPING\r\n",
    "minus ten elements": b"*-10\r\nPING\r\n",
    "no number of elements": b"*\r\nPING\r\n",
    "elements: letters": b"*abc\r\nPING\r\n",
    "elements: digit and letter": b"*1a\r\n$4\r\nPING\r\n",
    "elements: plus": b"*+1\r\n$4\r\nPING\r\n",
    "elements: leading zero": b"*01\r\n$4\r\nPING\r\n",
    "elements: space": b"* 1\r\n$4\r\nPING\r\n",
    "elements: minus zero": b"*-0\r\nPING\r\n",
    "elements: too many": b"*3000000000\r\n",
    "elements: past 64 bits": b"*99999999999999999999\r\n",
    "elements: long number": b"*" + b"1" * 100 + b"\r\n",
    "elements: no end in sight": b"*" + b"1" * 70000,
    "bare newline after elements": b"*1\n$4\r\nPING\r\n",
    "no dollar": b"*1\r\nPING\r\n",
    "colon for dollar": b"*1\r\n:4\r\nPING\r\n",
    "nested": b"*1\r\n*1\r\n$4\r\nPING\r\n",
    "no bulk length": b"*1\r\n$\r\nPING\r\n",
    "bulk length: minus one": b"*1\r\n$-1\r\nPING\r\n",
    "bulk length: minus ten": b"*2\r\n$4\r\nECHO\r\n$-10\r\n",
    "bulk length: letters": b"*1\r\n$abc\r\nPING\r\n",
    "bulk length: digit and letter": b"*1\r\n$4a\r\nPING\r\n",
    "bulk length: leading zero": b"*1\r\n$04\r\nPING\r\n",
    "bulk length: plus": b"*1\r\n$+4\r\nPING\r\n",
    "bulk length: space": b"*1\r\n$ 4\r\nPING\r\n",
    "bulk length: too large": b"*1\r\n$2000000000\r\n",
    "bulk length: past 64 bits": b"*1\r\n$99999999999999999999\r\n",
    "bulk length: no end in sight": b"*1\r\n$" + b"1" * 70000,
    "bulk of no bytes": b"*2\r\n$4\r\nECHO\r\n$0\r\n\r\n",
    "name of no bytes": b"*1\r\n$0\r\n\r\n",
    "error behind a good command": b"PING\r\n*x\r\nPING\r\n",
    "error in the second argument": resp(b"PING") + b"*2\r\n$4\r\nECHO\r\nx\r\n" + resp(b"PING"),
    "unbalanced quotes": b'ECHO "abc\r\nPING\r\n',
    "unbalanced single quotes": b"ECHO 'abc\r\nPING\r\n",
    "quotes joined to a word": b'ECHO "abc"def\r\nPING\r\n',
    "quotes within a word": b'ECHO abc"def"\r\nPING\r\n',
    "bad hex escape": b'ECHO "\\xzz"\r\nPING\r\n',
    "only spaces": b"   \r\nPING\r\n",
    "vertical tab and form feed": b"\v\fECHO a\vb\fc\r\nECHO 'a'\v\r\nEC\vHO a\r\n",
    "spaces around": b"  PING   \r\n\tECHO\ta \r\n",
    "long line": b"ECHO " + b"a" * 60000 + b"\r\n",
    "line with no end": b"A" * 70000,
    "dollar first": b"$4\r\nPING\r\n",
    "plus first": b"+PING\r\nPING\r\n",
}


@pytest.mark.parametrize("sent", MALFORMED.values(), ids=MALFORMED.keys())
def test_malformed_frames_are_answered_as_redis_does(pair: Pair, sent: bytes) -> None:
    same(pair.answers(RESP_FIRST + sent))


# ------------------------------------------------------------------------------ generated

BLOBS = (b"", b"word", b"two words", b"\r\n", b'"')


def blob(chance: random.Random) -> bytes:
    kind = chance.randrange(8)
    if kind == 0:
        return chance.randbytes(chance.randint(1, 40)).replace(b"\0", b"\1")  # see "NUL in ..."
    if kind == 1:
        return b"a" * chance.choice((127, 128, 129, 500))  # 128: what an error quotes at most
    if kind == 2:
        return b"%d" % chance.randint(-2, 99)
    return chance.choice(BLOBS)


def words_of(chance: random.Random) -> list[bytes]:
    """A command that both servers know, or none does; its arguments are right, or are not."""
    name = chance.choice((b"PING", b"ECHO", b"SELECT", b"CLIENT", b"NO.SUCH", b"HELLO", b"AUTH"))
    if chance.random() < 0.3:
        name = name.lower()
    arguments = [blob(chance) for _ in range(chance.choice((0, 1, 1, 1, 2, 3, 30)))]
    if name.upper() == b"CLIENT":
        sub = chance.choice((b"GETNAME", b"setname", b"REPLY", b"no.such", b""))
        arguments = [sub, *arguments[:2]]
    if name.upper() == b"HELLO":
        arguments = [b"9", *arguments]
    return [name, *arguments]


def inline(words: list[bytes]) -> bytes:
    """As a line, its words quoted."""
    quoted = ("".join(f"\\x{byte:02x}" for byte in word) for word in words)
    return " ".join(f'"{word}"' for word in quoted).encode() + b"\r\n"


NOTABLE = (b"\r\n", b"*", b"$", b"-1", b"0", b"9", b":", b'"', b" ", b"*1\r\n$4\r\nPING\r\n", b"\n")


def damaged(sent: bytes, chance: random.Random) -> bytes:
    """Some bytes removed, doubled, changed or put in."""
    made = bytearray(sent)
    for _ in range(chance.randint(1, 3)):
        at = chance.randrange(len(made))
        step = chance.randrange(4)
        if step == 0:
            del made[at : at + chance.randint(1, 4)]
        elif step == 1:
            made[at:at] = chance.choice(NOTABLE)
        elif step == 2:
            made[at] = chance.choice(b"\r\n*$-0129:ax \"'\\+")
        else:
            made[at:at] = made[at : at + chance.randint(1, 12)]
        if not made:
            return b"\r\n"
    return bytes(made)


def generated(chance: random.Random) -> bytes:
    commands = [words_of(chance) for _ in range(chance.randint(1, 5))]
    sent = b"".join(inline(words) if chance.random() < 0.25 else resp(*words) for words in commands)
    return damaged(sent, chance) if chance.random() < 0.8 else sent


def test_generated_and_damaged_commands_are_answered_as_redis_does(pair: Pair) -> None:
    chance = random.Random(SEED)
    wrong = []
    kinds: set[bytes] = set()
    strict = 0
    for _ in range(GENERATED):
        # The line end completes what is left of a line, see "no line end".
        sent = RESP_FIRST + generated(chance) + b"\r\n" + resp(b"ECHO", b"still there")
        redis, hrmr = map(without_identity, pair.answers(sent))
        kinds |= {line[:24] for line in redis.split(b"\r\n") if line[:1] == b"-"}
        if hrmr == redis:
            continue
        strict += 1
        if not is_stricter(pair, sent, hrmr):
            wrong.append((sent, redis, hrmr))
    assert not wrong, f"{len(wrong)} differ, of them:\n" + "\n".join(
        f"sent  {sent!r}\nredis {redis!r}\nhrmr  {hrmr!r}\n" for sent, redis, hrmr in wrong[:5]
    )
    assert len(kinds) >= 10  # the generator reaches errors of many kinds
    assert 0 < strict < GENERATED / 2


# ------------------------------------------------------------------------------ not as Redis

LINE_END = "Redis skips two bytes unseen; HRMR checks them, so that wrong lengths are seen at once"
OF_7_2 = "of Redis 7.2; clients send it as they connect"

# By name: what is sent, what Redis says, what HRMR says, and why.
DELIBERATE = {
    "no line end": (b"PING", b"", b"+PONG\r\n", "`printf PING | nc -N` gets its answer"),
    "a line of another kind": (
        b"NO.SUCH x\r\n",
        b"-ERR unknown command 'NO.SUCH', with args beginning with: 'x' \r\n",
        b"ERR no route for 'NO.SUCH x'\n",
        "a client of plain lines is told in plain text",
    ),
    "HTTP": (
        b"POST / HTTP/1.0\r\nHost: a\r\n\r\n",
        b"",
        b"HTTP/1.1 404 Not Found\r\n",
        "Redis hangs up on it; HRMR speaks it",
    ),
    "wrong end of a bulk string": (
        b"*1\r\n$4\r\nPINGxx",
        b"+PONG\r\n",
        b"-ERR Protocol error: invalid bulk length\r\n",
        LINE_END,
    ),
    "wrong end of a length": (
        b"*1\r\n$4\rxPING\r\n",
        b"+PONG\r\n",
        b"-ERR Protocol error: invalid bulk length\r\n",
        LINE_END,
    ),
    "wrong end of a count": (
        b"*1\rx$4\r\nPING\r\n",
        b"+PONG\r\n",
        b"-ERR Protocol error: invalid multibulk length\r\n",
        LINE_END,
    ),
    "large bulk string": (
        b"*1\r\n$400000000\r\n",
        b"",
        b"-ERR Protocol error: invalid bulk length\r\n",
        "it would be held in memory whole, so the bound is lower",
    ),
    "many elements": (
        b"*2000000000\r\n",
        b"",
        b"-ERR Protocol error: invalid multibulk length\r\n",
        "as for a large bulk string",
    ),
    "NUL in a length": (
        b"*1\r\n$\0004\r\nPING\r\n",
        b"",
        b"-ERR Protocol error: invalid bulk length\r\n",
        "Redis looks for the end of a line up to a NUL only, and waits for more for ever",
    ),
    "NUL in a line": (
        RESP_FIRST + b"ECHO a\000b\r\n" + RESP_FIRST,
        b"+PONG\r\n",
        b"+PONG\r\n$1\r\na\r\n+PONG\r\n",
        "the same",
    ),
    "SETINFO": (
        resp(b"CLIENT", b"SETINFO", b"LIB-NAME", b"x"),
        b"-ERR unknown subcommand 'SETINFO'. Try CLIENT HELP.\r\n",
        b"+OK\r\n",
        OF_7_2,
    ),
    "NO-TOUCH": (
        resp(b"CLIENT", b"NO-TOUCH", b"on"),
        b"-ERR unknown subcommand 'NO-TOUCH'. Try CLIENT HELP.\r\n",
        b"+OK\r\n",
        OF_7_2,
    ),
}


@pytest.mark.parametrize("case", DELIBERATE.values(), ids=DELIBERATE.keys())
def test_answers_otherwise_on_purpose(pair: Pair, case: tuple[bytes, bytes, bytes, str]) -> None:
    sent, by_redis, by_hrmr, _why = case
    redis, hrmr = pair.answers(sent)
    assert redis == by_redis
    assert hrmr == by_hrmr or (sent[:4] == b"POST" and hrmr.startswith(by_hrmr))


def is_stricter(pair: Pair, sent: bytes, hrmr: bytes) -> bool:
    """Whether HRMR has refused the first bytes that Redis skips unseen, after it had answered all
    before them as Redis does."""
    begin = first_unseen(sent)
    if begin is None:
        return False
    alive = resp(b"ECHO", b"alive")
    before = without_identity(answer(pair.redis, sent[:begin] + alive))
    expected = before.removesuffix(b"$5\r\nalive\r\n")
    refusal = rb"-ERR Protocol error: (invalid|expected)[^\r\n]*\r\n"
    return expected != before and bool(re.fullmatch(re.escape(expected) + refusal, hrmr))


def first_unseen(sent: bytes) -> int | None:
    """Where the first command begins in which Redis skips bytes that are no line end."""
    at = 0
    while at < len(sent):
        if sent[at : at + 1] != b"*":
            at = sent.find(b"\n", at) + 1
            if at == 0:
                return None
            continue
        end = end_of_array(sent, at)
        if end is None:
            return None
        if end < 0:
            return at
        at = end
    return None


def end_of_array(sent: bytes, at: int) -> int | None:
    """Behind the array that begins there, as Redis finds its end. -1: it has skipped bytes that are
    no line end. None: the array is not all there, or Redis refuses it."""
    lines_left, is_count = 1, True
    while lines_left:
        line_end = sent.find(b"\r", at)
        if line_end < 0 or line_end + 1 == len(sent):
            return None
        if sent[line_end + 1 : line_end + 2] != b"\n":
            return -1
        number = re.fullmatch(rb"(?:\*|\$)(-?[1-9]\d*|0)", sent[at:line_end])
        if not number:
            return None
        length, at = int(number[1]), line_end + 2
        if is_count:
            lines_left, is_count = max(0, length), False
            continue
        lines_left, at = lines_left - 1, at + length + 2
        if length < 0 or at > len(sent):
            return None
        if sent[at - 2 : at] != b"\r\n":
            return -1
    return at
