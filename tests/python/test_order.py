"""Answers come in the order of the requests, whatever runs where, however the bytes are cut; what
cannot be taken is refused, in its place."""

import os
import random
from collections.abc import Callable
from pathlib import Path

import hrmr
import pytest
from conftest import HrmrProcess, Serve, StartServer, resident_kib, write_module
from wire_client import (
    Client,
    Gate,
    Response,
    ask,
    get,
    http_request,
    one_by_one,
    random_parts,
    wait_until,
)

MakeGate = Callable[..., Gate]
MIB = 1 << 20
# A sanitizer makes every byte slow.
LARGE_REPLIES = 40 if os.environ.get("HRMR_SANITIZE") else 300

PYTHON = """
    import hrmr

    @hrmr.route("PY ")
    def line(request):
        return f"python {request.text}\\n"

    @hrmr.route("PYRAISE ")
    def raise_line(request):
        raise ValueError("told to raise")

    @hrmr.route("GET /py")
    def http(request):
        return f"python {request.target}\\n"

    @hrmr.route("GET /raise")
    def raise_http(request):
        raise ValueError("told to raise")
"""


@pytest.fixture
def python(modules: Path) -> Path:
    return write_module(modules, "python", PYTHON)


@pytest.fixture
def server(start_server: StartServer, probe: Path, python: Path) -> hrmr.Server:
    return start_server()


# A request for a number, and its answer.
Exchange = Callable[[int], tuple[str, str]]

LINES: list[Exchange] = [
    lambda n: (f"INLINE {n}\n", f"inline {n}\n"),
    lambda n: (f"INLINE {n}\r\n\r\n\n", f"inline {n}\n"),
    lambda n: (f"POOL {n}\n", f"pool {n}\n"),
    lambda n: (f"PY {n}\n", f"python {n}\n"),
    lambda n: (f"NOBODY {n}\n", f"ERR no route for 'NOBODY {n}'\n"),
    lambda _: ("FAIL \n", "ERR told to fail\n"),
    lambda _: ("FAILPOOL \n", "ERR told to fail\n"),
    lambda _: ("THROW \n", "ERR told to throw\n"),
    lambda _: ("THROWPOOL \n", "ERR told to throw\n"),
    lambda _: ("PYRAISE \n", "ERR module 'python' failed: ValueError: told to raise\n"),
    lambda n: (f"BIG {n * 100}\n", "x" * (n * 100) + "\n"),
    lambda n: (f"BIGPOOL {n * 100}\n", "x" * (n * 100) + "\n"),
    lambda _: ("RELOAD probe\n", "unchanged probe generation 1\nOK 1 unchanged in 0.0 ms\n"),
    lambda _: ("FAIL HTTP/1.1\n", "ERR told to fail\n"),
]


def mixed(exchanges: list[Exchange], seed: int, count: int) -> tuple[bytes, bytes]:
    """Requests in a random order, in runs of the same, and what they are answered with."""
    chance = random.Random(seed)
    # Not by a line that looks like HTTP, as the first on a connection.
    sent, answers, number = ["INLINE first\n"], ["inline first\n"], 0
    while number < count:
        exchange = chance.choice(exchanges)
        for _ in range(chance.choice([1, 1, 2, 5, 40])):
            number += 1
            request, answer = exchange(number)
            sent.append(request)
            answers.append(answer)
    return "".join(sent).encode(), "".join(answers).encode()


def without_times(answer: bytes) -> list[bytes]:
    return [line.partition(b" unchanged in ")[0] for line in answer.split(b"\n")]


@pytest.mark.parametrize("seed", range(12))
def test_mixed_lines_are_answered_in_order_however_they_are_cut(
    server: hrmr.Server, seed: int
) -> None:
    sent, expected = mixed(LINES, seed, 200)
    longest = [1, 7, 60, 1500, 1 << 20][seed % 5]
    with Client(server.port) as client:
        client.send_parts(random_parts(sent, seed, longest))
        client.half_close()
        assert without_times(client.read_to_end()) == without_times(expected)


# Path, method, status and body of an exchange over HTTP.
HttpExchange = Callable[[int], tuple[bytes, int, str]]

REQUESTS: list[HttpExchange] = [
    lambda n: (http_request(f"/inline?{n}"), 200, f"inline /inline?{n}\n"),
    lambda n: (http_request(f"/pool?{n}"), 200, f"pool /pool?{n}\n"),
    lambda n: (http_request(f"/py?{n}"), 200, f"python /py?{n}\n"),
    lambda n: (http_request("/body", "POST", b"%d" % n), 200, f"{n}"),
    lambda n: (http_request("/bodypool", "POST", b"b" * n * 9), 200, "b" * n * 9),
    lambda _: (http_request("/fail"), 400, "told to fail\n"),
    lambda _: (http_request("/throw"), 500, "told to throw\n"),
    lambda _: (http_request("/raise"), 500, "module 'python' failed: ValueError: told to raise\n"),
    lambda n: (http_request(f"/{n}"), 404, f"no route for 'GET /{n} HTTP/1.1'\n"),
    lambda _: (
        http_request("/bodypool", "POST", headers="Transfer-Encoding: chunked\r\n").replace(
            b"Content-Length: 0\r\n", b""
        )
        + b"3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n",
        200,
        "abcde",
    ),
]


@pytest.mark.parametrize("seed", range(8))
def test_mixed_http_is_answered_in_order_however_it_is_cut(server: hrmr.Server, seed: int) -> None:
    chance = random.Random(seed)
    exchanges = [chance.choice(REQUESTS)(number) for number in range(1, 150)]
    sent = b"".join(request for request, _, _ in exchanges)
    with Client(server.port) as client:
        client.send_parts(random_parts(sent, seed, [3, 100, 4000, 1 << 20][seed % 4]))
        for _, status, body in exchanges:
            response = client.read_response()
            assert (response.status, response.text) == (status, body)


def test_thousands_of_requests_in_one_segment(server: hrmr.Server) -> None:
    count = 5000
    for word, answer in [("INLINE", "inline"), ("POOL", "pool"), ("PY", "python")]:
        with Client(server.port) as client:
            client.send("".join(f"{word} {n}\n" for n in range(count)))
            client.half_close()
            expected = "".join(f"{answer} {n}\n" for n in range(count))
            assert client.read_to_end().decode() == expected


def test_many_connections_at_once_each_keep_their_order(
    start_server: StartServer, probe: Path, python: Path
) -> None:
    server = start_server(loops=2, threads=8, python_threads=2)
    clients = [Client(server.port) for _ in range(40)]
    mixes = [mixed(LINES, 1000 + n, 100) for n in range(len(clients))]
    parts = [random_parts(sent, n, 300) for n, (sent, _) in enumerate(mixes)]
    for turn in range(max(map(len, parts))):
        for client, own in zip(clients, parts, strict=True):
            client.send_parts(own[turn : turn + 1])
    for client, (_, expected) in zip(clients, mixes, strict=True):
        with client:
            client.half_close()
            assert without_times(client.read_to_end()) == without_times(expected)


@pytest.mark.parametrize("word", ["INLINE", "POOL"])
def test_slow_sender_among_fast_ones_is_served(server: hrmr.Server, word: str) -> None:
    with Client(server.port) as slow, Client(server.port) as fast:
        for byte in one_by_one(f"{word} slow\n".encode()):
            slow.send(byte)
            assert fast.ask(f"{word} fast") == f"{word.lower()} fast"
        assert slow.read_line() == f"{word.lower()} slow"


@pytest.mark.parametrize("path", ["/inline", "/pool", "/py"])
def test_continue_and_refusal_come_behind_what_was_asked_before(
    server: hrmr.Server, path: str
) -> None:
    expecting = (
        b"POST /bodypool HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n"
    )
    for parts in ([http_request(path) + expecting], one_by_one(http_request(path) + expecting)):
        with Client(server.port) as client:
            client.send_parts(parts)
            assert client.read_response().text.endswith(f"{path}\n")
            assert client.read_response(head_only=True).status == 100
            client.send(b"hello" + http_request(path) + b"GET / HTTP/9.9\r\n\r\n" + expecting)
            assert client.read_response().text == "hello"
            assert client.read_response().text.endswith(f"{path}\n")
            assert client.read_response().status == 505
            assert client.read_to_end() == b""


@pytest.mark.parametrize("word", ["INLINE", "POOL", "PY"])
def test_bare_command_and_endless_line_come_behind_what_was_asked_before(
    server: hrmr.Server, word: str
) -> None:
    with Client(server.port) as client:
        client.send(f"{word} a\n{word} b\nRELOAD")
        assert [client.read_line()[-2:] for _ in range(2)] == [" a", " b"]
        assert client.read_line().startswith("unchanged probe")
        assert client.read_line().startswith("unchanged python")
        assert client.read_line().startswith("OK ")
        client.send(f"{word} c\n" + "x" * 70_000)
        assert client.read_line().endswith(" c")
        assert b"Protocol error" in client.read_to_end()


# ------------------------------------------------------------------------------- back-pressure


@pytest.mark.parametrize("word", ["BIG", "BIGPOOL"])
def test_half_closed_slow_reader_gets_all(server: hrmr.Server, word: str) -> None:
    sizes = [MIB // 8 - n for n in range(80)]
    with Client(server.port) as client:
        client.send("".join(f"{word} {size}\n" for size in sizes) + "INLINE last")
        client.half_close()
        for _ in range(50):
            assert ask(server.port, "POOL x") == "pool x"
        for size in sizes:
            assert client.read_exactly(size + 1) == b"x" * size + b"\n"
        assert client.read_to_end() == b"inline last\n"


@pytest.mark.parametrize("word", ["BIG", "BIGPOOL"])
def test_slow_reader_gets_all_in_order_and_costs_bounded_memory(
    serve: Serve, probe: Path, word: str
) -> None:
    server: HrmrProcess = serve()
    assert ask(server.port, "POOL x") == "pool x"
    before_kib = resident_kib(server.pid)
    sizes = [MIB - n for n in range(LARGE_REPLIES)]
    with Client(server.port) as client:
        client.send("".join(f"{word} {size}\n" for size in sizes) + "INLINE last\n")
        # Not read yet: the server is to stop making answers, and go on serving others.
        for _ in range(100):
            assert ask(server.port, "POOL x") == "pool x"
        for size in sizes:
            assert client.read_exactly(size + 1) == b"x" * size + b"\n"
        assert client.read_line() == "inline last"
    # Of 300 MiB: one batch of 32, its copy on the way out, and what the allocator keeps.
    assert resident_kib(server.pid, "VmHWM") - before_kib < 160 * 1024


def test_client_that_never_reads_does_not_hold_up_others_or_the_end(
    serve: Serve, probe: Path
) -> None:
    server = serve("--drain-timeout", "0.5")
    with Client(server.port) as deaf:
        deaf.send("BIGPOOL 1000000\n" * 500)
        assert ask(server.port, "POOL x") == "pool x"
        assert ask(server.port, "SHUTDOWN") == "OK shutting down"
        assert server.wait() == 0


# ------------------------------------------------------------------------------------ overload


BUSY = "503 overloaded: the queue is full, try again"


def fill(server: hrmr.Server, gate: Gate, queue: int) -> list[Client]:
    """Connections whose requests occupy the one worker and all of its queue."""
    blocker = Client(server.port)
    blocker.send(f"BLOCK {gate.path}\n")
    gate.wait_for_handler()
    waiting = [Client(server.port) for _ in range(queue)]
    for client in waiting:
        # In one segment: when the first is answered, the second is in the queue.
        client.send("INLINE seen\nPOOL waited\n")
        assert client.read_line() == "inline seen"
    assert get(server.port, "/pool").status == 503
    return [blocker, *waiting]


def test_full_queue_refuses_in_order_and_recovers(
    start_server: StartServer, probe: Path, make_gate: MakeGate
) -> None:
    gate, server = make_gate(), start_server(threads=1, queue=4)
    blocker, *waiting = fill(server, gate, 4)
    with Client(server.port) as client:
        client.send("INLINE a\nPOOL b\nPOOL c\nINLINE d\nPOOL e\nNOBODY f\n")
        answers = [client.read_line() for _ in range(6)]
        assert answers == ["inline a", BUSY, BUSY, "inline d", BUSY, "ERR no route for 'NOBODY f'"]
        response = get(server.port, "/pool")
        assert (response.status, response.text) == (503, BUSY.removeprefix("503 ") + "\n")
        assert int(response.headers["retry-after"]) >= 1
        gate.open()
        assert blocker.read_line() == "unblocked"
        assert [one.read_line() for one in waiting] == ["pool waited"] * 4
        assert client.ask("POOL again") == "pool again"
    for one in (blocker, *waiting):
        one.socket.close()


def test_overload_from_many_connections_answers_each_request_once(
    start_server: StartServer, probe: Path, make_gate: MakeGate
) -> None:
    gate, server = make_gate(), start_server(threads=1, queue=2)
    waiting = fill(server, gate, 2)
    clients = [Client(server.port) for _ in range(60)]
    for client in clients:
        client.send("POOL a\n" * 100 + "INLINE b\n")
    for client in clients:
        assert [client.read_line() for _ in range(101)] == [BUSY] * 100 + ["inline b"]
    gate.open()
    assert waiting[0].read_line() == "unblocked"
    for client in clients:
        with client:
            wait_until(lambda c=client: c.ask("POOL c") == "pool c", "it recovers")
    for client in waiting:
        client.socket.close()


def test_full_python_queue_does_not_refuse_the_pool(
    start_server: StartServer, probe: Path, modules: Path, make_gate: MakeGate
) -> None:
    write_module(
        modules,
        "waits",
        """
        import hrmr

        @hrmr.route("GET /wait")
        def wait(request):
            return open(request.query).read() or "waited\\n"

        @hrmr.route("GET /quick")
        def quick(request):
            return "quick\\n"
        """,
    )
    gate, server = make_gate(), start_server(python_threads=1, queue=2)
    waiting = [Client(server.port) for _ in range(3)]
    waiting[0].send(http_request(f"/wait?{gate.path}"))
    gate.wait_for_handler()
    for client in waiting[1:]:
        client.send(http_request("/inline") + http_request("/quick"))
        assert client.read_response().status == 200
    assert get(server.port, "/quick").status == 503
    assert get(server.port, "/pool").status == 200
    gate.open()
    answers: list[Response] = [client.read_response() for client in waiting]
    assert [answer.text for answer in answers] == ["waited\n", "quick\n", "quick\n"]
    assert get(server.port, "/quick").text == "quick\n"
    for client in waiting:
        client.socket.close()
