"""Server.call: a program calls the commands of its own server."""

import math
import signal
import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from http import HTTPStatus
from pathlib import Path
from typing import Any

import hrmr
import pytest
from conftest import (
    Compile,
    StartServer,
    descriptors,
    place,
    write_module,
)
from wire_client import Client, Gate, is_refused, wait_until

MakeGate = Callable[..., Gate]

VALUES: list[tuple[object, object]] = [
    (None, None),
    (True, True),
    (-(2**63), -(2**63)),
    (0.1, 0.1),
    (math.inf, math.inf),
    ("é\r\n", "é\r\n".encode()),
    (b"\xff\0", b"\xff\0"),
    (b"", b""),
    ([1, ("two", []), None], [1, [b"two", []], None]),
    ({"k": {1: 2.5}}, {b"k": {1: 2.5}}),
    ({3, 4}, {3, 4}),
    (frozenset([(1,)]), [[1]]),  # a list cannot be an element of a set
]


def test_value_is_what_the_command_returned(start_server: StartServer) -> None:
    server = start_server()
    returned: list[object] = []
    server.command("value")(lambda _: returned[-1])
    for given, expected in VALUES:
        returned.append(given)
        value = server.call("VALUE")
        assert (value, type(value)) == (expected, type(expected))
    returned.append(math.nan)
    assert math.isnan(server.call("value"))


class Length(float):
    def __repr__(self) -> str:
        return f"Length({float(self)})"


def test_arguments_arrive_as_bytes(start_server: StartServer) -> None:
    server = start_server()
    server.command("SEEN")(lambda arguments: arguments)
    given = ("é", b"\xff", bytearray(b"a"), memoryview(b"b\r\nc"), -7, 1e100, True, "")
    seen = ["é".encode(), b"\xff", b"a", b"b\r\nc", b"-7", b"1e+100", b"true", b""]
    assert server.call("SEEN", HTTPStatus.OK, Length(1.5)) == [b"200", b"1.5"]
    assert server.call("seen", *given) == seen
    for wrong in (None, [1], object()):
        with pytest.raises(TypeError, match="an argument is bytes, str, int, float or bool, not"):
            server.call("SEEN", wrong)  # type: ignore[arg-type]


def test_commands_in_cpp_and_those_of_the_server_are_called_too(
    start_server: StartServer, build: Compile, modules: Path
) -> None:
    place(build("stored"), modules)
    server = start_server()
    assert server.call("KV.SET", "a", 1) == "OK"
    assert server.call("KV.SLOW", b"x" * 5_000_000) == b"x" * 5_000_000  # on the pool
    assert server.call("KV.LATER", 7) == b"7"  # deferred
    assert server.call("PING") == "PONG"
    assert "unchanged stored" in server.call("RELOAD")


def error_of(server: hrmr.Server, name: str, *arguments: Any) -> tuple[str, str]:
    with pytest.raises(hrmr.CommandError) as raised:
        server.call(name, *arguments)
    return (raised.value.code, str(raised.value))


def test_errors_are_raised_with_their_code_and_the_next_call_goes_on(
    start_server: StartServer,
) -> None:
    server = start_server(bulk_max=1000)

    def fail(arguments: list[bytes]) -> None:
        raise hrmr.CommandError("no such user", "NOTFOUND")

    server.command("FAIL", 1)(fail)
    server.command("BROKEN")(lambda _: 1 / 0)
    assert error_of(server, "FAIL", "x") == ("NOTFOUND", "no such user")
    assert error_of(server, "FAIL") == ("ERR", "wrong number of arguments for 'fail' command")
    assert "ZeroDivisionError" in error_of(server, "BROKEN")[1]
    assert error_of(server, "none", 1)[1].startswith("unknown command 'none'")
    too_large = ("ERR", "Protocol error: invalid bulk length")
    assert error_of(server, "FAIL", b"x" * 1001) == too_large
    assert error_of(server, "FAIL", b"x" * 20_000_000) == too_large
    assert error_of(server, "FAIL", b"x" * 1000) == ("NOTFOUND", "no such user")


@pytest.mark.parametrize("name", ["", "A B", "KV.\r\nPING", "x" * 65, None])
def test_name_that_is_none_is_refused(start_server: StartServer, name: Any) -> None:
    with pytest.raises(ValueError, match=r"call\(\) takes a command's name"):
        start_server().call(name)


@pytest.mark.parametrize("name", ["client", "HELLO", "Reset", "QUIT", "CLOSE", "AUTH", "SELECT"])
def test_what_changes_a_connection_is_refused(start_server: StartServer, name: str) -> None:
    with pytest.raises(ValueError, match="is for connections of clients"):
        start_server().call(name, "REPLY", "OFF")


def test_calls_of_many_threads_do_not_mix(start_server: StartServer) -> None:
    server = start_server(loops=2, python_threads=2, max_connections=1)
    server.command("SAME", 1)(lambda arguments: arguments[0])

    def call_often(thread: int) -> bool:
        return all(
            server.call("SAME", f"{thread}.{turn}") == f"{thread}.{turn}".encode()
            for turn in range(200)
        )

    with Client(server.port) as guest, ThreadPoolExecutor(8) as threads:
        assert all(threads.map(call_often, range(8)))
        assert guest.ask("SAME guest") == "$5\r"  # calls take no client's place


def test_handler_may_call(start_server: StartServer) -> None:
    server = start_server()
    server.command("INNER", 1)(lambda arguments: arguments[0].upper())
    server.route("OUTER ")(lambda request: server.call("INNER", request.rest) + b"\n")
    with Client(server.port) as client:
        assert client.ask("OUTER abc") == "ABC"


def test_call_in_time_or_not_at_all(start_server: StartServer, make_gate: MakeGate) -> None:
    server = start_server()
    gate = make_gate()
    server.command("WAIT")(lambda _: Path(gate.path).read_bytes() or "through")
    with pytest.raises(TimeoutError, match=r"WAIT gave no answer within 0\.05 seconds"):
        server.call("WAIT", timeout=0.05)
    # Its answer comes when nobody waits for it any more, and is not taken for another's.
    gate.open()
    assert server.call("PING", timeout=20) == "PONG"
    with pytest.raises(TimeoutError):
        server.call("PING", timeout=0)


@pytest.mark.parametrize("policy", ["swap", "hold", "reject"])
def test_call_of_a_module_that_is_reloaded(
    start_server: StartServer, modules: Path, make_gate: MakeGate, policy: str
) -> None:
    gate = make_gate()
    source = f"""
        import hrmr, pathlib

        @hrmr.command("VERSION")
        def version(arguments):
            return {{version}}

        def load(config, state):
            if {{version}} > 1:
                pathlib.Path({gate.path!r}).read_bytes()
        """
    write_module(modules, "timed", source.format(version=1))
    server = start_server(modules=[modules], on_reload=policy)
    assert server.call("VERSION") == 1
    write_module(modules, "timed", source.format(version=2))
    with ThreadPoolExecutor() as threads:
        reloaded = threads.submit(server.reload)
        gate.wait_for_handler()
        if policy == "reject":
            assert error_of(server, "VERSION")[0] == "BUSY"
        called = threads.submit(server.call, "VERSION")
        if policy == "swap":
            assert called.result() == 1
        gate.open()
        assert reloaded.result().ok
        if policy == "hold":
            assert called.result() == 2
    assert server.call("VERSION") == 2


def test_stop_answers_what_was_called_and_ends_the_rest(
    start_server: StartServer, make_gate: MakeGate
) -> None:
    server = start_server()
    gate = make_gate()
    server.command("WAIT")(lambda _: Path(gate.path).read_bytes() or "through")
    with ThreadPoolExecutor() as threads:
        waiting = threads.submit(server.call, "WAIT")
        gate.wait_for_handler()
        server.shutdown()
        assert server.call("PING") == "PONG"  # what it waits for may have to call, too
        gate.open()
        assert waiting.result() == b"through"
    server.stop()
    with pytest.raises(hrmr.NotRunningError, match="is not running"):
        server.call("PING")
    with server:
        assert server.call("PING") == "PONG"


def test_call_whose_handler_outlives_the_drain_ends_with_the_server(
    start_server: StartServer, make_gate: MakeGate
) -> None:
    server = start_server(drain_timeout=0.1)
    gate = make_gate()
    server.command("WAIT")(lambda _: Path(gate.path).read_bytes())
    with ThreadPoolExecutor() as threads:
        waiting = threads.submit(server.call, "WAIT")
        gate.wait_for_handler()
        server.shutdown()
        with pytest.raises(hrmr.NotRunningError, match="stopped before it had answered"):
            waiting.result(20)
        gate.open()
    assert server.stop()


def test_connections_of_calls_are_used_again_and_closed_at_the_end() -> None:
    before = descriptors()
    with hrmr.Server(port=0, python_threads=40) as server:
        all_there = threading.Barrier(40)
        server.command("MEET")(lambda _: all_there.wait(20) and None)
        server.call("PING")
        running = descriptors()
        for _ in range(100):
            server.call("PING")
        assert descriptors() == running
        with ThreadPoolExecutor(40) as threads:
            list(threads.map(server.call, ["MEET"] * 40))
        few = running + 15 * 2  # of 16 connections, both ends
        wait_until(lambda: descriptors() == few, "most of a burst's connections are closed")
    wait_until(lambda: descriptors() == before, "all of them are closed")


def test_call_behind_one_whose_command_closes_the_connection(
    start_server: StartServer, build: Compile, modules: Path
) -> None:
    place(build("stored"), modules)
    server = start_server()
    for _ in range(50):
        assert server.call("KV.LAST") == 7
        assert server.call("PING") == "PONG"


def test_handler_may_call_while_the_server_drains(
    start_server: StartServer, make_gate: MakeGate
) -> None:
    server = start_server(loops=3)
    gate = make_gate()
    server.command("INNER", 1)(lambda arguments: arguments[0].upper())

    @server.route("OUTER ")
    def outer(request: hrmr.Request) -> bytes:
        Path(gate.path).read_bytes()
        return server.call("INNER", request.rest) + server.call("INNER", "x") + b"\n"

    with Client(server.port) as client:
        client.send("OUTER abc\n")
        gate.wait_for_handler()
        server.call("PING")  # one that is idle, and closed by the drain
        server.shutdown()
        wait_until(lambda: is_refused(server.port), "the server drains")
        gate.open()
        assert client.read_line() == "ABCX"
    assert server.stop()


class Interrupted(deque[Any]):
    """A signal comes at each use."""

    def pop(self) -> Any:  # type: ignore[override]
        signal.raise_signal(signal.SIGUSR1)
        return super().pop()

    def append(self, item: Any) -> None:
        super().append(item)
        signal.raise_signal(signal.SIGUSR1)


def test_signal_handler_may_call_in_the_middle_of_a_call(start_server: StartServer) -> None:
    server = start_server()
    answers: list[str] = []
    calls_left = 5

    def handle(number: int, frame: object) -> None:
        nonlocal calls_left
        if calls_left > 0:
            calls_left -= 1
            answers.append(server.call("PING"))

    before = signal.signal(signal.SIGUSR1, handle)
    try:
        server._calls._idle = Interrupted()
        for _ in range(10):
            assert server.call("PING") == "PONG"
    finally:
        server._calls._idle = deque(server._calls._idle)
        signal.signal(signal.SIGUSR1, before)
    assert answers == ["PONG"] * 5


def test_module_that_loads_may_call_but_not_reload(
    start_server: StartServer, modules: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = start_server()
    monkeypatch.setattr(hrmr, "server_of_test", server, raising=False)
    source = """
        import hrmr

        def load(config):
            hrmr.server_of_test.call("{}")
        """
    write_module(modules, "caller", source.format("PING"))
    assert server.reload().ok
    write_module(modules, "caller", source.format("reload"))
    refused = server.reload()
    assert "cannot be called while a module loads" in refused.failures[0].message
    write_module(modules, "caller", source.format("INFO"))
    assert server.reload().ok


@pytest.mark.parametrize("timeout", [math.inf, 1e300, 1e10])
def test_very_long_is_for_ever(start_server: StartServer, timeout: float) -> None:
    assert start_server().call("PING", timeout=timeout) == "PONG"


@pytest.mark.parametrize("timeout", [-1, math.nan])
def test_timeout_that_is_none_is_refused(start_server: StartServer, timeout: float) -> None:
    with pytest.raises(ValueError, match="timeout is a number of seconds"):
        start_server().call("PING", timeout=timeout)


def test_bounds_too_tight_to_greet_are_named(start_server: StartServer) -> None:
    server = start_server(bulk_max=4)
    assert error_of(server, "PING") == ("ERR", "Protocol error: invalid bulk length")
