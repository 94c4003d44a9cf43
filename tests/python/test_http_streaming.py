"""Python handlers that answer in pieces or with a file."""

import http.client
import os
import socket
import struct
from collections.abc import Iterator
from pathlib import Path

import hrmr
import pytest
from conftest import StartServer
from wire_client import DEADLINE_S, Client, exchange, http_request, wait_until


def count(request: hrmr.Request) -> Iterator[str]:
    for number in range(int(request.text or request.query)):
        yield f"{number}\n"


def break_down(request: hrmr.Request) -> Iterator[bytes]:
    yield b"half"
    raise RuntimeError("broken")


def request_for(port: int, path: str) -> http.client.HTTPResponse:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=DEADLINE_S)
    connection.request("GET", path)
    return connection.getresponse()


def numbers(size: int) -> str:
    return "".join(f"{number}\n" for number in range(size))


def test_iterator_is_sent_in_chunks(start_server: StartServer) -> None:
    server = start_server()
    server.route("GET /count")(count)
    for size in (0, 1, 1000):
        response = request_for(server.port, f"/count?{size}")
        assert response.getheader("Transfer-Encoding") == "chunked"
        assert response.getheader("Content-Length") is None
        assert response.read().decode() == numbers(size)
    sent = http_request("/count?2") + http_request("/count?1")
    answers = exchange(server.port, sent)
    assert answers.count(b"\r\n\r\n2\r\n0\n\r\n2\r\n1\n\r\n0\r\n\r\nHTTP/1.1 200 OK\r\n") == 1
    assert answers.endswith(b"\r\n\r\n2\r\n0\n\r\n0\r\n\r\n")


def test_iterator_is_sent_as_it_is_to_old_clients_and_to_lines(start_server: StartServer) -> None:
    server = start_server()
    server.route("GET /count")(count)
    server.route("COUNT ")(count)
    answer = exchange(server.port, "GET /count?3 HTTP/1.0\r\n\r\n")
    assert b"Transfer-Encoding" not in answer
    assert answer.endswith(b"\r\n\r\n0\n1\n2\n")
    assert exchange(server.port, "COUNT 3\nCOUNT 1\n") == b"0\n1\n2\n0\n"


def test_iterator_may_be_the_body_of_a_response(start_server: StartServer) -> None:
    server = start_server()
    server.route("GET /x")(
        lambda _: hrmr.Response(iter(["a", b"b"]), 201, {"Content-Type": "text/html"})
    )
    response = request_for(server.port, "/x")
    assert (response.status, response.getheader("Content-Type")) == (201, "text/html")
    assert response.read() == b"ab"


def test_piece_is_there_while_the_handler_still_runs(start_server: StartServer) -> None:
    server = start_server()
    read_end, write_end = os.pipe()

    def wait(request: hrmr.Request) -> Iterator[str]:
        yield "first\n"
        os.read(read_end, 1)
        yield "last\n"

    server.route("WAIT")(wait)
    with Client(server.port) as client:
        client.send("WAIT\n")
        assert client.read_line() == "first"
        assert not client.has_input()
        os.write(write_end, b"x")
        assert client.read_line() == "last"
    os.close(read_end)
    os.close(write_end)


def test_iterator_that_raises_breaks_the_connection_off(start_server: StartServer) -> None:
    server = start_server()
    server.route("GET /break")(break_down)
    response = request_for(server.port, "/break")
    with pytest.raises(http.client.IncompleteRead) as caught:
        response.read()
    assert caught.value.partial == b"half"
    with Client(server.port) as client:
        client.send("GET /break HTTP/1.0\r\n\r\n")
        with pytest.raises(ConnectionResetError):
            client.read_to_end()


def test_wrong_piece_breaks_the_connection_off(start_server: StartServer) -> None:
    server = start_server()
    server.route("GET /wrong")(lambda _: iter(["right", 5]))
    with pytest.raises(http.client.IncompleteRead):
        request_for(server.port, "/wrong").read()


def test_generator_is_closed_when_its_client_goes(start_server: StartServer) -> None:
    server = start_server()
    closed = []

    def endless(request: hrmr.Request) -> Iterator[bytes]:
        try:
            while True:
                yield b"x" * 65536
        finally:
            closed.append(request.path)

    server.route("GET /endless")(endless)
    with Client(server.port) as client:
        client.send(http_request("/endless"))
        client.read_exactly(10_000_000)
        client.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    wait_until(lambda: closed, "the generator is closed")
    assert closed == ["/endless"]


def test_file_is_sent_whole(start_server: StartServer, tmp_path: Path) -> None:
    server = start_server()
    content = os.urandom(3_000_000)
    path = tmp_path / "file"
    path.write_bytes(content)
    server.route("GET /path")(lambda _: hrmr.Response(file=path))
    server.route("GET /text")(lambda _: hrmr.Response(file=str(path), headers={"A": "b"}))
    server.route("FILE")(lambda _: hrmr.Response(file=path))
    with path.open("rb") as file:
        server.route("GET /fd")(lambda _: hrmr.Response(file=file.fileno()))
        for target in ("/path", "/text", "/fd", "/fd"):
            response = request_for(server.port, target)
            assert response.getheader("Content-Length") == str(len(content))
            assert response.read() == content
    assert exchange(server.port, "FILE\n") == content


def test_what_is_no_file_is_an_error(start_server: StartServer, tmp_path: Path) -> None:
    server = start_server()
    server.route("GET /none")(lambda _: hrmr.Response(file=tmp_path / "none"))
    server.route("GET /folder")(lambda _: hrmr.Response(file=tmp_path))
    server.route("GET /closed")(lambda _: hrmr.Response(file=100_000))
    for target, text in [
        ("/none", "FileNotFoundError"),
        ("/folder", "must be a regular file"),
        ("/closed", "is not open: its descriptor"),
    ]:
        response = request_for(server.port, target)
        assert response.status == 500
        assert text in response.read().decode()


def test_response_takes_a_body_or_a_file() -> None:
    with pytest.raises(hrmr.ResponseError, match="not both"):
        hrmr.Response("x", file="y")
    with pytest.raises(hrmr.ResponseError, match="must be a path or a descriptor, not bool"):
        hrmr.Response(file=True)
    with pytest.raises(hrmr.ResponseError, match="not both"):
        hrmr.Response(iter([""]), file="y")
    assert repr(hrmr.Response(file="a")) == "<hrmr.Response 200, file 'a'>"
    assert repr(hrmr.Response(iter(["a"]))) == "<hrmr.Response 200, in pieces>"
