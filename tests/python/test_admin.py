"""Who may RELOAD and SHUTDOWN: tokens, HTTP forms, and the browsers that must not."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import hrmr
import pytest
from conftest import HrmrProcess, Serve, StartServer, clean_environ, write_module
from wire_client import DEADLINE_S, Client, Response, ask, exchange

TOKEN = "0123456789abcdef-SECRET"
WRONG = "0123456789abcdef-WRONG!"


def post(port: int, path: str, *headers: str, body: bytes = b"", host: str = "") -> Response:
    lines = [
        f"POST {path} HTTP/1.1",
        f"Host: {host or f'127.0.0.1:{port}'}",
        f"Content-Length: {len(body)}",
        *headers,
    ]
    with Client(port) as client:
        client.send("\r\n".join(lines).encode() + b"\r\n\r\n" + body)
        response = client.read_response()
        assert response.closes
        assert client.read_to_end() == b""
        return response


# ------------------------------------------------------------------------------------- lines


def test_with_a_token_this_machine_needs_it_too(start_server: StartServer, probe: Path) -> None:
    server = start_server(admin_token=TOKEN)
    with Client(server.port) as client:
        for word in ("RELOAD", "RELOAD probe", "SHUTDOWN"):
            name = word.split()[0]
            assert client.ask(word) == (
                f"ERR {name} needs the admin token: send AUTH and the token first"
            )
        assert client.ask(f"AUTH {TOKEN}") == "OK"
        client.send("RELOAD\n")
        assert client.read_line().startswith("unchanged probe")
        assert client.read_line().startswith("OK ")
        assert client.ask("INLINE x") == "inline x"
    # It was shown for that connection only.
    assert ask(server.port, "RELOAD").startswith("ERR RELOAD needs the admin token")


@pytest.mark.parametrize("words", ["AUTH default {}", "auth {}", "AUTH   {}  ", "AUTH Default {}"])
def test_auth_is_taken_as_redis_clients_send_it(
    start_server: StartServer, probe: Path, words: str
) -> None:
    server = start_server(admin_token=TOKEN)
    with Client(server.port) as client:
        assert client.ask(words.format(TOKEN)) == "OK"
        client.send("RELOAD nothing\n")
        assert "needs" not in client.read_line()


@pytest.mark.parametrize(
    "words", ["AUTH", f"AUTH {WRONG}", f"AUTH root {TOKEN}", f"AUTH {TOKEN}x", f"AUTH {TOKEN[:-1]}"]
)
def test_wrong_token_opens_nothing(start_server: StartServer, probe: Path, words: str) -> None:
    server = start_server(admin_token=TOKEN)
    with Client(server.port) as client:
        assert client.ask(words) == "ERR wrong token"
        assert client.ask("RELOAD").startswith("ERR RELOAD needs the admin token")


def test_third_wrong_token_is_the_last(serve: Serve, probe: Path) -> None:
    server: HrmrProcess = serve("--admin-token", TOKEN)
    with Client(server.port) as client:
        client.send(f"AUTH {WRONG}\n" * 2 + "INLINE x\n" + f"AUTH {WRONG}\nAUTH {TOKEN}\nRELOAD\n")
        answers = client.read_to_end().decode().splitlines()
    assert answers == [
        "ERR wrong token",
        "ERR wrong token",
        "inline x",
        "ERR wrong token, once too often",
    ]
    server.wait_for(r"WARNING .*a wrong admin token from 127\.0\.0\.1:\d+")
    assert TOKEN not in server.log
    assert WRONG not in server.log
    assert server.log.count("wrong admin token") == 1


def test_without_a_token_auth_says_so(start_server: StartServer, probe: Path) -> None:
    server = start_server()
    assert ask(server.port, f"AUTH {TOKEN}").startswith("ERR there is no admin token")


def test_a_module_may_have_an_auth_of_its_own(start_server: StartServer, modules: Path) -> None:
    write_module(modules, "own", "import hrmr\nhrmr.route('AUTH ')(lambda r: 'mine\\n')\n")
    server = start_server(admin_token=TOKEN)
    assert ask(server.port, f"AUTH {TOKEN}") == "mine"


# -------------------------------------------------------------------------------------- HTTP


def test_reload_over_http_answers_as_the_command_does(
    start_server: StartServer, probe: Path, modules: Path
) -> None:
    server = start_server()
    write_module(modules, "new", "import hrmr\nhrmr.route('NEW')(lambda r: 'new\\n')\n")
    response = post(server.port, "/hrmr/reload")
    assert response.status == 200
    assert "\nOK " in response.text
    assert response.headers["cache-control"] == "no-store"
    assert "date" in response.headers
    assert ask(server.port, "NEW") == "new"
    write_module(modules, "new", "broken(\n")
    write_module(modules, "other", "import hrmr\nhrmr.route('OTHER')(lambda r: 'other\\n')\n")
    response = post(server.port, "/hrmr/reload", body=b"new\n")
    assert response.status == 500
    assert "failed new" in response.text
    assert ask(server.port, "NEW") == "new"
    assert "no route" in ask(server.port, "OTHER")


def test_reload_over_http_bounds_its_names(start_server: StartServer, probe: Path) -> None:
    server = start_server()
    names = "\n".join(f"m{n}" for n in range(65)).encode()
    response = post(server.port, "/hrmr/reload", body=names)
    assert response.status == 500
    assert response.text == "ERR RELOAD takes at most 64 names at once\n"


def test_shutdown_over_http_drains(serve: Serve, probe: Path) -> None:
    server = serve()
    response = post(server.port, "/hrmr/shutdown")
    assert (response.status, response.text) == (200, "OK shutting down\n")
    assert server.wait() == 0


@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT", "DELETE", "OPTIONS"])
def test_only_post_is_taken(start_server: StartServer, probe: Path, method: str) -> None:
    server = start_server()
    with Client(server.port) as client:
        response = client.get("/hrmr/shutdown", method)
        assert response.status == 405
        assert response.headers["allow"] == "POST"
        assert not [name for name in response.headers if name.startswith("access-control")]
    assert ask(server.port, "INLINE x") == "inline x"


def test_what_is_behind_a_reload_is_not_read(start_server: StartServer, probe: Path) -> None:
    server = start_server()
    sent = b"POST /hrmr/reload HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n\r\n"
    answer = exchange(server.port, sent + b"GET /inline HTTP/1.1\r\nHost: a\r\n\r\nSHUTDOWN\n")
    assert answer.count(b"HTTP/1.1 ") == 1
    assert ask(server.port, "INLINE x") == "inline x"


def test_reload_behind_pool_requests_keeps_its_place(
    start_server: StartServer, probe: Path
) -> None:
    server = start_server()
    with Client(server.port) as client:
        client.send(
            b"GET /pool HTTP/1.1\r\nHost: a\r\n\r\n" * 3
            + b"POST /hrmr/reload HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n\r\n"
        )
        for _ in range(3):
            assert client.read_response().text == "pool /pool\n"
        assert "unchanged probe" in client.read_response().text
        assert client.read_to_end() == b""


def test_bearer_token_is_asked_for_and_taken(serve: Serve, probe: Path) -> None:
    server = serve("--admin-token", TOKEN)
    response = post(server.port, "/hrmr/reload")
    assert response.status == 401
    assert response.headers["www-authenticate"] == "Bearer"
    response = post(server.port, "/hrmr/reload", f"Authorization: Bearer {WRONG}")
    assert (response.status, response.text) == (401, "wrong token\n")
    server.wait_for("a wrong admin token from")
    response = post(server.port, "/hrmr/reload", f"Authorization: Bearer {TOKEN}")
    assert response.status == 200
    assert TOKEN not in server.log
    assert WRONG not in server.log


def test_a_module_may_claim_the_paths(start_server: StartServer, modules: Path) -> None:
    source = """
        import hrmr
        hrmr.route("POST /")(lambda r: "whole site")
        hrmr.route("POST /hrmr/reload")(lambda r: "mine")
    """
    write_module(modules, "site", source)
    server = start_server()
    with Client(server.port) as client:
        assert client.get("/hrmr/reload", "POST").text == "mine"
        assert client.get("/hrmr/else", "POST").text == "whole site"
        # One that claims everything has not claimed this.
        assert client.get("/hrmr/shutdown", "GET").status == 405


# ---------------------------------------------------------------------------------- browsers


@pytest.mark.parametrize(
    "headers",
    [
        ["Origin: http://evil.example"],
        ["Origin: null"],
        ["Origin: http://127.0.0.1:1"],
        ["Sec-Fetch-Site: cross-site", "Sec-Fetch-Mode: no-cors"],
        ["Sec-Fetch-Site: same-site"],
    ],
)
def test_page_of_another_origin_is_refused(serve: Serve, probe: Path, headers: list[str]) -> None:
    server = serve()
    for path in ("/hrmr/reload", "/hrmr/shutdown"):
        response = post(server.port, path, *headers, "Content-Type: text/plain")
        assert (response.status, response.text) == (403, "asked for by a page of another origin\n")
    assert ask(server.port, "INLINE x") == "inline x"


def test_page_of_a_name_that_was_pointed_at_us_is_refused(
    start_server: StartServer, probe: Path
) -> None:
    server = start_server()
    evil = f"evil.example:{server.port}"
    response = post(server.port, "/hrmr/shutdown", f"Origin: http://{evil}", host=evil)
    assert response.status == 403
    assert response.text.startswith("the Host header is neither an IP address nor localhost")
    assert ask(server.port, "INLINE x") == "inline x"


def test_names_of_ours_can_be_told(start_server: StartServer, probe: Path) -> None:
    server = start_server(admin_host="router.internal, other.internal")
    for host in ("router.internal", "other.internal:9000", "localhost", "[::1]:80"):
        assert post(server.port, "/hrmr/reload", host=host).status == 200
    assert post(server.port, "/hrmr/reload", host="third.internal").status == 403


def test_page_of_our_own_origin_may(start_server: StartServer, probe: Path) -> None:
    server = start_server()
    origin = f"Origin: http://127.0.0.1:{server.port}"
    assert post(server.port, "/hrmr/reload", origin, "Sec-Fetch-Site: same-origin").status == 200


CHUNKED = b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
SMUGGLED = [
    # What a page can send: forms of each encoding, fetch with a plain body, odd methods and paths.
    b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 23\r\n\r\nSHUTDOWN\r\nRELOAD\r\nCLOSE",
    CHUNKED + b"a\r\nSHUTDOWN\r\n\r\n0\r\n\r\nSHUTDOWN\r\n",
    b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\nSHUTDOWN\r\n",
    b"GET /\r\nSHUTDOWN\r\n",
    b"GET /\nSHUTDOWN\n",
    b"POST /x\r\nSHUTDOWN\r\n",
    b"SHUTDOWN / HTTP/1.1\r\nHost: a\r\n\r\n",
    b"RELOAD / HTTP/1.1\r\nHost: a\r\n\r\nSHUTDOWN\r\n",
    b"SHUTDOWN HTTP/1.1\r\nHost: a\r\n\r\n",
    b"RELOAD x HTTP/1.1\r\nSHUTDOWN\r\n\r\nSHUTDOWN\r\n",
    b"AUTH / HTTP/1.1\r\nHost: a\r\n\r\nSHUTDOWN\r\n",
    b"GET / HTTP/9.9\r\nSHUTDOWN\r\n",
    b"GET / HTTP/1.1\r\nSHUTDOWN\r\n\r\nSHUTDOWN\r\n",
    b"GET / HTTP/1.1\r\nHost: a\r\nX: \r\nSHUTDOWN\r\n\r\nSHUTDOWN\r\n",
    b"GET / HTTP/1.1\nSHUTDOWN\n\nSHUTDOWN\n",
    b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\nSHUTDOWN\r\n",
    b"\x16\x03\x01\x02\x00SHUTDOWN\r\nSHUTDOWN\r\n",
    b"X" * 70_000 + b"\r\nSHUTDOWN\r\n",
]


@pytest.mark.parametrize("sent", SMUGGLED, ids=range(len(SMUGGLED)))
def test_no_bytes_of_http_are_read_as_a_command(
    start_server: StartServer, probe: Path, sent: bytes
) -> None:
    server: hrmr.Server = start_server()
    for parts in ([sent], [sent[:5], sent[5:40], sent[40:]], [sent, b"SHUTDOWN\r\nSHUTDOWN\r\n"]):
        with Client(server.port) as client:
            client.send_parts(parts)
            try:
                client.half_close()
                answer = client.read_to_end()
            except OSError:
                answer = b""
            assert b"shutting down" not in answer
        assert not server.wait(0)
        assert ask(server.port, "INLINE x") == "inline x"


# ------------------------------------------------------------------------ where tokens come from


@pytest.fixture
def token_file(tmp_path: Path) -> Iterator[Path]:
    path = tmp_path / "token"
    path.write_text(TOKEN + "\n")
    path.chmod(0o600)
    return path


def run_hrmr(folder: Path, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "hrmr", *arguments],
        cwd=folder,
        env=clean_environ(variables),
        capture_output=True,
        text=True,
        timeout=DEADLINE_S,
        check=False,
    )


def test_hrmr_reload_shows_the_token_from_anywhere_it_may_be(
    serve: Serve, probe: Path, tmp_path: Path, token_file: Path
) -> None:
    server = serve("--admin-token-file", str(token_file))
    port = ["--port", str(server.port)]
    command_line = Path(f"/proc/{server.pid}/cmdline").read_bytes()
    assert TOKEN.encode() not in command_line
    for arguments, variables in (
        (["--token", TOKEN], {}),
        (["--token-file", str(token_file)], {}),
        ([], {"HRMR_ADMIN_TOKEN": TOKEN}),
        ([], {"HRMR_ADMIN_TOKEN_FILE": str(token_file)}),
    ):
        ran = run_hrmr(tmp_path, "reload", *port, *arguments, **variables)
        assert ran.returncode == 0, ran.stderr
        assert "1 unchanged" in ran.stdout
    (tmp_path / "hrmr.toml").write_text('[server]\nadmin_token_file = "token"\n')
    assert run_hrmr(tmp_path, "reload", *port).returncode == 0
    ran = run_hrmr(tmp_path, "reload", *port, "--token", WRONG)
    assert ran.returncode == 1
    assert ran.stderr.endswith("does not take the token: wrong token\n")
    assert TOKEN not in server.log
    assert "other users" not in server.log


def test_a_token_that_a_server_does_not_need_does_no_harm(
    serve: Serve, probe: Path, tmp_path: Path
) -> None:
    server = serve()
    ran = run_hrmr(tmp_path, "reload", "--port", str(server.port), "--token", TOKEN)
    assert ran.returncode == 0, ran.stderr


def test_variable_sets_the_token(start_hrmr: Serve, tmp_path: Path) -> None:
    server = start_hrmr(variables={"HRMR_ADMIN_TOKEN": TOKEN})
    assert ask(server.port, "RELOAD").startswith("ERR RELOAD needs the admin token")
    assert TOKEN not in server.log


def test_file_that_others_may_read_gets_a_warning(
    serve: Serve, probe: Path, token_file: Path
) -> None:
    token_file.chmod(0o644)
    server = serve("--admin-token-file", str(token_file))
    server.wait_for(r"token: other users may read the token: chmod 600 it")


@pytest.mark.parametrize(
    "bad", ["short", "has a space in the middle", "tab\tin-the-middle-", "é" * 20]
)
def test_a_bad_token_is_refused_and_not_shown(tmp_path: Path, bad: str) -> None:
    with pytest.raises(hrmr.OptionError, match="16 to 512 visible ASCII") as refused:
        hrmr.Server(admin_token=bad)
    assert bad not in str(refused.value)
    (tmp_path / "token").write_text(bad)
    server = hrmr.Server(port=0, admin_token_file=tmp_path / "token")
    with pytest.raises(hrmr.OptionError, match=r"admin_token_file \(.*: a token has") as refused:
        server.start()
    assert bad not in str(refused.value)
    assert not server.running


def test_options_do_not_show_the_token() -> None:
    server = hrmr.Server(port=0, admin_token=TOKEN)
    assert TOKEN not in repr(server.options)
    assert TOKEN not in repr(server)


def test_file_that_is_gone_is_an_error(tmp_path: Path, token_file: Path) -> None:
    server = hrmr.Server(port=0, admin_token_file=token_file)
    token_file.unlink()
    with pytest.raises(hrmr.OptionError, match="No such file"):
        server.start()
