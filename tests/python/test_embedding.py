"""hrmr.Server inside a program."""

import gc
import logging
import os
import signal
import subprocess
import sys
import threading
import weakref
from collections.abc import Callable
from pathlib import Path
from textwrap import dedent

import hrmr
import pytest
from conftest import (
    Compile,
    StartServer,
    clean_environ,
    descriptors,
    place,
    resident_kib,
    threads,
    write_module,
)
from wire_client import DEADLINE_S, Client, Gate, ask, exchange, get, is_refused, wait_until

MakeGate = Callable[..., Gate]

# An allocator that keeps what was freed for a while (a sanitizer's) hides what is lost.
RSS_SLACK_KIB = 400 * 1024 if os.environ.get("HRMR_SANITIZE") else 16 * 1024


def greet(request: hrmr.Request) -> str:
    return f"hello {request.text}\n"


# ------------------------------------------------------------------------------ start and stop


def test_with_serves_inside_and_is_gone_behind() -> None:
    server = hrmr.Server(port=0)
    assert not server.running
    with server as entered:
        assert entered is server
        assert server.running
        assert server.port > 0
        assert server.url == f"http://127.0.0.1:{server.port}"
        assert ask(server.port, "X") == "ERR no route for 'X'"
        port = server.port
    assert not server.running
    assert is_refused(port)


def test_with_stops_when_the_program_fails_inside() -> None:
    server = hrmr.Server(port=0)

    def run() -> None:
        with server:
            ports.append(server.port)
            raise RuntimeError("inside")

    ports: list[int] = []
    with pytest.raises(RuntimeError, match="inside"):
        run()
    assert is_refused(ports[0])
    assert not server.running


def test_port_that_is_taken_is_a_start_error_that_names_it() -> None:
    with hrmr.Server(port=0) as first:
        second = hrmr.Server(port=first.port)
        with pytest.raises(hrmr.StartError, match=str(first.port)):
            second.start()
        assert not second.running
        assert ask(first.port, "X") == "ERR no route for 'X'"
        port = first.port
    # Free again at once.
    with hrmr.Server(port=port) as again:
        assert again.port == port


def test_port_is_not_shared_with_another_server_of_many_loops() -> None:
    with hrmr.Server(port=0, loops=2) as first:
        for loops in (1, 2):
            with pytest.raises(hrmr.StartError, match=str(first.port)):
                hrmr.Server(port=first.port, loops=loops).start()


def test_calls_that_need_a_running_server_say_so() -> None:
    server = hrmr.Server(port=0)
    for call in (server.reload, server.request_reload, lambda: server.modules):
        with pytest.raises(hrmr.NotRunningError):
            call()
    assert server.stop()
    assert server.wait(0)
    with server, pytest.raises(hrmr.StartError):
        server.start()


def test_server_can_be_started_again_after_it_stopped(modules: Path) -> None:
    write_module(modules, "mine", "import hrmr\nhrmr.route('MINE')(lambda r: 'mine\\n')\n")
    server = hrmr.Server(port=0, modules=[modules])
    server.route("GREET ")(greet)
    for _ in range(3):
        with server:
            assert ask(server.port, "GREET bob") == "hello bob"
            assert ask(server.port, "MINE") == "mine"


def test_wait_returns_when_a_client_sends_shutdown(start_server: StartServer) -> None:
    server = start_server()
    assert not server.wait(0)
    assert exchange(server.port, "SHUTDOWN\n") == b"OK shutting down\n"
    assert server.wait(DEADLINE_S)
    assert server.stop()


def test_wait_wakes_every_waiter(start_server: StartServer) -> None:
    server = start_server()
    waiters = [threading.Thread(target=server.wait, args=(DEADLINE_S,)) for _ in range(5)]
    for waiter in waiters:
        waiter.start()
    server.shutdown()
    for waiter in waiters:
        waiter.join(DEADLINE_S)
        assert not waiter.is_alive()


def test_stop_from_many_threads_at_once_is_one_stop(start_server: StartServer) -> None:
    server, results = start_server(), []
    stoppers = [threading.Thread(target=lambda: results.append(server.stop())) for _ in range(8)]
    for stopper in stoppers:
        stopper.start()
    for stopper in stoppers:
        stopper.join(DEADLINE_S)
    assert results == [True] * 8


def test_stop_that_leaves_a_handler_behind_says_so(
    start_server: StartServer, probe: Path, make_gate: MakeGate
) -> None:
    gate, server = make_gate(), start_server(drain_timeout=0.1)
    with Client(server.port) as client:
        client.send(f"BLOCK {gate.path}\n")
        gate.wait_for_handler()
        assert server.stop() is False
        assert client.read_to_end() == b""
    gate.open()


# ---------------------------------------------------------------------------------- routes


def test_routes_can_be_registered_before_and_after_the_start(start_server: StartServer) -> None:
    server = hrmr.Server(port=0)
    assert server.route("GREET ")(greet) is greet
    with server:
        with Client(server.port) as client:
            assert client.ask("GREET ann") == "hello ann"
            assert client.ask("LATER ann") == "ERR no route for 'LATER ann'"

            @server.route("LATER ")
            def later(request: hrmr.Request) -> str:
                return f"later {request.text}\n"

            assert client.ask("LATER ann") == "later ann"
            assert client.ask("GREET ann") == "hello ann"
        server.route("GET /later")(lambda _: hrmr.Response("page\n", 202))
        response = get(server.port, "/later")
        assert (response.status, response.text) == (202, "page\n")


def test_route_that_is_taken_is_refused_and_changes_nothing(start_server: StartServer) -> None:
    server = start_server()
    server.route("GREET ")(greet)
    with pytest.raises(hrmr.RouteError, match="'GREET '"):
        server.route("GREET ")(greet)
    server.route("OTHER ")(greet)
    assert ask(server.port, "GREET a") == "hello a"
    assert ask(server.port, "OTHER a") == "hello a"


def test_handler_of_the_program_that_fails_is_an_error_reply_and_a_log_record(
    start_server: StartServer, caplog: pytest.LogCaptureFixture
) -> None:
    server = start_server()

    @server.route("FAIL")
    def fails(request: hrmr.Request) -> str:
        raise ValueError("told to")

    with caplog.at_level(logging.ERROR, "hrmr"):
        answer = ask(server.port, "FAIL")
        assert answer == "ERR module 'app' failed: ValueError: told to"
        wait_until(lambda: "told to" in caplog.text, "it is logged")
    [record] = [record for record in caplog.records if record.exc_info]
    assert record.name == "hrmr.module.app"
    assert "in fails" in caplog.text


def test_handler_may_use_its_own_server(start_server: StartServer) -> None:
    server = start_server()

    @server.route("RELOADED")
    def reloads(request: hrmr.Request) -> str:
        return f"{len(server.reload())} {server.port}\n"

    @server.route("STOP")
    def stops(request: hrmr.Request) -> str:
        server.shutdown()
        return "stopping\n"

    assert ask(server.port, "RELOADED") == f"1 {server.port}"
    assert exchange(server.port, "STOP\n") == b"stopping\n"
    assert server.wait(DEADLINE_S)


def test_two_servers_of_one_process_do_not_mix(
    start_server: StartServer, build: Compile, modules: Path, tmp_path: Path
) -> None:
    other = tmp_path / "other"
    other.mkdir()
    place(build("versioned", VERSION='"A"'), modules, "versioned")
    place(build("versioned", VERSION='"B"'), other, "versioned")
    first, second = start_server(), start_server(modules=[other], loops=2)
    first.route("WHO")(lambda _: "first\n")
    second.route("WHO")(lambda _: "second\n")
    assert [ask(server.port, "VERSION") for server in (first, second)] == ["version A", "version B"]
    assert [ask(server.port, "WHO") for server in (first, second)] == ["first", "second"]
    place(build("versioned", VERSION='"C"'), other, "versioned")
    assert second.reload().ok
    assert [ask(server.port, "VERSION") for server in (first, second)] == ["version A", "version C"]
    assert first.stop()
    assert ask(second.port, "VERSION") == "version C"
    assert ask(second.port, "WHO") == "second"


def test_everything_may_be_called_from_many_threads(start_server: StartServer, probe: Path) -> None:
    server, faults = start_server(), []

    def use(number: int) -> None:
        try:
            for turn in range(15):
                server.route(f"T{number}.{turn} ")(greet)
                assert ask(server.port, f"T{number}.{turn} x") == "hello x"
                assert server.reload("probe").ok
                assert [module.name for module in server.modules] == ["app", "probe"]
                server.request_reload()
        except Exception as error:  # noqa: BLE001
            faults.append(error)

    users = [threading.Thread(target=use, args=(number,)) for number in range(6)]
    for user in users:
        user.start()
    for user in users:
        user.join()
    assert not faults
    assert ask(server.port, "T5.14 x") == "hello x"


# ----------------------------------------------------------------------------------- leaks


def test_start_and_stop_a_hundred_times_leaves_nothing_behind(
    build: Compile, modules: Path, probe: Path
) -> None:
    write_module(modules, "mine", "import hrmr\nhrmr.route('MINE')(lambda r: 'mine\\n')\n")

    def run(times: int) -> tuple[int, int]:
        for _ in range(times):
            with hrmr.Server(port=0, modules=[modules], loops=2) as server:
                server.route("GREET ")(greet)
                assert ask(server.port, "GREET x") == "hello x"
                assert ask(server.port, "POOL x") == "pool x"
                assert ask(server.port, "MINE") == "mine"
        gc.collect()
        return descriptors(), threads()

    before = run(20)
    before_kib = resident_kib()
    assert run(80) == before
    assert resident_kib() - before_kib < RSS_SLACK_KIB


def test_requests_and_reloads_do_not_grow_the_memory(
    start_server: StartServer, build: Compile, modules: Path, probe: Path
) -> None:
    server = start_server()
    server.route("GREET ")(greet)

    def run(times: int) -> int:
        for turn in range(times):
            write_module(
                modules, "mine", f"import hrmr\nhrmr.route('MINE')(lambda r: '{turn}\\n')\n"
            )
            assert server.reload().ok
            sent = "GREET x\nPOOL x\nINLINE x\nMINE\nNOBODY\n" * 40
            assert exchange(server.port, sent).count(b"\n") == 200
        gc.collect()
        return resident_kib()

    before_kib = run(40)
    assert run(80) - before_kib < RSS_SLACK_KIB


def test_server_that_was_stopped_is_freed(modules: Path) -> None:
    server = hrmr.Server(port=0, modules=[modules])
    server.route("GREET ")(greet)
    with server:
        assert ask(server.port, "GREET x") == "hello x"
    gone = weakref.ref(server)
    del server
    gc.collect()
    assert gone() is None


def test_server_that_is_let_go_of_serves_on() -> None:
    server = hrmr.Server(port=0).start()
    server.route("GREET ")(greet)
    port, reference = server.port, weakref.ref(server)
    del server
    gc.collect()
    assert ask(port, "GREET x") == "hello x"
    kept = reference()
    assert kept is not None
    assert kept.stop()


# ----------------------------------------------------------------------------- whole programs


def start_program(source: str, folder: Path) -> subprocess.Popen[str]:
    script = folder / "program.py"
    script.write_text(dedent(source))
    return subprocess.Popen(
        [sys.executable, script],
        cwd=folder,
        env=clean_environ(),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def finish(program: subprocess.Popen[str]) -> tuple[int, str, str]:
    output, errors = program.communicate(timeout=DEADLINE_S)
    return program.returncode, output, errors


WAITING = """
    import hrmr

    with hrmr.Server(port=0) as server:
        server.route("GREET ")(lambda request: "hello\\n")
        try:
            print(server.port, flush=True)
            server.wait()
        except KeyboardInterrupt:
            print("interrupted")
    print("stopped")
"""


def test_ctrl_c_ends_the_wait_of_a_program(tmp_path: Path) -> None:
    program = start_program(WAITING, tmp_path)
    port = int(program.stdout.readline())
    assert ask(port, "GREET x") == "hello"
    program.send_signal(signal.SIGINT)
    assert finish(program) == (0, "interrupted\nstopped\n", "")


def test_shutdown_ends_the_wait_of_a_program(tmp_path: Path) -> None:
    program = start_program(WAITING, tmp_path)
    port = int(program.stdout.readline())
    assert exchange(port, "SHUTDOWN\n") == b"OK shutting down\n"
    assert finish(program) == (0, "stopped\n", "")


LEAVING = """
    import sys
    import threading
    import hrmr

    server = hrmr.Server(port=0, modules=[{modules!r}], drain_timeout=5)
    server.start()

    @server.route("GREET ")
    def greet(request):
        return "hello " * 100 + "\\n"

    print(server.port, flush=True)
    sys.stdin.readline()
    {last}
"""

# Of each end. Twenty make a hundred programs: what a change of how we stop should be tried with.
LEAVING_ROUNDS = int(os.environ.get("HRMR_LEAVING_ROUNDS", "4"))

# How a program may end without stopping its server.
ENDS = {
    "falls off its end": ("pass", 0),
    "sys.exit": ("sys.exit(3)", 3),
    "exception": ("raise ValueError('last words')", 1),
    "in a cycle with a handler": ("greet.server = server; del server", 0),
    "another thread still waits": ("threading.Thread(target=server.wait).start()", 0),
}


@pytest.mark.parametrize("end", ENDS)
def test_program_that_ends_under_load_without_stopping_its_server(
    tmp_path: Path, modules: Path, probe: Path, end: str
) -> None:
    last, code = ENDS[end]
    source = dedent(LEAVING).format(modules=str(modules), last=last)
    for _ in range(LEAVING_ROUNDS):
        script = tmp_path / "program.py"
        script.write_text(source)
        program = subprocess.Popen(
            [sys.executable, script],
            env=clean_environ(),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        port = int(program.stdout.readline())
        clients = [Client(port) for _ in range(8)]
        for client in clients:
            client.send("GREET x\nPOOL x\nINLINE x\n" * 300)
        assert clients[0].read_line() == "hello " * 100
        if "thread" in end:
            # Python waits for that thread before it ends.
            program.stdin.write("\n")
            program.stdin.flush()
            assert exchange(port, "SHUTDOWN\n") == b"OK shutting down\n"
        for client in clients:
            client.socket.setblocking(False)
        output, errors = program.communicate("\n", timeout=DEADLINE_S)
        assert (program.returncode, output) == (code, "")
        assert ("last words" in errors) == (end == "exception")
        assert "Fatal" not in errors
        for client in clients:
            client.socket.close()


@pytest.mark.parametrize("handler", ["line = sys.stdin.readline()", "threading.Event().wait()"])
def test_program_that_ends_while_a_handler_never_does(tmp_path: Path, handler: str) -> None:
    program = start_program(
        f"""
        import sys
        import threading
        import hrmr

        entered = threading.Event()
        server = hrmr.Server(port=0, drain_timeout=0.1).start()

        @server.route("NEVER")
        def never(request):
            entered.set()
            {handler}
            return ""

        print(server.port, flush=True)
        entered.wait()
        """,
        tmp_path,
    )
    with Client(int(program.stdout.readline())) as client:
        client.send("NEVER\n")
        assert client.read_to_end() == b""
        program.wait(DEADLINE_S)
    assert finish(program) == (0, "", "")


def test_forked_child_leaves_the_server_alone(tmp_path: Path) -> None:
    program = start_program(
        """
        import os
        import hrmr

        with hrmr.Server(port=0) as server:
            server.route("GREET ")(lambda request: "hello\\n")
            print(server.port, flush=True)
            child = os.fork()
            if child == 0:
                raise SystemExit(7)
            assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7
            print("child left", flush=True)
            server.wait()
        """,
        tmp_path,
    )
    port = int(program.stdout.readline())
    assert program.stdout.readline() == "child left\n"
    assert ask(port, "GREET x") == "hello"
    assert exchange(port, "SHUTDOWN\n") == b"OK shutting down\n"
    assert finish(program)[0] == 0


WAITS_FOR_ITSELF = """
    import builtins
    builtins.hrmr_test_call()
"""


@pytest.mark.parametrize("call", ["reload", "route", "stop"])
def test_module_that_waits_for_its_own_load_is_refused(
    modules: Path, call: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = hrmr.Server(port=0, modules=[modules])
    calls = {
        "reload": server.reload,
        "route": lambda: server.route("LATE ")(lambda _: "late\n"),
        "stop": server.stop,
    }
    monkeypatch.setattr("builtins.hrmr_test_call", calls[call], raising=False)
    with server:
        write_module(modules, "selfish", WAITS_FOR_ITSELF)
        [outcome] = server.reload()
        assert outcome.change == "failed"
        assert "cannot be called while a module loads" in outcome.message
        assert server.reload("selfish").failures


def test_program_may_end_while_a_handler_never_does(tmp_path: Path) -> None:
    program = start_program(
        """
        import socket, threading
        import hrmr

        entered = threading.Event()
        server = hrmr.Server(port=0, drain_timeout=0.1)

        @server.route("SPIN")
        def spin(request):
            entered.set()
            while True:
                sum(range(1000))

        server.start()
        client = socket.create_connection(("127.0.0.1", server.port))
        client.sendall(b"SPIN\\n")
        assert entered.wait(30)
        assert not server.stop()
        print("left")
        """,
        tmp_path,
    )
    assert finish(program)[:2] == (0, "left\n")
