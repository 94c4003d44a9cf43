"""How HTTP requests find their route, and what is said to those that find none."""

import re
from collections.abc import Iterator

import hrmr
import pytest
from wire_client import Client, Response, exchange, http_request


def describe(request: hrmr.Request) -> str:
    rest = request.rest[:4].decode()
    host = request.headers.get("host", "")
    return "|".join([request.method, request.prefix, rest, request.path, request.query, host])


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    with hrmr.Server(port=0) as server:
        server.route("GET /users")(describe)
        server.route("GET /users/one ")(lambda _: "exactly one")
        server.route("POST /users")(describe)
        server.route("GET /only-get")(describe)
        server.route("HEAD /users/head")(lambda _: hrmr.Response("", 202))
        server.route("OPTIONS *")(lambda _: hrmr.Response("", headers={"Allow": "GET"}))
        yield server.port


def ask(port: int, target: str, method: str = "GET", host: str = "h") -> Response:
    sent = f"{method} {target} HTTP/1.1\r\nHost: {host}\r\n\r\n"
    with Client(port) as client:
        client.send(sent)
        return client.read_response(head_only=method == "HEAD")


@pytest.mark.parametrize(
    ("target", "expected"),
    [
        ("/users/2?a=b", "GET|GET /users|/2?a|/users/2|a=b|h"),
        ("http://other/users/2?a=b", "GET|GET http://other/users|/2?a|/users/2|a=b|other"),
        ("HTTPS://other:81/users", "GET|GET HTTPS://other:81/users| HTT|/users||other:81"),
        ("http://[::1]/users?", "GET|GET http://[::1]/users|? HT|/users||[::1]"),
        ("http://other/users/one", "exactly one"),
    ],
)
def test_url_as_target_is_routed_by_its_path_and_names_the_host(
    port: int, target: str, expected: str
) -> None:
    response = ask(port, target)
    assert (response.status, response.text) == (200, expected)


@pytest.mark.parametrize("target", ["http://other", "http://other?x=1"])
def test_url_without_path_means_the_root(target: str) -> None:
    with hrmr.Server(port=0) as server:
        server.route("GET / ")(lambda request: f"root {request.path}")
        server.route("GET /?")(lambda request: f"query {request.path} {request.query}")
        expected = "query / x=1" if "?" in target else "root /"
        assert ask(server.port, target).text == expected
        assert ask(server.port, target.removeprefix("http://other") or "/").status in (200, 400)


def test_head_is_answered_by_the_get_route_without_a_body(port: int) -> None:
    with Client(port) as client:
        client.send(http_request("/users/2", "HEAD") + http_request("/users/2"))
        head = client.read_response(head_only=True)
        body = client.read_response()
    # The handler was told that it is a HEAD, so what it would have sent is one byte longer twice.
    assert head.status == 200
    assert head.headers["content-length"] == str(len("HEAD|HEAD /users|/2 H|/users/2||test"))
    assert body.text == "GET|GET /users|/2 H|/users/2||test"


def test_head_prefers_its_own_route_when_that_claims_as_much(port: int) -> None:
    assert ask(port, "/users/head", "HEAD").status == 202
    assert ask(port, "/users/hea", "HEAD").status == 200
    assert ask(port, "http://other/users/head", "HEAD").status == 202
    assert ask(port, "http://other/users/he", "HEAD").status == 200


@pytest.mark.parametrize(
    ("method", "target", "allowed"),
    [
        ("DELETE", "/users", "GET, HEAD, POST"),
        ("POST", "/only-get", "GET, HEAD"),
        ("BREW", "http://other/only-get?x", "GET, HEAD"),
        ("GET", "/users/head", None),
    ],
)
def test_method_that_no_route_takes_is_told_which_are(
    port: int, method: str, target: str, allowed: str | None
) -> None:
    response = ask(port, target, method)
    if allowed is None:
        assert response.status == 200
        return
    assert (response.status, response.headers["allow"]) == (405, allowed)
    assert response.text.endswith(f"there is one for {allowed}\n")
    assert not response.closes


@pytest.mark.parametrize("target", ["/", "/user", "/nothing", "http://other/nothing"])
def test_target_that_no_route_takes_is_not_found(port: int, target: str) -> None:
    for method in ("GET", "POST", "DELETE"):
        response = ask(port, target, method)
        assert (response.status, response.closes) == (404, False)


def test_asterisk_can_be_routed(port: int) -> None:
    assert ask(port, "*", "OPTIONS").headers["allow"] == "GET"


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        (b"GET /users HTTP/1.1\r\n\r\n", 400),
        (b"GET /users HTTP/3.0\r\nHost: h\r\n\r\n", 505),
        (b"CONNECT h:1 HTTP/1.1\r\nHost: h\r\n\r\n", 501),
        (b"GET /" + b"x" * 9000 + b" HTTP/1.1\r\nHost: h\r\n\r\n", 414),
        (b"GET /" + b"x" * 70000 + b" HTTP/1.1\r\nHost: h\r\n\r\n", 414),
        (b"GET / HTTP/1.1\r\nHost: h\r\n" + b"A: b\r\n" * 2000 + b"\r\n", 431),
        (b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 99999999999\r\n\r\n", 413),
        (b"POST / HTTP/1.1\r\nHost: h\r\nExpect: x\r\n\r\n", 417),
        (b"GET /nothing HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n", 404),
    ],
)
@pytest.mark.parametrize("before", [b"", http_request("/users")])
def test_every_final_answer_has_a_date_once(
    port: int, sent: bytes, status: int, before: bytes
) -> None:
    answers = exchange(port, before + sent)
    *_, last = re.finditer(rb"HTTP/1\.1 \d\d\d ", answers)
    head = answers[last.start() :].partition(b"\r\n\r\n")[0]
    assert head.startswith(b"HTTP/1.1 %d " % status)
    assert head.count(b"\r\nDate: ") == 1
    assert b"\r\nConnection: close" in head
