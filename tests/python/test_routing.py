"""From the first bytes to a function: DESIGN section 2, rule by rule."""

import contextlib
from pathlib import Path

import hrmr
import pytest
from conftest import StartServer, write_module
from wire_client import Client, ask, exchange, get, http_request, one_by_one, reload

ROUTES = """
    import hrmr

    def answer(name, prefix, framing="auto"):
        @hrmr.route(prefix, framing)
        def reply(request):
            return f"{name} {request.rest.decode('latin-1')}\\n"
"""


def write_routes(folder: Path, name: str, *routes: str) -> None:
    """A Python module that answers each `PREFIX=FRAMING` with "NAME PREFIX rest"."""
    calls = []
    for route in routes:
        prefix, _, framing = route.partition("=")
        calls.append(f"    answer({f'{name} {prefix}'!r}, {prefix!r}, {framing or 'auto'!r})\n")
    write_module(folder, name, ROUTES + "".join(calls))


@pytest.fixture
def server(start_server: StartServer, probe: Path, modules: Path) -> hrmr.Server:
    write_routes(modules, "short", "A", "GET /a=http", "GET /api/")
    write_routes(modules, "long", "AB", "GET /api/users", "ABRA KADABRA", "CLAIMED /=line")
    write_routes(modules, "bare", "RAW!=raw", "GET RAW=raw", "POST /raw=raw")
    return start_server()


# ------------------------------------------------------------------------------- the longest prefix


@pytest.mark.parametrize(
    ("line", "answer"),
    [
        ("A", "short A "),
        ("ACE", "short A CE"),
        ("AB", "long AB "),
        ("ABRA", "long AB RA"),
        ("ABRA KADABR", "long AB RA KADABR"),
        ("ABRA KADABRA", "long ABRA KADABRA "),
        ("INLINE x", "inline x"),
        ("a", "ERR no route for 'a'"),
        ("INLIN", "ERR no route for 'INLIN'"),
        ("B", "ERR no route for 'B'"),
        (" A", "ERR no route for ' A'"),
    ],
)
def test_longest_prefix_wins_across_modules_for_lines(
    server: hrmr.Server, line: str, answer: str
) -> None:
    assert ask(server.port, line) == answer


@pytest.mark.parametrize(
    ("path", "answer"),
    [
        ("/a", "short GET /a  HTTP/1.1"),
        ("/apply", "short GET /a pply HTTP/1.1"),
        ("/api/x", "short GET /api/ x HTTP/1.1"),
        ("/api/users", "long GET /api/users  HTTP/1.1"),
        ("/api/users/7", "long GET /api/users /7 HTTP/1.1"),
        ("/inline?x=1", "inline /inline?x=1"),
    ],
)
def test_longest_prefix_wins_across_modules_for_http(
    server: hrmr.Server, path: str, answer: str
) -> None:
    response = get(server.port, path)
    assert (response.status, response.text.splitlines()[0]) == (200, answer)


def test_no_route_is_a_404_that_names_the_request(server: hrmr.Server) -> None:
    with Client(server.port) as client:
        response = client.get("/nowhere")
        assert (response.status, response.text) == (404, "no route for 'GET /nowhere HTTP/1.1'\n")
        assert client.get("/inline").status == 200


def test_no_route_is_an_error_line_that_shows_no_controls(server: hrmr.Server) -> None:
    with Client(server.port) as client:
        assert client.ask("INLINE a") == "inline a"
        assert client.ask("Z\x1b[31m\x07") == "ERR no route for 'Z?[31m?'"
        assert client.ask("Z" * 100) == f"ERR no route for '{'Z' * 64}...'"
        assert client.ask("INLINE b") == "inline b"


def test_line_and_http_may_share_a_prefix(start_server: StartServer, modules: Path) -> None:
    write_routes(modules, "both", "GET /=line")
    write_routes(modules, "web", "GET /=http")
    port = start_server().port
    assert ask(port, "GET /x") == "both GET / x"
    assert get(port, "/x").text.startswith("web GET / x HTTP/1.1")


def test_prefix_of_another_module_refuses_the_second_and_names_both(
    server: hrmr.Server, modules: Path
) -> None:
    write_routes(modules, "thief", "AB", "THIEF")
    [failure] = server.reload().failures
    assert failure.name == "thief"
    assert "'AB'" in failure.message
    assert "module thief" in failure.message
    assert "module long" in failure.message
    assert ask(server.port, "AB") == "long AB "
    assert ask(server.port, "THIEF") == "ERR no route for 'THIEF'"


def test_prefix_is_free_again_when_its_module_is_gone(server: hrmr.Server, modules: Path) -> None:
    write_routes(modules, "thief", "AB")
    (modules / "long.py").unlink()
    changes = {outcome.name: outcome.change for outcome in server.reload()}
    assert changes["long"] == "removed"
    assert changes["thief"] == "loaded"
    assert changes["short"] == "unchanged"
    assert ask(server.port, "ABx") == "thief AB x"


def test_route_of_the_program_may_not_take_a_prefix(server: hrmr.Server) -> None:
    with pytest.raises(hrmr.RouteError, match=r"'AB'.*long"):
        server.route("AB")(lambda _: "stolen\n")
    assert ask(server.port, "AB") == "long AB "


# ------------------------------------------------------------------------ how a connection begins


@pytest.mark.parametrize("empty", ["\n", "\r\n", "\r\n\n\n\r\n" * 100])
@pytest.mark.parametrize("is_bytewise", [False, True])
def test_leading_empty_lines_are_skipped(
    server: hrmr.Server, empty: str, is_bytewise: bool
) -> None:
    for request, answer in [
        (b"INLINE x\n", b"inline x\n"),
        (http_request("/inline", headers="Connection: close\r\n"), b"HTTP/1.1 200 OK\r\n"),
        (b"RAW!x", b"bare RAW! "),
    ]:
        sent = empty.encode() + request
        with Client(server.port) as client:
            client.send_parts(one_by_one(sent) if is_bytewise else [sent])
            client.half_close()
            assert client.read_to_end().startswith(answer)


@pytest.mark.parametrize("part", ["I", "INLINE x", "INLINE x\r", "GET", "GET /inline HTTP/1.1"])
def test_partial_line_is_never_answered(server: hrmr.Server, part: str) -> None:
    with Client(server.port) as client:
        client.send(part)
        # One loop reads both connections, in the order in which they spoke.
        assert ask(server.port, "INLINE later") == "inline later"
        assert ask(server.port, "POOL later") == "pool later"
        assert not client.has_input()


@pytest.mark.parametrize(
    "opening",
    [
        pytest.param(bytes.fromhex("16030100c8010000c40303") + bytes(range(64)), id="TLS hello"),
        pytest.param(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\0" * 9, id="HTTP/2 preface"),
    ],
)
def test_foreign_opening_is_closed_without_a_word(server: hrmr.Server, opening: bytes) -> None:
    for parts in ([opening], one_by_one(opening)):
        with Client(server.port) as client:
            client.send_parts(parts)
            assert read_quietly(client) == b""
    assert ask(server.port, "INLINE still") == "inline still"


@pytest.mark.parametrize(
    "opening",
    [
        pytest.param(b"\0\1\2\3\n", id="controls"),
        pytest.param(b"INLINE \0\n", id="a control in a first line"),
        pytest.param(b"\xff" * 10 + b"\0", id="rubbish without a line end"),
    ],
)
def test_binary_opening_is_refused(server: hrmr.Server, opening: bytes) -> None:
    for parts in ([opening], one_by_one(opening)):
        with Client(server.port) as client:
            client.send_parts(parts)
            assert client.read_to_end() == b"ERR Protocol error: control bytes in a line\n"
    assert ask(server.port, "INLINE still") == "inline still"


def read_quietly(client: Client) -> bytes:
    try:
        return client.read_to_end()
    except ConnectionResetError:
        return b""  # closed while we were still sending


@pytest.mark.parametrize(
    ("opening", "reason"),
    [
        ("GET /inline\r\n\r\n", "the request line has no HTTP version"),
        ("UNCLAIMED /x\r\n", "the request line has no HTTP version"),
        ("GET /inline HTTP/3.0\r\n", "only HTTP/1.0 and HTTP/1.1 are spoken here"),
        ("GET /inline HTTP/1.1\r\n\r\n", "HTTP/1.1 needs a Host header"),
        ("INLINE x HTTP/1.1\r\n", "the request target is neither"),
    ],
)
def test_what_looks_like_http_is_told_what_is_wrong_in_http(
    server: hrmr.Server, opening: str, reason: str
) -> None:
    with Client(server.port) as client:
        client.send(opening)
        response = client.read_response()
        assert response.status in (400, 505)
        assert response.text.startswith(reason)
        assert client.read_to_end() == b""


def test_token_and_path_is_a_line_where_a_line_route_claims_it(server: hrmr.Server) -> None:
    with Client(server.port) as client:
        assert client.ask("CLAIMED /x") == "long CLAIMED / x"
        assert client.ask("UNCLAIMED /x") == "ERR no route for 'UNCLAIMED /x'"


def test_path_with_a_version_is_http_even_where_a_line_route_claims_it(
    server: hrmr.Server,
) -> None:
    response = get(server.port, "/x", method="CLAIMED")
    assert response.status == 404


# ---------------------------------------------------------------------- what a connection then is


def test_http_stays_http(server: hrmr.Server) -> None:
    with Client(server.port) as client:
        assert client.get("/inline").status == 200
        client.send("INLINE x\n")
        assert client.read_response().status == 400
        assert client.read_to_end() == b""


def test_raw_bytes_do_not_reach_an_http_connection(server: hrmr.Server) -> None:
    with Client(server.port) as client:
        assert client.get("/inline").status == 200
        client.send("RAW!x\r\n\r\n")
        assert client.read_response().status == 400
        assert client.read_to_end() == b""


def test_text_never_becomes_http(server: hrmr.Server) -> None:
    sent = b"INLINE a\n" + http_request("/inline") + b"INLINE b\n"
    answers = exchange(server.port, sent).decode().splitlines()
    assert answers == [
        "inline a",
        "ERR no route for 'GET /inline HTTP/1.1'",
        "ERR no route for 'Host: test'",
        "inline b",
    ]


def test_raw_wins_at_once_and_never_becomes_http(server: hrmr.Server) -> None:
    with Client(server.port) as client:
        client.send("RAW!one")  # no line end, and answered all the same
        assert client.read_line() == "bare RAW! one"
        client.send(http_request("/inline"))
        assert client.read_line() == "ERR no route for 'GET /inline HTTP/1.1'"
        assert client.read_line() == "ERR no route for 'Host: test'"
        assert client.ask("INLINE x") == "inline x"
        client.send("RAW!two")
        assert client.read_line() == "bare RAW! two"


def test_raw_prefix_is_waited_for(server: hrmr.Server) -> None:
    with Client(server.port) as client:
        client.send_parts(one_by_one(b"RAW"))
        assert ask(server.port, "INLINE later") == "inline later"
        assert not client.has_input()
        client.send("!")
        assert client.read_line() == "bare RAW! "


def test_raw_wins_over_http_only_where_its_prefix_matches(server: hrmr.Server) -> None:
    assert exchange(server.port, "GET RAW / HTTP/1.1\r\n\r\n").startswith(b"bare GET RAW  / HTTP")
    assert get(server.port, "/inline").status == 200


# ----------------------------------------------------------------------------- lines without end


@pytest.mark.parametrize("first", ["", "INLINE x\n"])
def test_endless_line_is_a_protocol_error_and_the_end(server: hrmr.Server, first: str) -> None:
    with Client(server.port) as client:
        if first:
            assert client.ask("INLINE x") == "inline x"
        client.send(b"a" * 70_000 + b"\nINLINE behind\n")
        answer = client.read_to_end()
        assert b"Protocol error" in answer
        assert b"behind" not in answer


def test_longest_line_is_answered(server: hrmr.Server) -> None:
    text = "x" * (64 * 1024 - len("INLINE \n"))
    assert ask(server.port, f"INLINE {text}") == f"inline {text}"


def test_raw_requests_like_http_may_follow_each_other(server: hrmr.Server) -> None:
    with Client(server.port) as client:
        for number in range(3):
            client.send(f"POST /raw {number}")
            assert client.read_line() == f"bare POST /raw  {number}"


# ---------------------------------------------------------------------------- nothing is smuggled

COMMANDS = b"SHUTDOWN\nRELOAD\nCLOSE\nINLINE smuggled\n"


def is_same_server(server: hrmr.Server, generations: list[int]) -> bool:
    serves_on = not server.wait(0) and ask(server.port, "INLINE x") == "inline x"
    return serves_on and generations == [module.generation for module in server.modules]


@pytest.mark.parametrize(
    "sent",
    [
        pytest.param(http_request("/body", "POST", COMMANDS), id="in a body"),
        pytest.param(http_request("/bodypool", "POST", COMMANDS), id="in a body of the pool"),
        pytest.param(http_request("/nowhere", "POST", COMMANDS), id="in a body nobody wants"),
        pytest.param(http_request("/body", "POST", b"x") + COMMANDS, id="behind the end of a body"),
        pytest.param(
            b"POST /body HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
            + b"%x\r\n%s\r\n0\r\n\r\n" % (len(COMMANDS), COMMANDS)
            + COMMANDS,
            id="in and behind chunks",
        ),
        pytest.param(
            b"POST /body HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n"
            b"Transfer-Encoding: chunked\r\n\r\n" + COMMANDS,
            id="behind a request with two lengths",
        ),
        pytest.param(b"GET /inline HTTP/1.1\r\n\r\n" + COMMANDS, id="behind a 400"),
        pytest.param(b"POST / \r\n" + COMMANDS, id="behind a request line without version"),
        pytest.param(b"GET /inline HTTP/1.1\r\nHost: a\r\n" + COMMANDS, id="as headers"),
        pytest.param(b"a" * 70_000 + b"\n" + COMMANDS, id="behind an endless line"),
        pytest.param(b"\x16\x03\x01\n" + COMMANDS, id="behind a TLS hello"),
    ],
)
def test_command_cannot_be_smuggled(server: hrmr.Server, modules: Path, sent: bytes) -> None:
    before = [module.generation for module in server.modules]
    # A RELOAD that was obeyed would show: this file is new content.
    (modules / "short.py").write_text((modules / "short.py").read_text() + "\n# changed\n")
    for parts in ([sent], one_by_one(sent[-500:]) if len(sent) < 500 else [sent[:9], sent[9:]]):
        with Client(server.port) as client:
            client.send_parts(parts)
            with contextlib.suppress(OSError):  # closed already
                client.half_close()
            answer = read_quietly(client)
            assert b"OK" not in answer.replace(b"200 OK", b"")
            assert not answer.endswith(b"inline smuggled\n")
    assert is_same_server(server, before)
    assert "reloaded short generation 1 -> 2" in "\n".join(reload(server.port))


@pytest.mark.parametrize(
    "behind", [COMMANDS, b"SHUTDOWN", b"*1\r\n$8\r\nSHUTDOWN\r\n", b"RAW", b"\r\nINLINE x\r\n"]
)
def test_what_follows_a_page_s_request_that_a_raw_route_took_is_no_command(
    server: hrmr.Server, behind: bytes
) -> None:
    before = [module.generation for module in server.modules]
    rest = f" HTTP/1.1\r\nHost: a\r\nContent-Length: {len(behind)}\r\n\r\n"
    with Client(server.port) as client:
        client.send("POST /raw" + rest)  # browsers send a head, and then its body
        answer = f"bare POST /raw {rest}\n".encode()
        assert client.read_exactly(len(answer)) == answer
        client.send(behind)
        assert client.read_to_end() == (
            b"ERR Protocol error: what began like HTTP as a raw request goes on as none\n"
        )
    assert is_same_server(server, before)
