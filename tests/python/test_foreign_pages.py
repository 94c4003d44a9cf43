"""What changes the server, asked for over HTTP: by programs, by pages of its own, and by pages that
are a stranger's, in the words of browsers. (By a real one: test_browser.py. Tokens: test_admin.py.)
"""

import http.client

import hrmr
import pytest
from conftest import StartServer
from wire_client import DEADLINE_S, Client, is_refused

COMMAND = "/call/CALLS.NOTE"
ADMIN = ("/hrmr/reload", "/hrmr/shutdown")


@pytest.fixture
def calls() -> list[str]:
    """What the command was called with."""
    return []


def serve(server: hrmr.Server, calls: list[str]) -> hrmr.Server:
    @server.command("CALLS.NOTE")
    def note(arguments: list[bytes]) -> int:
        calls.append(b" ".join(arguments).decode())
        return len(calls)

    return server


@pytest.fixture
def server(start_server: StartServer, calls: list[str]) -> hrmr.Server:
    return serve(start_server(admin_host="router.internal"), calls)


def post(server: hrmr.Server, path: str, headers: list[str], version: str = "1.1") -> int:
    """The status. `{port}` in a header is the server's."""
    body = b'["x"]' if path == COMMAND else b""
    lines = [line.replace("{port}", str(server.port)) for line in headers]
    head = [f"POST {path} HTTP/{version}", *lines, f"Content-Length: {len(body)}", "", ""]
    with Client(server.port) as client:
        client.send("\r\n".join(head).encode() + body)
        return client.read_response().status


def serves(server: hrmr.Server) -> bool:
    """Whether nobody has shut it down, nor begun to."""
    return not server.wait(0) and not is_refused(server.port)


# ------------------------------------------------------------------------- as browsers word it

OURS = "Host: 127.0.0.1:{port}"


@pytest.mark.parametrize(
    "headers",
    [
        [OURS, "Origin: http://evil.example"],
        [OURS, "Origin: https://evil.example:{port}"],
        [OURS, "Origin: http://127.0.0.1"],
        [OURS, "Origin: http://127.0.0.1:1"],
        [OURS, "Origin: http://127.0.0.1:{port}.evil.example"],
        [OURS, "Origin: http://127.0.0.1:{port}@evil.example"],
        [OURS, "Origin: http://localhost:{port}"],
        [OURS, "Origin: http://[::1]:{port}"],
        [OURS, "Origin: null"],
        [OURS, "Origin: file://"],
        [OURS, "Origin: chrome-extension://abc"],
        [OURS, "Sec-Fetch-Site: cross-site"],
        [OURS, "Sec-Fetch-Site: same-site"],
        [OURS, "Sec-Fetch-Site: same-origin", "Origin: http://evil.example"],
        [OURS, "Sec-Fetch-Site: cross-site", "Origin: http://127.0.0.1:{port}"],
        ["Host: [::1]:{port}", "Origin: http://[::2]:{port}"],
        ["Host: localhost:{port}", "Origin: http://localhost:1"],
    ],
    ids="; ".join,
)
def test_page_of_another_origin_is_refused(
    server: hrmr.Server, calls: list[str], headers: list[str]
) -> None:
    for path in (COMMAND, *ADMIN):
        assert post(server, path, headers) == 403
    assert calls == []
    assert serves(server)


@pytest.mark.parametrize(
    "name",
    [
        *("evil.example", "127.0.0.1.evil.example", "localhost.evil.example", "router"),
        *("localhost.", "app.localhost", "127.1", "0x7f.0.0.1", "2130706433", "[::1].evil.example"),
    ],
)
def test_page_whose_name_was_pointed_at_us_is_refused(
    server: hrmr.Server, calls: list[str], name: str
) -> None:
    status = 400 if "[" in name else 403
    for authority in (name, name + ":{port}"):
        for mark in (f"Origin: http://{authority}", "Origin: null", "Sec-Fetch-Site: same-origin"):
            for path in (COMMAND, *ADMIN):
                assert post(server, path, [f"Host: {authority}", mark]) == status
    assert calls == []
    assert serves(server)


def test_page_is_refused_without_a_host_and_behind_other_requests(
    server: hrmr.Server, calls: list[str]
) -> None:
    assert post(server, COMMAND, ["Origin: http://127.0.0.1"], "1.0") == 403
    good = f"POST {COMMAND} HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n"
    evil = good.replace("Host: a", "Host: 127.0.0.1\r\nOrigin: null")
    with Client(server.port) as client:
        # The first ones are on their way to a thread when it is looked at.
        client.send(f"{good}\r\n" * 3 + f"{evil}\r\n" + f"{good}\r\n")
        statuses = [client.read_response().status for _ in range(5)]
    assert statuses == [200, 200, 200, 403, 200]
    assert len(calls) == 4


@pytest.mark.parametrize(
    "authority",
    [
        *("127.0.0.1:{port}", "localhost:{port}", "LocalHost:{port}", "localhost", "[::1]:{port}"),
        *("[::1]", "10.1.2.3:{port}", "[2001:db8::1]:80", "router.internal", "Router.Internal:80"),
    ],
)
def test_page_of_our_own_is_taken(server: hrmr.Server, calls: list[str], authority: str) -> None:
    for marks in (
        [f"Origin: http://{authority}"],
        [f"Origin: https://{authority}"],  # behind a proxy that speaks TLS
        [f"Origin: http://{authority.lower()}", "Sec-Fetch-Site: same-origin"],
        ["Sec-Fetch-Site: none"],
    ):
        for path in (COMMAND, "/hrmr/reload"):
            assert post(server, path, [f"Host: {authority}", *marks]) == 200
    assert len(calls) == 4


def test_programs_say_no_origin_and_are_taken(server: hrmr.Server, calls: list[str]) -> None:
    for host in ("127.0.0.1:{port}", "localhost", "[::1]:{port}", "router.internal"):
        for path in (COMMAND, "/hrmr/reload"):
            assert post(server, path, [f"Host: {host}", "User-Agent: curl/8.5.0"]) == 200
    # By any name, but for what is the server's own.
    assert post(server, COMMAND, ["Host: any.example"]) == 200
    assert post(server, COMMAND, [], "1.0") == 200
    assert len(calls) == 6
    assert post(server, "/hrmr/reload", ["Host: any.example"]) == 403
    assert post(server, "/hrmr/reload", [], "1.0") == 403


def test_a_page_cannot_call_by_another_method(server: hrmr.Server, calls: list[str]) -> None:
    for method in ("GET", "HEAD", "PUT", "OPTIONS", "PATCH"):
        with Client(server.port) as client:
            client.send(f"{method} {COMMAND} HTTP/1.1\r\nHost: localhost\r\n\r\n")
            response = client.read_response(head_only=method == "HEAD")
            assert (response.status, response.headers["allow"]) == (405, "POST")
    assert calls == []


def test_programs_and_pages_over_ipv6(start_server: StartServer, calls: list[str]) -> None:
    server = serve(start_server(host="::1"), calls)
    own = {"Origin": f"http://[::1]:{server.port}"}
    for headers, status in (({}, 200), (own, 200), ({"Origin": "http://[::1]"}, 403)):
        for path in (COMMAND, "/hrmr/reload"):
            connection = http.client.HTTPConnection("::1", server.port, timeout=DEADLINE_S)
            connection.request("POST", path, "", headers)
            assert connection.getresponse().status == status
            connection.close()
    assert len(calls) == 2
