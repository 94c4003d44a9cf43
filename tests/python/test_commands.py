"""The built-in commands RELOAD, CLOSE and SHUTDOWN, and the signals that stand for them."""

import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import hrmr
import pytest
from conftest import Compile, HrmrProcess, Serve, StartServer, clean_environ, place, write_module
from wire_client import (
    DEADLINE_S,
    Client,
    Gate,
    ask,
    exchange,
    get,
    http_request,
    is_refused,
    one_by_one,
    reload,
    wait_until,
)

MakeGate = Callable[..., Gate]


def spelled(word: str) -> list[str]:
    return sorted({word, word.lower(), word.title(), word[0].lower() + word[1:]})


@pytest.fixture
def server(start_server: StartServer, probe: Path) -> hrmr.Server:
    return start_server()


# ------------------------------------------------------------------------------------ RELOAD


@pytest.mark.parametrize("word", spelled("RELOAD"))
@pytest.mark.parametrize("end", ["\n", "\r\n", ""])
@pytest.mark.parametrize("is_bytewise", [False, True])
def test_reload_is_answered_on_an_open_connection(
    server: hrmr.Server, word: str, end: str, is_bytewise: bool
) -> None:
    sent = (word + end).encode()
    with Client(server.port) as client:
        client.send_parts(one_by_one(sent) if is_bytewise else [sent])
        assert client.read_line() == "unchanged probe generation 1"
        assert client.read_line().startswith("OK 1 unchanged in ")
        assert client.ask("INLINE x") == "inline x"


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r", ""])
def test_reload_is_answered_to_a_half_closed_connection(server: hrmr.Server, end: str) -> None:
    lines = exchange(server.port, "RELOAD" + end).decode().splitlines()
    assert lines[0] == "unchanged probe generation 1"
    assert lines[1].startswith("OK ")
    assert len(lines) == 2


def test_bare_reload_is_a_command_on_a_used_connection(server: hrmr.Server) -> None:
    with Client(server.port) as client:
        assert client.ask("INLINE x") == "inline x"
        client.send("RELOAD")
        assert client.read_line() == "unchanged probe generation 1"
        assert client.read_line().startswith("OK ")


def test_bare_word_that_goes_on_is_no_command(server: hrmr.Server) -> None:
    with Client(server.port) as client:
        client.send("RELOAD")
        client.send("ED\n")
        assert client.read_line() == "ERR no route for 'RELOADED'"
        client.send("CLOSE")
        client.send("D\n")
        assert client.read_line() == "ERR no route for 'CLOSED'"


def test_reload_of_names_reloads_only_these(server: hrmr.Server, modules: Path) -> None:
    for name in ("four", "five"):
        write_module(modules, name, f"import hrmr\nhrmr.route('{name}')(lambda r: '{name}\\n')\n")
    lines = reload(server.port, "four  probe four")
    assert lines[0].startswith("loaded four generation 1 in ")
    assert lines[1] == "unchanged probe generation 1"
    assert lines[2].startswith("OK 1 loaded, 1 unchanged in ")
    assert ask(server.port, "four") == "four"
    assert ask(server.port, "five") == "ERR no route for 'five'"


def test_reload_of_an_unknown_name_fails_and_says_where_it_looked(
    server: hrmr.Server, modules: Path
) -> None:
    lines = reload(server.port, "nobody")
    assert lines[0].startswith("failed nobody: no module of that name is loaded, and none is in ")
    assert str(modules) in lines[0]
    assert lines[1].startswith("ERR 1 failed in ")


def test_log_survives_what_is_not_utf8(serve: Serve, probe: Path, modules: Path) -> None:
    server = serve()
    answer = exchange(server.port, b"RELOAD \xff\n")
    assert answer.startswith(b"failed \xff: no module of that name")
    (modules / "bad\udcff.py").write_text("x = 1\n")
    assert b"ERR 1 failed" in exchange(server.port, "RELOAD\n")
    server.wait_for(r"failed \\xff: no module")
    server.wait_for(r"bad\\xff")
    assert ask(server.port, "INLINE x") == "inline x"


def test_reload_of_too_many_names_is_refused(server: hrmr.Server) -> None:
    answer = exchange(server.port, "RELOAD " + "a " * 65 + "\n")
    assert answer == b"ERR RELOAD takes at most 64 names at once\n"


def test_reload_without_modules_says_so(start_server: StartServer) -> None:
    [line] = reload(start_server().port)
    assert line.startswith("OK no modules in ")


def test_reload_between_pipelined_requests_keeps_the_order(
    server: hrmr.Server, build: Compile, modules: Path
) -> None:
    sent = "INLINE a\nPOOL b\nRELOAD\nPOOL c\nRELOAD probe\nINLINE d\nPOOL e\n"
    for parts in ([sent.encode()], one_by_one(sent.encode())):
        with Client(server.port) as client:
            client.send_parts(parts)
            client.half_close()
            lines = client.read_to_end().decode().splitlines()
        is_sum = [line.startswith("OK ") for line in lines]
        assert [line for line, is_its in zip(lines, is_sum, strict=True) if not is_its] == [
            *("inline a", "pool b", "unchanged probe generation 1", "pool c"),
            *("unchanged probe generation 1", "inline d", "pool e"),
        ]
        assert is_sum == [False] * 3 + [True] + [False] * 2 + [True] + [False] * 2


def test_requests_behind_a_reload_get_the_new_code(
    start_server: StartServer, build: Compile, modules: Path
) -> None:
    place(build("versioned", VERSION='"A"'), modules, "versioned")
    server = start_server()
    place(build("versioned", VERSION='"B"'), modules, "versioned")
    answer = exchange(server.port, "VERSION\nPOOLVERSION\nRELOAD\nVERSION\nPOOLVERSION\n")
    lines = answer.decode().splitlines()
    assert lines[:2] == ["version A", "version A"]
    assert lines[2].startswith("reloaded versioned generation 1 -> 2 in ")
    assert lines[4:] == ["version B", "version B"]


def test_command_word_with_more_behind_it_goes_to_a_route_that_claims_it(
    server: hrmr.Server, modules: Path
) -> None:
    write_module(
        modules,
        "claims",
        """
        import hrmr

        @hrmr.route("RELOAD THE GUN")
        @hrmr.route("CLOSE THE DOOR")
        @hrmr.route("SHUTDOWN THE SHOP")
        def claimed(request):
            return "claimed\\n"
        """,
    )
    assert server.reload().ok
    with Client(server.port) as client:
        assert client.ask("RELOAD THE GUN") == "claimed"
        assert client.ask("CLOSE THE DOOR") == "claimed"
        assert client.ask("SHUTDOWN THE SHOP") == "claimed"
        assert client.ask("SHUTDOWN now") == "ERR no route for 'SHUTDOWN now'"
        assert client.ask("CLOSE it") == "ERR no route for 'CLOSE it'"


def test_command_as_an_http_method_is_only_a_request(server: hrmr.Server) -> None:
    for word in ("RELOAD", "SHUTDOWN", "CLOSE"):
        assert get(server.port, "/", method=word).status == 404
    assert not server.wait(0)


# ------------------------------------------------------------------------------------- CLOSE


@pytest.mark.parametrize("word", spelled("CLOSE"))
@pytest.mark.parametrize("end", ["\n", "\r\n", ""])
def test_close_closes_this_connection_only(server: hrmr.Server, word: str, end: str) -> None:
    with Client(server.port) as other, Client(server.port) as client:
        assert other.ask("INLINE a") == "inline a"
        client.send_parts(one_by_one((word + end).encode()))
        assert client.read_to_end() == b""
        assert other.ask("INLINE b") == "inline b"


def test_close_comes_behind_the_answers_and_ends_them(server: hrmr.Server) -> None:
    with Client(server.port) as client:
        client.send("POOL a\nINLINE b\nPOOL c\nCLOSE\nINLINE d\nSHUTDOWN\n")
        assert client.read_to_end() == b"pool a\ninline b\npool c\n"
    assert not server.wait(0)


def test_handler_can_close(server: hrmr.Server) -> None:
    for word in ("BYE", "BYEPOOL"):
        with Client(server.port) as client:
            client.send(f"POOL a\n{word} \nINLINE b\nPOOL c\n")
            assert client.read_to_end() == b"pool a\nbye\n"


# ------------------------------------------------------------------------------------ SHUTDOWN


@pytest.mark.parametrize("word", spelled("SHUTDOWN"))
@pytest.mark.parametrize("end", ["\n", "\r\n", ""])
def test_shutdown_is_answered_and_stops_the_server(
    start_server: StartServer, probe: Path, word: str, end: str
) -> None:
    server = start_server()
    with Client(server.port) as client:
        client.send_parts(one_by_one((word + end).encode()))
        assert client.read_to_end() == b"OK shutting down\n"
    assert server.wait(DEADLINE_S)
    assert is_refused(server.port)


def test_shutdown_ends_the_process_with_0(serve: Serve, probe: Path) -> None:
    server = serve()
    with Client(server.port) as idle, Client(server.port) as client:
        assert idle.ask("INLINE x") == "inline x"
        client.send("POOL last\nSHUTDOWN\nINLINE behind\n")
        assert client.read_to_end() == b"pool last\nOK shutting down\n"
        assert idle.read_to_end() == b""
    assert server.wait() == 0


def test_shutdown_lets_requests_in_flight_finish(
    serve: Serve, probe: Path, make_gate: MakeGate
) -> None:
    gate, http_gate = make_gate("gate"), make_gate("http")
    server = serve("--drain-timeout", "3600")
    with Client(server.port) as line, Client(server.port) as http:
        line.send(f"BLOCK {gate.path}\nPOOL behind\nINLINE behind\n")
        http.send(http_request(f"/block?{http_gate.path}"))
        gate.wait_for_handler()
        http_gate.wait_for_handler()
        assert exchange(server.port, "SHUTDOWN") == b"OK shutting down\n"
        wait_until(lambda: is_refused(server.port), "nobody is let in any more")
        assert server.process.poll() is None
        gate.open()
        assert line.read_to_end() == b"unblocked\npool behind\ninline behind\n"
        assert server.process.poll() is None
        http_gate.open()
        response = http.read_response()
        assert (response.status, response.text) == (200, "unblocked\n")
        assert http.read_to_end() == b""
    assert server.wait() == 0


def test_handler_that_never_ends_does_not_keep_the_process_for_ever(
    serve: Serve, probe: Path, make_gate: MakeGate
) -> None:
    gate, server = make_gate(), serve("--drain-timeout", "0.2")
    with Client(server.port) as client:
        client.send(f"BLOCK {gate.path}\n")
        gate.wait_for_handler()
        assert exchange(server.port, "SHUTDOWN\n") == b"OK shutting down\n"
        assert client.read_to_end() == b""
    assert server.wait() == 1
    assert "a handler still runs after the drain timeout" in server.log


def test_python_handler_that_never_ends_does_not_keep_the_process_for_ever(
    serve: Serve, modules: Path, make_gate: MakeGate
) -> None:
    write_module(
        modules, "waits", "import hrmr\nhrmr.route('WAIT ')(lambda r: open(r.rest).read())"
    )
    gate, server = make_gate(), serve("--drain-timeout", "0.2")
    with Client(server.port) as client:
        client.send(f"WAIT {gate.path}\n")
        gate.wait_for_handler()
        assert exchange(server.port, "SHUTDOWN\n") == b"OK shutting down\n"
        assert client.read_to_end() == b""
    assert server.wait() == 1


def test_server_stops_under_load_from_many_clients(serve: Serve, probe: Path) -> None:
    server = serve()
    clients = [Client(server.port) for _ in range(50)]
    for client in clients:
        assert client.ask("POOL x") == "pool x"
        client.send("POOL y\n" * 200)
    assert exchange(server.port, "SHUTDOWN\n") == b"OK shutting down\n"
    for client in clients:
        with client:
            answer = client.read_to_end()
            assert answer == b"pool y\n" * (len(answer) // 7)
    assert server.wait() == 0


SLOW_LOAD = """
    import os
    import hrmr

    if os.path.exists({path!r}):
        open({path!r}).read()

    @hrmr.route("SLOW")
    def slow(request):
        return "slow\\n"
"""


def test_shutdown_during_a_reload_lets_it_finish(
    serve: Serve, probe: Path, modules: Path, tmp_path: Path, make_gate: MakeGate
) -> None:
    server = serve("--drain-timeout", "3600")
    gate = make_gate("gate")
    write_module(modules, "slow", SLOW_LOAD.format(path=str(tmp_path / "gate")))
    with Client(server.port) as asker:
        asker.send("RELOAD\nPOOL behind\n")
        gate.wait_for_handler()
        assert exchange(server.port, "SHUTDOWN\n") == b"OK shutting down\n"
        wait_until(lambda: is_refused(server.port), "nobody is let in any more")
        assert server.process.poll() is None
        gate.open()
        lines = asker.read_to_end().decode().splitlines()
        assert lines[1].startswith("loaded slow generation 1 in ")
        assert lines[-1] == "pool behind"
    assert server.wait() == 0


@pytest.mark.parametrize("is_python", [True, False])
def test_load_that_never_ends_does_not_keep_the_process_for_ever(
    start_hrmr: Serve, build: Compile, modules: Path, tmp_path: Path, is_python: bool
) -> None:
    path = tmp_path / "gate"
    (tmp_path / "hrmr.toml").write_text(f"[modules.versioned]\ngate = {str(path)!r}\n")
    server = start_hrmr("--no-bundled", "--drain-timeout", "0.2")
    gate = Gate(path)
    if is_python:
        write_module(modules, "slow", SLOW_LOAD.format(path=str(path)))
    else:
        place(build("versioned", VERSION='"A"'), modules, "versioned")
    with Client(server.port) as asker:
        asker.send("RELOAD\n")
        gate.wait_for_handler()
        assert exchange(server.port, "SHUTDOWN\n") == b"OK shutting down\n"
        assert asker.read_to_end() == b""
    assert server.wait() == 1


# ------------------------------------------------------------------------------------- signals


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_signal_drains_and_exits_with_0(
    serve: Serve, probe: Path, make_gate: MakeGate, number: signal.Signals
) -> None:
    gate, server = make_gate(), serve("--drain-timeout", "3600")
    with Client(server.port) as client:
        client.send(f"BLOCK {gate.path}\n")
        gate.wait_for_handler()
        server.signal(number)
        wait_until(lambda: is_refused(server.port), "nobody is let in any more")
        assert server.process.poll() is None
        gate.open()
        assert client.read_to_end() == b"unblocked\n"
    assert server.wait() == 0


@pytest.mark.parametrize(
    ("signals", "code"),
    [
        ((signal.SIGTERM, signal.SIGTERM), 143),
        ((signal.SIGTERM, signal.SIGINT), 130),
        ((signal.SIGINT, signal.SIGTERM), 143),
        ((signal.SIGINT, signal.SIGINT), 130),
    ],
)
def test_second_signal_exits_at_once(
    serve: Serve,
    probe: Path,
    make_gate: MakeGate,
    signals: tuple[signal.Signals, signal.Signals],
    code: int,
) -> None:
    gate, server = make_gate(), serve("--drain-timeout", "3600")
    with Client(server.port) as client:
        client.send(f"BLOCK {gate.path}\n")
        gate.wait_for_handler()
        server.signal(signals[0])
        server.wait_for(f"{signals[0].name}: shutting down")
        server.signal(signals[1])
        assert server.wait() == code


def test_signal_during_a_slow_start_ends_the_process(
    modules: Path, tmp_path: Path, make_gate: MakeGate
) -> None:
    gate = make_gate("gate")
    write_module(modules, "slow", SLOW_LOAD.format(path=gate.path))
    process = subprocess.Popen(
        [sys.executable, "-m", "hrmr", "--no-bundled", "--port", "0"],
        cwd=tmp_path,
        env=clean_environ(),
        stderr=subprocess.PIPE,
        text=True,
    )
    gate.wait_for_handler()
    process.send_signal(signal.SIGTERM)
    assert process.stderr.readline().endswith("once more to exit at once\n")
    gate.open()
    process.communicate(timeout=DEADLINE_S)
    assert process.returncode == 0


def test_hangup_reloads(serve: Serve, build: Compile, modules: Path) -> None:
    place(build("versioned", VERSION='"A"'), modules, "versioned")
    server = serve()
    assert ask(server.port, "VERSION") == "version A"
    place(build("versioned", VERSION='"B"'), modules, "versioned")
    server.signal(signal.SIGHUP)
    server.wait_for("reload: reloaded versioned generation 1 -> 2 in ")
    assert ask(server.port, "VERSION") == "version B"


def test_many_hangups_at_once_do_no_harm(serve: Serve, build: Compile, modules: Path) -> None:
    place(build("versioned", VERSION='"A"'), modules, "versioned")
    server = serve()
    for edition in "BABABABA":
        place(build("versioned", VERSION=f'"{edition}"'), modules, "versioned")
        for _ in range(10):
            server.signal(signal.SIGHUP)
    place(build("versioned", VERSION='"B"'), modules, "versioned")
    assert reload(server.port)[-1].startswith("OK ")
    assert ask(server.port, "VERSION") == "version B"


# ------------------------------------------------------------------------------------------- nc


def nc(server: HrmrProcess | hrmr.Server, sent: bytes, *flags: str) -> bytes:
    command = ["nc", *flags, "127.0.0.1", str(server.port)]
    return subprocess.run(
        command, input=sent, stdout=subprocess.PIPE, timeout=DEADLINE_S, check=False
    ).stdout


@pytest.mark.parametrize("end", ["\n", "\r\n", ""])
def test_nc_reloads_closes_and_shuts_down(serve: Serve, probe: Path, end: str) -> None:
    server = serve()
    lines = nc(server, b"RELOAD" + end.encode(), "-N").decode().splitlines()
    assert lines[0] == "unchanged probe generation 1"
    assert lines[1].startswith("OK ")
    assert nc(server, b"CLOSE" + end.encode()) == b""
    assert nc(server, b"INLINE x\nCLOSE" + end.encode()) == b"inline x\n"
    # Without -N, nc keeps its half open: the server closes.
    assert nc(server, b"SHUTDOWN" + end.encode()) == b"OK shutting down\n"
    assert server.wait() == 0
