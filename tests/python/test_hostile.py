"""Peers that mean harm: that drip, that never read, that flood. Each bound from both sides."""

import os
import resource
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack
from itertools import cycle
from pathlib import Path

import pytest
from conftest import HrmrProcess, Serve, StartServer, descriptors, resident_kib, write_module
from wire_client import Client, http_request, wait_until

SANITIZED = bool(os.environ.get("HRMR_SANITIZE"))
# A bound on time that a test waits for; and one that it must never come to.
SHORT_S = 0.3
LONG_S = 300.0

RESP_TIMEOUT = b"-ERR Protocol error: the command did not come in time\r\n"
HEAD = b"POST /body HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000\r\n\r\n"


def timeouts(**short: float) -> dict[str, float]:
    """All timeouts long, but for these."""
    names = ("idle_timeout", "header_timeout", "body_timeout", "write_timeout")
    return {**dict.fromkeys(names, LONG_S), **short}


def drip_until_closed(client: Client, drops: Iterator[bytes], pause_s: float = 0.02) -> bytes:
    """Sends a drop after each pause until the server closes; what it answered."""
    answer = b""
    client.socket.settimeout(pause_s)
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        try:
            part = client.socket.recv(65536)
            if not part:
                return answer
            answer += part
        except TimeoutError:
            pass
        except ConnectionResetError:
            return answer
        try:
            client.socket.send(next(drops))
        except (BrokenPipeError, ConnectionResetError):
            continue
    pytest.fail("the server did not close")


def endless(drop: bytes) -> Iterator[bytes]:
    while True:
        yield drop


# ------------------------------------------------------------------------------ slow requests


def test_dripped_head_is_answered_with_408_and_closed(
    start_server: StartServer, probe: Path
) -> None:
    server = start_server(**timeouts(header_timeout=SHORT_S))
    with Client(server.port) as client:
        began = time.monotonic()
        client.send("GET /inline HTTP/1.1\r\nHost: a\r\nX: ")
        answer = drip_until_closed(client, endless(b"x"))
        assert answer.startswith(b"HTTP/1.1 408 Request Timeout\r\n")
        assert b"\r\nConnection: close\r\n" in answer
        assert answer.endswith(b"timeout: the head did not come in time\n")
        assert time.monotonic() - began >= SHORT_S * 0.9


def test_head_of_a_later_request_is_timed_from_its_own_first_byte(
    start_server: StartServer, probe: Path
) -> None:
    server = start_server(**timeouts(header_timeout=SHORT_S))
    with Client(server.port) as client:
        deadline = time.monotonic() + 3 * SHORT_S
        while time.monotonic() < deadline:
            assert client.get("/inline").status == 200
            time.sleep(SHORT_S / 10)
        # Between requests it may be silent for longer.
        time.sleep(2 * SHORT_S)
        assert client.get("/inline").status == 200
        client.send("GET /inline HTTP/1.1\r\n")
        assert client.read_to_end().startswith(b"HTTP/1.1 408 ")


@pytest.mark.parametrize("begin", ["INLI", "GET/ something"])
def test_dripped_line_is_answered_with_err_and_closed(
    start_server: StartServer, probe: Path, begin: str
) -> None:
    server = start_server(**timeouts(header_timeout=SHORT_S))
    with Client(server.port) as client:
        client.send(begin)
        answer = drip_until_closed(client, endless(b"x"))
        assert answer == b"ERR timeout: the line did not end in time\n"
    with Client(server.port) as client:
        assert client.ask("INLINE x") == "inline x"
        client.send(begin)
        assert client.read_to_end() == b"ERR timeout: the line did not end in time\n"


def test_half_of_a_first_line_that_looks_like_http_is_answered_as_http(
    start_server: StartServer, probe: Path
) -> None:
    server = start_server(**timeouts(header_timeout=SHORT_S))
    with Client(server.port) as client:
        client.send("GET /inl")
        assert client.read_to_end().startswith(b"HTTP/1.1 408 ")


def test_peer_that_never_speaks_is_closed_without_a_word(
    start_server: StartServer, probe: Path
) -> None:
    server = start_server(**timeouts(header_timeout=SHORT_S))
    with Client(server.port) as silent, Client(server.port) as blank:
        assert silent.read_to_end() == b""
        assert drip_until_closed(blank, endless(b"\r\n")) == b""


@pytest.mark.parametrize("begin", ["*2", "*2\r\n$4", "*2\r\n$4\r\nECHO\r\n$4"])
def test_dripped_length_of_a_command_is_answered_and_closed(
    start_server: StartServer, probe: Path, begin: str
) -> None:
    server = start_server(**timeouts(header_timeout=SHORT_S))
    with Client(server.port) as client:
        client.send(begin)
        assert drip_until_closed(client, endless(b"0"), pause_s=0.1) == RESP_TIMEOUT


@pytest.mark.parametrize(
    ("begin", "drops"),
    [
        ("*2\r\n$4\r\nECHO\r\n$100000\r\n", [b"x"]),
        ("*100000\r\n", [b"$1\r\n", b"x\r\n"]),
    ],
)
def test_command_that_drips_below_the_least_rate_is_closed(
    start_server: StartServer, probe: Path, begin: str, drops: list[bytes]
) -> None:
    short = timeouts(header_timeout=SHORT_S, body_timeout=SHORT_S)
    server = start_server(**short, min_rate=10_000)
    with Client(server.port) as client:
        client.send(begin)
        assert drip_until_closed(client, cycle(drops)) == RESP_TIMEOUT


def test_request_that_comes_just_in_time_is_served(start_server: StartServer, probe: Path) -> None:
    server = start_server(**timeouts(header_timeout=2.0))
    with Client(server.port) as http, Client(server.port) as line:
        began = time.monotonic()
        sent = http_request("/inline")
        http.send(sent[:-1])
        line.send("INLINE ")
        while time.monotonic() < began + 1.0:
            time.sleep(0.05)
        http.send(sent[-1:])
        line.send("x\n")
        assert http.read_response().status == 200
        assert line.read_line() == "inline x"


def test_body_that_pauses_is_answered_with_408_and_closed(
    start_server: StartServer, probe: Path
) -> None:
    server = start_server(**timeouts(body_timeout=SHORT_S))
    with Client(server.port) as client:
        client.send(HEAD + b"x" * 1000)
        answer = client.read_to_end()
        assert answer.startswith(b"HTTP/1.1 408 Request Timeout\r\n")
        assert answer.endswith(b"timeout: the body did not come in time\n")


def test_body_that_drips_below_the_least_rate_is_closed(
    start_server: StartServer, probe: Path
) -> None:
    server = start_server(**timeouts(body_timeout=SHORT_S), min_rate=10_000)
    with Client(server.port) as client:
        client.send(HEAD)
        # No pause is as long as the body timeout; it is the average that is not enough.
        answer = drip_until_closed(client, endless(b"x"))
        assert answer.startswith(b"HTTP/1.1 408 ")
    with Client(server.port) as client:
        client.send(b"POST /body HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n")
        answer = drip_until_closed(client, endless(b"1\r\nx\r\n"))
        assert answer.startswith(b"HTTP/1.1 408 ")


def test_slow_body_above_the_least_rate_is_served(start_server: StartServer, probe: Path) -> None:
    server = start_server(**timeouts(body_timeout=SHORT_S, header_timeout=SHORT_S), min_rate=1000)
    with Client(server.port) as client:
        client.send(b"POST /body HTTP/1.1\r\nHost: a\r\nContent-Length: 6000\r\n\r\n")
        for _ in range(60):  # in all well over both timeouts
            client.send(b"x" * 100)
            time.sleep(0.02)
        assert client.read_response().text == "x" * 6000


def test_thousand_drippers_cost_little_and_slow_nobody(serve: Serve, probe: Path) -> None:
    server: HrmrProcess = serve()
    allow_descriptors(4096)
    with Client(server.port) as bystander:
        bystander.ask("POOL x")
        before_kib = resident_kib(server.pid)
        with ExitStack() as stack:
            drippers = [stack.enter_context(Client(server.port)) for _ in range(1000)]
            sent = http_request("/inline")
            for at in range(len(sent) - 1):
                for dripper in drippers:
                    dripper.socket.send(sent[at : at + 1])
                began = time.monotonic()
                assert bystander.ask("INLINE x") == "inline x"
                assert time.monotonic() - began < 5.0
            # Some 500 bytes each for the connection and what it has sent; no buffer of 16 KiB.
            assert SANITIZED or resident_kib(server.pid) - before_kib < 4 * 1000
            for dripper in drippers:
                dripper.send(sent[-1:])
            assert all(dripper.read_response().status == 200 for dripper in drippers)


def allow_descriptors(wanted: int) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(max(soft, wanted), hard), hard))


# -------------------------------------------------------------------------- peers that do not read


def narrow_client(port: int) -> Client:
    """A client whose kernel takes little for it."""
    client = Client.__new__(Client)
    client.socket = socket.socket()
    client.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    client.socket.settimeout(60.0)
    client.socket.connect(("127.0.0.1", port))
    client._received = bytearray()
    return client


@pytest.mark.parametrize("asked", ["BIG 50000000\n", "BIGPOOL 50000000\n"])
def test_peer_that_takes_nothing_is_reset_and_its_memory_freed(
    serve: Serve, probe: Path, asked: str
) -> None:
    server = serve("--write-timeout", "0.3")
    with Client(server.port) as bystander:
        bystander.ask("POOL x")
        before, before_kib = descriptors(server.pid), resident_kib(server.pid)
        clients = [narrow_client(server.port) for _ in range(3)]
        for client in clients:
            client.send(asked)
        wait_until(lambda: all(client.has_input() for client in clients), "answers have begun")
        wait_until(lambda: descriptors(server.pid) <= before, "they are closed")
        assert bystander.ask("INLINE x") == "inline x"
        if not SANITIZED:  # which keeps what is freed, to see late uses of it
            wait_until(lambda: resident_kib(server.pid) < before_kib + 60_000, "memory is freed")
        for client in clients:
            with client, pytest.raises(ConnectionResetError):
                client.read_to_end()


def test_peer_that_takes_nothing_of_a_file_is_reset_and_the_file_closed(
    serve: Serve, tmp_path: Path
) -> None:
    (tmp_path / "site").mkdir()
    with (tmp_path / "site" / "large.bin").open("wb") as file:
        file.truncate(100_000_000)
    server = serve("--bundled", "--static", str(tmp_path / "site"), "--write-timeout", "0.3")
    with Client(server.port) as bystander:
        assert bystander.get("/large.bin", "HEAD").status == 200
        before = descriptors(server.pid)
        with narrow_client(server.port) as client:
            client.send(http_request("/large.bin"))
            wait_until(client.has_input, "the answer has begun")
            wait_until(lambda: descriptors(server.pid) <= before, "it is closed")
            with pytest.raises(ConnectionResetError):
                client.read_to_end()
        assert bystander.get("/large.bin", "HEAD").status == 200


def send_until_closed(client: Client, part: bytes) -> OSError:
    try:
        while True:
            client.socket.sendall(part)
    except OSError as error:
        return error


def test_peer_that_sends_on_and_never_reads_is_closed(
    start_server: StartServer, probe: Path
) -> None:
    server = start_server(**timeouts(write_timeout=SHORT_S), output_max=100_000)
    with narrow_client(server.port) as client:
        answer = send_until_closed(client, b"BIG 10000\n" * 1000)
        assert isinstance(answer, ConnectionError)


def test_slow_reader_above_the_least_rate_gets_all(start_server: StartServer, probe: Path) -> None:
    server = start_server(**timeouts(write_timeout=SHORT_S), min_rate=1000)
    size = 6_000_000
    with narrow_client(server.port) as client:
        client.send(f"BIG {size}\n")
        got, deadline = 0, time.monotonic() + 4 * SHORT_S
        while time.monotonic() < deadline:  # some 200 KB a second
            got += len(client.socket.recv(2000))
            time.sleep(0.01)
        while got <= size:
            part = client.socket.recv(1 << 20)
            assert part, f"closed after {got} bytes"
            got += len(part)
        assert got == size + 1


# -------------------------------------------------------------------------------------- pipelines


def handled_unread(port: int, seen: Path, requests: int) -> int:
    """How many of so many pipelined requests are handled for a client that reads nothing. Their
    answers are larger than what the kernel takes for it, so that each is stuck on its own."""
    with narrow_client(port) as client:
        client.send("TALLY\n" * requests)
        wait_until(lambda: seen.exists() and seen.stat().st_size > 0, "one is handled")
        size = -1
        while size != seen.stat().st_size:  # until it rests
            size = seen.stat().st_size
            time.sleep(0.3)
        return size


@pytest.mark.parametrize("bound", [1, 3])
def test_pipeline_is_not_handled_past_its_bound_while_nothing_is_read(
    start_server: StartServer, modules: Path, tmp_path: Path, bound: int
) -> None:
    seen = tmp_path / "seen"
    write_module(
        modules,
        "tally",
        f"""
        import hrmr

        @hrmr.route("TALLY")
        def tally(request):
            with open({str(seen)!r}, "ab") as file:
                file.write(b"x")
            return b"y" * 20_000_000
        """,
    )
    server = start_server(**timeouts(), max_pipeline=bound, output_max="1G")
    assert handled_unread(server.port, seen, 10) == bound


def test_all_of_a_pipeline_is_answered_with_a_bound_of_one(
    start_server: StartServer, probe: Path
) -> None:
    server = start_server(max_pipeline=1)
    with Client(server.port) as client:
        client.send("".join(f"INLINE {n}\nPOOL {n}\n" for n in range(500)))
        for n in range(500):
            assert client.read_line() == f"inline {n}"
            assert client.read_line() == f"pool {n}"


# --------------------------------------------------------------------------------------- floods


def connect_from(source: str, port: int) -> socket.socket:
    return socket.create_connection(("127.0.0.1", port), 60.0, source_address=(source, 0))


def is_served(connection: socket.socket) -> bool:
    try:
        connection.sendall(b"INLINE x\n")
        return connection.recv(100) == b"inline x\n"
    except ConnectionError:
        return False


@pytest.mark.parametrize("loops", [1, 2])
def test_flood_from_one_address_leaves_room_for_others(
    serve: Serve, probe: Path, loops: int
) -> None:
    server = serve("--max-connections-per-address", "5", "--loops", str(loops))
    with ExitStack() as stack:
        flood = [stack.enter_context(connect_from("127.0.0.2", server.port)) for _ in range(50)]
        served = [connection for connection in flood if is_served(connection)]
        assert len(served) == 5
        server.wait_for(
            r"refused 1 connection, the last from 127\.0\.0\.2:\d+: this address has 5 open "
            r"\(max_connections_per_address, --max-connections-per-address\)"
        )
        others = [stack.enter_context(connect_from("127.0.0.3", server.port)) for _ in range(5)]
        assert all(is_served(connection) for connection in others)
        assert all(is_served(connection) for connection in served)
        # Told once, not once for each.
        assert server.log.count("refused") <= loops

        served[0].close()

        def has_room() -> bool:
            with connect_from("127.0.0.2", server.port) as again:
                return is_served(again)

        wait_until(has_room, "there is room again")


def test_refused_connections_are_in_the_log_once(serve: Serve, probe: Path) -> None:
    server = serve("--max-connections", "2")
    with ExitStack() as stack:
        flood = [stack.enter_context(connect_from("127.0.0.1", server.port)) for _ in range(30)]
        assert sum(is_served(connection) for connection in flood) == 2
        server.wait_for(
            r"refused 1 connection, .*: there are 2 open \(max_connections, --max-connections\)"
        )
        assert server.log.count("refused") == 1
