"""Deferred replies and timers of a compiled module, as clients and operators meet them."""

import signal
from pathlib import Path

import pytest
from conftest import Compile, Serve, StartServer, place
from wire_client import Client, ask, http_request, reload, wait_until


@pytest.fixture
def news(build: Compile, modules: Path) -> Path:
    return place(build("news"), modules)


def wait_for_clients(port: int, count: int) -> None:
    wait_until(lambda: ask(port, "WAITING") == str(count), f"{count} clients wait")


@pytest.mark.usefixtures("news")
def test_clients_wait_until_another_one_tells(start_server: StartServer) -> None:
    port = start_server(loops=2).port
    with Client(port) as text, Client(port) as http:
        text.send("WAIT\nTICKS\n")
        http.send(http_request("/wait") + http_request("/wait"))
        wait_for_clients(port, 2)
        assert ask(port, "TELL it rains") == "told 2"
        assert text.read_line() == "it rains"
        assert text.read_line().isdigit()
        first = http.read_response()
        assert (first.status, first.text, first.headers["x-version"]) == (200, "it rains\n", "1")
        assert not first.closes
        wait_for_clients(port, 1)
        assert ask(port, "TELL it shines") == "told 1"
        assert http.read_response().text == "it shines\n"


@pytest.mark.usefixtures("news")
def test_client_that_left_is_told_without_harm(start_server: StartServer) -> None:
    port = start_server().port
    with Client(port) as gone:
        gone.send("WAIT\n")
        wait_for_clients(port, 1)
    with Client(port) as stays:
        stays.send("WAIT\n")
        wait_for_clients(port, 2)
        assert ask(port, "TELL all is well") == "told 2"
        assert stays.read_line() == "all is well"


def test_reload_under_hold_names_the_module_that_owes_replies(
    start_server: StartServer, build: Compile, modules: Path
) -> None:
    place(build("news", SAVES="1", VERSION='"1"'), modules)
    port = start_server(hold_timeout=0.1).port
    with Client(port) as client:
        client.send("WAIT\n")
        wait_for_clients(port, 1)
        place(build("news", SAVES="1", VERSION='"2"'), modules)
        lines = reload(port)
        assert (
            "failed news: its state cannot be handed over: after 100 ms (hold_timeout) "
            "generation 1 is still in use by 1 deferred request"
        ) in lines[0]
        assert ask(port, "TELL still here") == "told 1"
        assert client.read_line() == "still here"
        assert reload(port)[0].startswith("reloaded news generation 1 -> 2 ")


@pytest.mark.usefixtures("news")
def test_server_that_stops_leaves_no_client_hanging(serve: Serve) -> None:
    server = serve("--drain-timeout", "0.1")
    with Client(server.port) as client:
        client.send("WAIT\n")
        wait_for_clients(server.port, 1)
        server.signal(signal.SIGTERM)
        assert client.read_to_end() == b""
    assert server.wait() == 0
    assert "the deferred reply of the handler of 'WAIT' was dropped without an answer" in server.log


def test_server_that_stops_does_not_wait_for_a_module_to_come_to_rest(
    serve: Serve, build: Compile, modules: Path
) -> None:
    place(build("news", SAVES="1", VERSION='"1"'), modules)
    # reject: 503 at once tells that the reload has begun.
    server = serve("--on-reload", "reject", "--hold-timeout", "60", "--drain-timeout", "0.1")
    with Client(server.port) as client, Client(server.port) as reloading:
        client.send("WAIT\n")
        wait_for_clients(server.port, 1)
        place(build("news", SAVES="1", VERSION='"2"'), modules)
        reloading.send("RELOAD\n")
        wait_until(lambda: ask(server.port, "TICKS").startswith("503 "), "news is reloaded")
        server.signal(signal.SIGTERM)
        assert client.read_to_end() == b""
    assert server.wait() == 0
    assert "unloaded news generation 1" in server.log


def test_timer_is_called_in_each_generation(
    start_server: StartServer, build: Compile, modules: Path
) -> None:
    place(build("news"), modules)
    port = start_server().port
    wait_until(lambda: int(ask(port, "TICKS")) >= 3, "the timer was called 3 times")
    place(build("news", VERSION='"2"'), modules)
    assert reload(port)[0].startswith("reloaded news generation 1 -> 2 ")
    wait_until(lambda: int(ask(port, "TICKS")) >= 3, "the new timer was called 3 times")
