"""Bounds that an option sets: of a request target, of the arguments of a call, of an answer."""

import contextlib
import json

import hrmr
import pytest
from conftest import StartServer
from wire_client import Client, ask, exchange, get

REPLY_BYTES_MAX = 64 * 1024


def test_target_may_have_as_many_bytes_as_target_max_says(start_server: StartServer) -> None:
    server = start_server(target_max=20)
    server.route("GET /")(lambda request: request.target)
    longest = "/" + "x" * 19
    assert get(server.port, longest).text == longest
    refused = get(server.port, longest + "x")
    assert (refused.status, refused.headers["connection"]) == (414, "close")


def test_json_call_may_have_as_many_arguments_as_max_arguments_says(
    start_server: StartServer,
) -> None:
    server = start_server(max_arguments=4)  # with the name
    server.command("count")(len)
    assert get(server.port, "/call/count", "POST", b"[1,2,3]").text == "3\n"
    refused = get(server.port, "/call/count", "POST", b"[1,2,3,4]")
    assert refused.status == 400
    why = "more arguments than max_arguments (--max-arguments) allows"
    assert json.loads(refused.body) == {"error": {"code": "ERR", "message": why}}


@pytest.fixture
def talker(start_server: StartServer) -> hrmr.Server:
    """Answers with as many bytes as it is asked for."""
    server = start_server(reply_max=REPLY_BYTES_MAX)
    server.route("SAY ")(lambda request: "x" * int(request.rest) + "\n")
    server.route("GET /say/")(lambda request: "x" * int(request.rest.split()[0]))
    server.route("GET /stream")(lambda _: (b"x" * 1000 for _ in range(100)))
    server.command("say")(lambda arguments: b"x" * int(arguments[0]))
    return server


def test_answer_past_reply_max_is_an_error_in_its_place(talker: hrmr.Server) -> None:
    fits = REPLY_BYTES_MAX - 500  # with its head
    for size, has_room in ((fits, True), (REPLY_BYTES_MAX + 1, False)):
        line = ask(talker.port, f"SAY {size}")
        response = get(talker.port, f"/say/{size}")
        call = get(talker.port, "/call/say", "POST", f"[{size}]".encode())
        value = exchange(talker.port, f"*2\r\n$3\r\nsay\r\n$5\r\n{size}\r\n".encode())
        if has_room:
            assert line == response.text == call.text.strip('"\n') == "x" * size
            assert value == f"${size}\r\n".encode() + b"x" * size + b"\r\n"
        else:
            why = "the reply is larger than reply_max (--reply-max)"
            assert (response.status, call.status) == (500, 500)
            assert all(why in answer for answer in (line, response.text, call.text, str(value)))


def test_stream_may_be_longer_than_reply_max(talker: hrmr.Server) -> None:
    _, _, body = exchange(talker.port, "GET /stream HTTP/1.0\r\n\r\n").partition(b"\r\n\r\n")
    assert body == b"x" * 100_000


def test_answer_of_the_server_past_reply_max_is_an_error_in_its_place(talker: hrmr.Server) -> None:
    sent = b"".join(
        b"*2\r\n$4\r\nECHO\r\n$%d\r\n%s\r\n" % (size, b"x" * size) for size in (70_000, 3)
    )
    refused, kept = b"-ERR the answer is larger than reply_max (--reply-max)\r\n", b"$3\r\nxxx\r\n"
    assert exchange(talker.port, sent) == refused + kept


@pytest.mark.parametrize(
    "command", ["CLIENT SETNAME {}", "CLIENT SETINFO LIB-NAME {}", "HELLO 2 SETNAME {}"]
)
def test_name_of_a_client_has_a_bound(talker: hrmr.Server, command: str) -> None:
    fits = exchange(talker.port, command.format("n" * 1024) + "\n")
    assert fits.startswith((b"+OK", b"*14"))
    refused = exchange(talker.port, command.format("n" * 1025) + "\n")
    assert refused == b"-ERR Client names cannot be longer than 1024 bytes.\r\n"


def test_refused_connections_are_counted(start_server: StartServer) -> None:
    server = start_server(max_connections=1)
    with Client(server.port) as only:
        assert only.ask("PING").startswith("+PONG")
        for _ in range(3):
            with contextlib.suppress(OSError):
                exchange(server.port, "PING\n")
        assert "\r\nrejected_connections:3\r\n" in server.call("INFO")


@pytest.mark.parametrize("word", ["DOCS", "INFO"])
def test_too_many_elements_of_a_built_in_answer_are_an_error(
    talker: hrmr.Server, word: str
) -> None:
    names = b"$4\r\necho\r\n" * (REPLY_BYTES_MAX + 1)
    sent = b"*%d\r\n$7\r\nCOMMAND\r\n$4\r\n%s\r\n" % (REPLY_BYTES_MAX + 3, word.encode())
    answer = exchange(talker.port, sent + names + b"PING\r\n")
    assert answer == b"-ERR the answer is larger than reply_max (--reply-max)\r\n+PONG\r\n"


def test_text_of_an_error_is_cut(talker: hrmr.Server) -> None:
    text = "\x01" * 1_000_000  # six bytes each in JSON

    @talker.command("FAIL")
    def fail(arguments: list[bytes]) -> None:
        raise hrmr.CommandError(text)

    @talker.route("FAIL ")
    @talker.route("GET /fail")
    def fail_too(request: hrmr.Request) -> None:
        raise ValueError(text)

    assert exchange(talker.port, "*1\r\n$4\r\nFAIL\r\n") == b"-ERR %s\r\n" % text[:32768].encode()
    assert len(ask(talker.port, "FAIL x")) == 32768 + len("ERR ")
    assert len(get(talker.port, "/fail").body) == 32768 + 1
    call = get(talker.port, "/call/FAIL", "POST")
    why = "the error is larger than reply_max (--reply-max)"
    assert json.loads(call.body)["error"]["message"] == why
