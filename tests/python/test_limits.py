"""Bounds: of time, of connections, of descriptors; and peers that are slow, rude or gone.

Peers that mean harm are in test_hostile.py.
"""

import os
import random
import resource
import socket
import struct
from collections.abc import Callable
from pathlib import Path

import hrmr
import pytest
from conftest import HrmrProcess, Serve, StartServer, descriptors, resident_kib, write_module
from wire_client import Client, Gate, ask, exchange, get, http_request, one_by_one, wait_until

MakeGate = Callable[..., Gate]

# UBSan looks at memory through pipes, and takes it for invalid when it can have none.
SANITIZER_DESCRIPTORS = 6 if os.environ.get("HRMR_SANITIZE") else 0


# ------------------------------------------------------------------------------- idle timeout


def test_idle_connections_are_closed(start_server: StartServer, probe: Path) -> None:
    server = start_server(idle_timeout=0.1)
    with (
        Client(server.port) as silent,
        Client(server.port) as asked,
        Client(server.port) as half_way,
        Client(server.port) as http,
    ):
        assert asked.ask("INLINE x") == "inline x"
        half_way.send("INLI")
        assert http.get("/pool").status == 200
        for client in (silent, asked, half_way, http):
            assert client.read_to_end() == b""


def test_connection_that_awaits_its_handler_is_not_idle(
    start_server: StartServer, probe: Path, make_gate: MakeGate
) -> None:
    gate, server = make_gate(), start_server(idle_timeout=0.05)
    with Client(server.port) as waiting:
        waiting.send(f"BLOCK {gate.path}\n")
        gate.wait_for_handler()
        # Others live their idle life and die meanwhile, several times over.
        for _ in range(10):
            with Client(server.port) as idle:
                assert idle.read_to_end() == b""
        gate.open()
        assert waiting.read_line() == "unblocked"
        assert waiting.read_to_end() == b""


def test_idle_timeout_of_0_never_closes(start_server: StartServer, probe: Path) -> None:
    server = start_server(idle_timeout=0)
    other = start_server(idle_timeout=0.1)
    with Client(server.port) as idle:
        with Client(other.port) as closed:
            assert closed.read_to_end() == b""
        assert idle.ask("INLINE x") == "inline x"


# ----------------------------------------------------------------------------- connections


def test_connection_past_the_bound_is_closed_and_there_is_room_again_later(
    start_server: StartServer, probe: Path
) -> None:
    server = start_server(max_connections=5)
    clients = [Client(server.port) for _ in range(5)]
    for client in clients:
        assert client.ask("INLINE x") == "inline x"
    for _ in range(10):
        with Client(server.port) as refused:
            assert is_closed_by_peer(refused)
    assert [client.ask("POOL y") for client in clients] == ["pool y"] * 5
    clients.pop().socket.close()
    wait_until(lambda: is_served(server.port), "there is room again")
    for client in clients:
        client.socket.close()


def is_closed_by_peer(client: Client) -> bool:
    try:
        return client.read_to_end() == b""
    except ConnectionResetError:
        return True


def is_served(port: int) -> bool:
    with Client(port) as client:
        try:
            return client.ask("INLINE x") == "inline x"
        except (EOFError, ConnectionError):
            return False


def limit_descriptors(pid: int, spare: int) -> None:
    """Leaves the process with that many descriptors more than it has."""
    _, hard = resource.prlimit(pid, resource.RLIMIT_NOFILE)
    resource.prlimit(pid, resource.RLIMIT_NOFILE, (descriptors(pid) + spare, hard))


def test_running_out_of_descriptors_is_survived(serve: Serve, probe: Path) -> None:
    server: HrmrProcess = serve()
    assert ask(server.port, "POOL x") == "pool x"
    with Client(server.port) as first:
        assert first.ask("INLINE x") == "inline x"
        limit_descriptors(server.pid, 10)
        crowd = [Client(server.port) for _ in range(40)]
        server.wait_for("cannot accept connections: Too many open files")
        assert first.ask("POOL x") == "pool x"
        for client in crowd:
            client.socket.close()
        wait_until(lambda: is_served(server.port), "new connections are served")
        for _ in range(20):
            wait_until(lambda: is_served(server.port), "new connections are served")
    server.wait_for("accepting connections again")


def test_reload_without_descriptors_keeps_the_old_and_recovers(
    serve: Serve, modules: Path, probe: Path
) -> None:
    path = write_module(modules, "mine", "import hrmr\nhrmr.route('MINE')(lambda r: 'A\\n')\n")
    server: HrmrProcess = serve()
    with Client(server.port) as client:
        assert client.ask("MINE") == "A"
        path.write_text(path.read_text().replace("A", "B"))
        before = resource.prlimit(server.pid, resource.RLIMIT_NOFILE)
        limit_descriptors(server.pid, SANITIZER_DESCRIPTORS)
        client.send("RELOAD\n")
        answer = ""
        while not answer.startswith(("OK ", "ERR ")):
            answer = client.read_line()
        assert answer.startswith("ERR ") or SANITIZER_DESCRIPTORS
        assert client.ask("MINE") == ("A" if answer.startswith("ERR ") else "B")
        assert client.ask("POOL x") == "pool x"
        resource.prlimit(server.pid, resource.RLIMIT_NOFILE, before)
        assert exchange(server.port, "RELOAD\n").splitlines()[-1].startswith(b"OK ")
        assert client.ask("MINE") == "B"


def test_a_thousand_idle_connections_cost_little(serve: Serve, probe: Path) -> None:
    server: HrmrProcess = serve()
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(max(soft, 4096), hard), hard))
    assert ask(server.port, "POOL x") == "pool x"
    before_kib = resident_kib(server.pid)
    clients = [Client(server.port) for _ in range(1000)]
    for client in clients:
        assert client.ask("INLINE x") == "inline x"
    # Under 2 KiB each: none holds a buffer. With slack for what is counted in pages.
    assert resident_kib(server.pid) - before_kib < 2 * 1000 + 4096
    assert [client.ask("POOL x") for client in clients[::100]] == ["pool x"] * 10
    for client in clients:
        client.socket.close()
    wait_until(lambda: descriptors(server.pid) < 100, "all are closed")


# ------------------------------------------------------------------------------- odd peers


@pytest.mark.parametrize("word", ["INLINE", "POOL", "PY"])
def test_half_closed_client_gets_all_its_answers(
    start_server: StartServer, probe: Path, modules: Path, word: str
) -> None:
    write_module(modules, "py", "import hrmr\nhrmr.route('PY ')(lambda r: f'py {r.text}\\n')\n")
    server = start_server()
    lines = "".join(f"{word} {n}\n" for n in range(1000))
    # The last line ends with the connection.
    answers = exchange(server.port, lines + f"{word} last").decode()
    assert answers == "".join(f"{word.lower()} {n}\n" for n in [*range(1000), "last"])


def test_half_closed_client_waits_for_a_slow_handler(
    start_server: StartServer, probe: Path, make_gate: MakeGate
) -> None:
    gate, http_gate, server = make_gate("gate"), make_gate("http"), start_server()
    with Client(server.port) as line, Client(server.port) as http:
        line.send(f"INLINE a\nBLOCK {gate.path}\nINLINE b")
        line.half_close()
        http.send(http_request(f"/block?{http_gate.path}"))
        http.half_close()
        assert line.read_line() == "inline a"
        gate.open()
        assert line.read_to_end() == b"unblocked\ninline b\n"
        http_gate.open()
        assert http.read_response().text == "unblocked\n"
        assert http.read_to_end() == b""


def reset(client: Client) -> None:
    """Closes with a reset, as a process that is killed may."""
    client.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    client.socket.close()


@pytest.mark.parametrize("word", ["INLINE x", "POOL x", "PY x", "BIG 300000", "BIGPOOL 300000"])
def test_resets_at_any_moment_harm_nobody(
    serve: Serve, probe: Path, modules: Path, word: str
) -> None:
    write_module(modules, "py", "import hrmr\nhrmr.route('PY ')(lambda r: f'py {r.text}\\n')\n")
    server = serve()
    assert ask(server.port, "POOL x") == "pool x"
    before = descriptors(server.pid)
    chance = random.Random(7)
    with Client(server.port) as bystander:
        for turn in range(150):
            client = Client(server.port)
            client.send((word + "\n") * chance.randint(0, 40) + word[: chance.randint(0, 5)])
            if chance.random() < 0.3:
                client.read_exactly(1) if client.has_input() else None
            reset(client) if turn % 3 else client.socket.close()
            assert bystander.ask("INLINE y") == "inline y"
    wait_until(lambda: descriptors(server.pid) <= before, "all are closed")


def test_client_that_goes_while_its_handler_runs_is_cleaned_up(
    serve: Serve, probe: Path, make_gate: MakeGate
) -> None:
    server = serve()
    assert ask(server.port, "POOL x") == "pool x"
    before = descriptors(server.pid)
    for close in (reset, lambda client: client.socket.close()):
        gate = make_gate()
        client = Client(server.port)
        client.send(f"BLOCK {gate.path}\nPOOL never\nRELOAD\n")
        gate.wait_for_handler()
        close(client)
        assert ask(server.port, "INLINE x") == "inline x"
        gate.open()
        wait_until(lambda: descriptors(server.pid) <= before, "it is closed")
    assert ask(server.port, "POOL x") == "pool x"


def test_client_that_goes_while_it_awaits_a_reload_is_cleaned_up(
    start_server: StartServer, probe: Path, modules: Path, tmp_path: Path, make_gate: MakeGate
) -> None:
    path = str(tmp_path / "gate")
    write_module(modules, "slow", f"open({path!r}).read()\nraise ValueError('never loads')\n")
    server = start_server()
    for close in (reset, lambda client: client.socket.close()):
        gate = make_gate("gate")
        client = Client(server.port)
        client.send("RELOAD\nINLINE never\n")
        gate.wait_for_handler()
        close(client)
        assert ask(server.port, "INLINE x") == "inline x"
        gate.open()
    assert b"failed slow: " in exchange(server.port, "RELOAD\n")


def test_many_slow_clients_are_all_served(start_server: StartServer, probe: Path) -> None:
    server = start_server()
    sent = http_request("/body", "POST", b"slowly") + http_request("/pool")
    clients = [Client(server.port) for _ in range(60)]
    for byte in one_by_one(sent):
        for client in clients:
            client.send(byte)
    for client in clients:
        with client:
            assert client.read_response().text == "slowly"
            assert client.read_response().text == "pool /pool\n"


def test_crowd_that_connects_at_once_is_served(start_server: StartServer, probe: Path) -> None:
    server: hrmr.Server = start_server(loops=2)
    for _ in range(3):
        clients = [Client(server.port) for _ in range(300)]
        for client in clients:
            client.send(http_request("/pool"))
        for client in clients:
            with client:
                assert client.read_response().status == 200
    assert get(server.port, "/inline").status == 200
