"""Python modules, as a server runs them."""

import threading
from collections.abc import Callable
from pathlib import Path

import hrmr
import pytest
from conftest import Serve, StartServer, write_module
from wire_client import Client, Gate, ask, exchange, get, reload, wait_until

MakeGate = Callable[..., Gate]

WRONG_RETURN = (
    "TypeError: a handler must return str, bytes, an iterator of them or hrmr.Response, not"
)


# ----------------------------------------------------------------------------------- answers

ANSWERS = """
    import hrmr

    @hrmr.route("TEXT")
    @hrmr.route("GET /text")
    def text(request):
        return "text: ä€😀\\n"

    @hrmr.route("BYTES")
    @hrmr.route("GET /bytes")
    def raw(request):
        return b"bytes: \\x00\\xff\\n"

    @hrmr.route("ARRAY")
    def array(request):
        return bytearray(b"array\\n")

    @hrmr.route("VIEW")
    def view(request):
        return memoryview(b"view\\n")

    @hrmr.route("EMPTY")
    @hrmr.route("GET /empty")
    def empty(request):
        return ""

    @hrmr.route("RESPONSE")
    @hrmr.route("GET /response")
    def response(request):
        headers = {"content-type": "text/x-mine", "x-mine": "yes"}
        return hrmr.Response("made\\n", 201, headers)

    @hrmr.route("GET /pairs")
    def pairs(request):
        return hrmr.Response(b"", 204, [("Set-Cookie", "a=1"), ("Set-Cookie", "b=2")])

    @hrmr.route("BYE")
    @hrmr.route("GET /bye")
    def bye(request):
        return hrmr.Response("bye\\n", close=True)
"""


@pytest.fixture
def answers(start_server: StartServer, modules: Path) -> hrmr.Server:
    write_module(modules, "answers", ANSWERS)
    return start_server()


def test_line_is_answered_with_the_bytes_that_were_returned(answers: hrmr.Server) -> None:
    sent = "TEXT\nBYTES\nARRAY\nVIEW\nEMPTY\nRESPONSE\nBYE\nTEXT\n"
    assert exchange(answers.port, sent) == (
        "text: ä€😀\n".encode() + b"bytes: \x00\xff\narray\nview\nmade\nbye\n"
    )


def test_http_answer_has_the_handlers_status_and_headers(answers: hrmr.Server) -> None:
    text = get(answers.port, "/text")
    assert (text.status, text.text) == (200, "text: ä€😀\n")
    assert text.headers["content-type"] == "text/plain; charset=utf-8"
    assert get(answers.port, "/bytes").body == b"bytes: \x00\xff\n"
    assert get(answers.port, "/empty").headers["content-length"] == "0"
    made = get(answers.port, "/response")
    assert (made.status, made.text) == (201, "made\n")
    assert (made.headers["content-type"], made.headers["x-mine"]) == ("text/x-mine", "yes")
    pairs = exchange(answers.port, "GET /pairs HTTP/1.1\r\nHost: a\r\n\r\n")
    assert b"Set-Cookie: a=1\r\nSet-Cookie: b=2\r\n" in pairs
    bye = exchange(answers.port, "GET /bye HTTP/1.1\r\nHost: a\r\n\r\n" * 2)
    assert bye.count(b"bye\n") == 1
    assert b"Connection: close\r\n" in bye


# ------------------------------------------------------------------------------------ errors

ERRORS = """
    import hrmr

    def deeper(request):
        raise KeyError("no such user")  # line 4

    @hrmr.route("RAISE")
    @hrmr.route("GET /raise")
    def fails(request):
        return deeper(request)

    @hrmr.route("NONE")
    @hrmr.route("GET /none")
    def nothing(request):
        pass

    @hrmr.route("NUMBER")
    def number(request):
        return 3

    @hrmr.route("SURROGATE")
    def surrogate(request):
        return "\\ud800"

    @hrmr.route("GET /status")
    def status(request):
        return hrmr.Response("", 99)

    @hrmr.route("GET /split")
    def split(request):
        return hrmr.Response("", 200, {"X": "a\\r\\nY: b"})

    @hrmr.route("GET /length")
    def length(request):
        return hrmr.Response("", 200, {"Content-Length": "3"})

    @hrmr.route("EXIT")
    def leaves(request):
        raise SystemExit(3)

    @hrmr.route("INTERRUPT")
    def interrupts(request):
        raise KeyboardInterrupt

    class Odd(Exception):
        def __str__(self):
            raise RuntimeError("cannot even say it")

    @hrmr.route("ODD")
    def odd(request):
        raise Odd

    @hrmr.route("LINES")
    def lines(request):
        raise ValueError("one\\ntwo\\r\\nSHUTDOWN")

    @hrmr.route("GOOD")
    def good(request):
        return "good\\n"
"""


def test_exception_is_an_error_reply_and_a_traceback_that_names_the_line(
    serve: Serve, modules: Path
) -> None:
    path = write_module(modules, "errors", ERRORS)
    server = serve()
    with Client(server.port) as client:
        assert client.ask("RAISE") == "ERR module 'errors' failed: KeyError: 'no such user'"
        assert client.ask("GOOD") == "good"
    server.wait_for(r"ERROR +module\.errors: the handler of prefix 'RAISE' failed$")
    server.wait_for(r"KeyError: 'no such user'")
    assert f'File "{path}", line 4, in deeper' in server.log
    assert 'raise KeyError("no such user")  # line 4' in server.log
    response = get(server.port, "/raise")
    assert response.status == 500
    assert response.text == "module 'errors' failed: KeyError: 'no such user'\n"


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("NONE", f"{WRONG_RETURN} NoneType (the handler of prefix 'NONE')"),
        ("NUMBER", f"{WRONG_RETURN} int (the handler of prefix 'NUMBER')"),
        ("SURROGATE", "UnicodeEncodeError: "),
        ("EXIT", "SystemExit: 3"),
        ("INTERRUPT", "KeyboardInterrupt"),
        ("ODD", "Odd"),
        ("LINES", "ValueError: one two  SHUTDOWN"),
    ],
)
def test_wrong_answer_is_one_error_line_and_the_connection_goes_on(
    serve: Serve, modules: Path, line: str, reason: str
) -> None:
    write_module(modules, "errors", ERRORS)
    server = serve()
    with Client(server.port) as client:
        assert client.ask(line).startswith(f"ERR module 'errors' failed: {reason}")
        assert client.ask("GOOD") == "good"
    server.wait_for(rf"ERROR +module\.errors: the handler of prefix '{line}' failed$")


@pytest.mark.parametrize("path", ["/none", "/status", "/split", "/length"])
def test_wrong_answer_is_a_500_and_the_connection_goes_on(
    start_server: StartServer, modules: Path, path: str
) -> None:
    write_module(modules, "errors", ERRORS)
    server = start_server()
    with Client(server.port) as client:
        response = client.get(path)
        assert response.status == 500
        assert response.text.startswith("module 'errors' failed: ")
        assert "y" not in response.headers
        assert client.get("/raise").status == 500


# ------------------------------------------------------------------------------------ requests

SHOW = """
    import hrmr

    NAMES = "bytes rest text prefix peer framing method target path query body headers".split()

    @hrmr.route("SHOW ")
    @hrmr.route("POST /show")
    @hrmr.route("RAW:", "raw")
    def show(request):
        return "".join(f"{name}={getattr(request, name)!r}\\n" for name in NAMES)
"""


def shown(answer: str) -> dict[str, object]:
    pairs = [line.partition("=") for line in answer.splitlines()]
    return {name: eval(value) for name, _, value in pairs}  # its own repr


@pytest.fixture
def show(start_server: StartServer, modules: Path) -> hrmr.Server:
    write_module(modules, "show", SHOW)
    return start_server()


def test_request_shows_a_line(show: hrmr.Server) -> None:
    with Client(show.port) as client:
        host, port = client.socket.getsockname()
        client.send("SHOW äÿ\r\n")
        client.half_close()
        seen = shown(client.read_to_end().decode())
    assert seen == {
        "bytes": "SHOW äÿ".encode(),
        "rest": "äÿ".encode(),
        "text": "äÿ",
        "prefix": "SHOW ",
        "peer": f"{host}:{port}",
        "framing": "line",
        **dict.fromkeys(["method", "target", "path", "query"], ""),
        "body": b"",
        "headers": {},
    }


def test_request_shows_wrong_utf_8_replaced(show: hrmr.Server) -> None:
    seen = shown(exchange(show.port, b"SHOW a\xff\n").decode())
    assert (seen["rest"], seen["text"]) == (b"a\xff", "a\ufffd")


def test_request_shows_http(show: hrmr.Server) -> None:
    head = (
        b"POST /show/%41?x=1&y HTTP/1.1\r\nHost: a\r\nX-Two: 1\r\nx-two:  2 \r\n"
        b"X-Latin: \xe4\r\nTransfer-Encoding: chunked\r\n\r\n"
    )
    with Client(show.port) as client:
        client.send(head + b"2\r\n\xc3\xa4\r\n1\r\n!\r\n0\r\n\r\n")
        seen = shown(client.read_response().text)
    assert seen["bytes"] == head + b"\xc3\xa4!"
    assert seen["rest"] == head.removeprefix(b"POST /show") + b"\xc3\xa4!"
    assert (seen["body"], seen["text"]) == (b"\xc3\xa4!", "ä!")
    assert (seen["framing"], seen["method"], seen["prefix"]) == ("http", "POST", "POST /show")
    assert (seen["target"], seen["path"], seen["query"]) == (
        "/show/%41?x=1&y",
        "/show/%41",
        "x=1&y",
    )
    assert seen["headers"] == {
        "host": "a",
        "x-two": "1, 2",
        "x-latin": "ä",
        "transfer-encoding": "chunked",
    }


def test_request_shows_raw_bytes(show: hrmr.Server) -> None:
    seen = shown(exchange(show.port, b"RAW:\x00\r\n\xff").decode())
    assert (seen["framing"], seen["rest"]) == ("raw", b"\x00\r\n\xff")


def test_request_may_be_kept_behind_its_answer(start_server: StartServer) -> None:
    server, kept = start_server(), []
    server.route("KEEP ")(lambda request: kept.append(request) or "kept\n")
    for number in range(3):
        assert ask(server.port, f"KEEP {number}") == "kept"
    server.stop()
    assert [request.text for request in kept] == ["0", "1", "2"]


# ------------------------------------------------------------------------------ life of a module


def test_configuration_reaches_load_flat_and_as_text(
    start_server: StartServer, modules: Path
) -> None:
    write_module(
        modules,
        "configured",
        """
        import hrmr
        known = {}

        def load(config):
            known.update(config)

        @hrmr.route("CONFIG")
        def show(request):
            return repr(sorted(known.items())) + "\\n"
        """,
    )
    tables = {
        "configured": {"path": "a b", "n": 3, "on": True, "db": {"size": 1.5, "of": [1, "x"]}}
    }
    answer = ask(start_server(config=tables).port, "CONFIG")
    assert eval(answer) == [
        *[("db.of", '[1, "x"]'), ("db.size", "1.5"), ("n", "3"), ("on", "true"), ("path", "a b")]
    ]


LIFE = """
    import hrmr

    def note(what):
        with open({notes!r}, "a") as notes:
            notes.write(what + " {version}\\n")

    def load(config):
        note("load")

    def unload():
        note("unload")

    @hrmr.route("VERSION")
    def version(request):
        return "{version}\\n"
"""


def test_load_and_unload_are_called_once_each_in_order(
    start_server: StartServer, modules: Path, tmp_path: Path
) -> None:
    notes = tmp_path / "notes"

    def write(version: str) -> None:
        write_module(modules, "life", LIFE.format(notes=str(notes), version=version))

    write("A")
    server = start_server()
    write("B")
    assert reload(server.port)[-1].startswith("OK 1 reloaded")
    wait_until(lambda: "unload A" in notes.read_text(), "the old one is unloaded")
    server.reload()
    (modules / "life.py").unlink()
    server.reload()
    wait_until(lambda: "unload B" in notes.read_text(), "the last one is unloaded")
    write("C")
    server.reload()
    assert ask(server.port, "VERSION") == "C"
    assert server.stop()
    assert notes.read_text().split("\n") == [
        *("load A", "load B", "unload A", "unload B", "load C", "unload C", "")
    ]


def test_state_is_fresh_in_each_generation(start_server: StartServer, modules: Path) -> None:
    source = """
        import hrmr
        count = 0

        @hrmr.route("COUNT")
        def counted(request):
            global count
            count += 1
            return f"{count}\\n"
    """
    write_module(modules, "counts", source)
    server = start_server()
    assert [ask(server.port, "COUNT") for _ in range(3)] == ["1", "2", "3"]
    server.reload()
    assert ask(server.port, "COUNT") == "4"
    write_module(modules, "counts", source + "\n        # changed\n")
    server.reload()
    assert ask(server.port, "COUNT") == "1"


# ----------------------------------------------------------------------------------- concurrency

WORK = """
    import time
    import threading
    import hrmr

    both = threading.Barrier(2)

    @hrmr.route("WAIT ")
    def wait(request):
        with open(request.text) as gate:
            gate.read()
        return "waited\\n"

    @hrmr.route("QUICK")
    def quick(request):
        return "quick\\n"

    @hrmr.route("BOTH")
    def meet(request):
        both.wait(60)
        return "met\\n"

    spins = True

    @hrmr.route("SPIN")
    def spin(request):
        global started
        started.set()
        while spins:
            pass
        return "spun\\n"

    started = threading.Event()

    @hrmr.route("SPINNING")
    def spinning(request):
        started.wait(60)
        return "spinning\\n"

    @hrmr.route("STOP")
    def stop(request):
        global spins
        spins = False
        return "stopping\\n"
"""


def test_blocking_handler_does_not_stop_others(
    serve: Serve, modules: Path, probe: Path, make_gate: MakeGate
) -> None:
    write_module(modules, "work", WORK)
    gate, server = make_gate(), serve("--python-threads", "2")
    with Client(server.port) as blocked:
        blocked.send(f"WAIT {gate.path}\n")
        gate.wait_for_handler()
        for _ in range(20):
            assert ask(server.port, "QUICK") == "quick"
            assert ask(server.port, "INLINE x") == "inline x"
            assert ask(server.port, "POOL x") == "pool x"
        gate.open()
        assert blocked.read_line() == "waited"


def test_handlers_of_different_connections_run_at_once(serve: Serve, modules: Path) -> None:
    write_module(modules, "work", WORK)
    server = serve("--python-threads", "2")
    with Client(server.port) as one, Client(server.port) as two:
        one.send("BOTH\n")
        two.send("BOTH\n")
        assert [one.read_line(), two.read_line()] == ["met", "met"]


def test_handler_that_holds_the_gil_does_not_hold_up_native_routes(
    serve: Serve, modules: Path, probe: Path
) -> None:
    write_module(modules, "work", WORK)
    server = serve("--python-threads", "3")
    with Client(server.port) as spinning:
        spinning.send("SPIN\n")
        assert ask(server.port, "SPINNING") == "spinning"
        for _ in range(200):
            assert ask(server.port, "INLINE x") == "inline x"
            assert ask(server.port, "POOL x") == "pool x"
        assert ask(server.port, "QUICK") == "quick"
        assert ask(server.port, "STOP") == "stopping"
        assert spinning.read_line() == "spun"


BUSINESS = """
    import asyncio
    import signal
    import subprocess
    import sys
    import threading
    import hrmr

    @hrmr.route("CHILD")
    def child(request):
        process = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
        process.terminate()
        return f"{process.wait(60)}\\n"

    @hrmr.route("ASYNC")
    def asynchronous(request):
        async def answer():
            await asyncio.sleep(0)
            return "awaited\\n"

        return asyncio.run(answer())

    @hrmr.route("DEEP")
    def deep(request):
        return deep(request)

    @hrmr.route("THREAD")
    def thread(request):
        answers = []
        thread = threading.Thread(target=answers.append, args=("from a thread\\n",))
        thread.start()
        thread.join()
        return answers[0]
"""


@pytest.mark.parametrize(
    ("line", "answer"),
    [
        ("CHILD", "-15"),
        ("ASYNC", "awaited"),
        ("DEEP", "ERR module 'business' failed: RecursionError: "),
        ("THREAD", "from a thread"),
    ],
)
def test_handler_may_do_what_python_programs_do(
    serve: Serve, modules: Path, line: str, answer: str
) -> None:
    write_module(modules, "business", BUSINESS)
    server = serve()
    for _ in range(3):
        assert ask(server.port, line).startswith(answer)


def test_many_clients_of_python_routes_each_get_their_own_answers(
    serve: Serve, modules: Path
) -> None:
    write_module(
        modules, "mirror", "import hrmr\nhrmr.route('MIRROR ')(lambda r: r.text[::-1] + '\\n')\n"
    )
    server = serve()
    faults: list[str] = []

    def run(number: int) -> None:
        with Client(server.port) as client:
            for turn in range(100):
                text = f"{number} {turn}"
                answer = client.ask(f"MIRROR {text}")
                if answer != text[::-1]:
                    faults.append(answer)

    clients = [threading.Thread(target=run, args=(number,)) for number in range(20)]
    for client in clients:
        client.start()
    for client in clients:
        client.join()
    assert not faults
