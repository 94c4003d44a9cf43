"""The bundled modules http and echo, asked by curl, http.client and by hand."""

import hashlib
import http.client
import json
import os
import subprocess
from pathlib import Path

import hrmr
import pytest
from conftest import StartServer
from wire_client import DEADLINE_S, Client, get, http_request, one_by_one

PAGES = {
    "index.html": ("<h1>start</h1>\n", "text/html; charset=utf-8"),
    "style.css": ("h1 { color: red }\n", "text/css; charset=utf-8"),
    "page.js": ("let a = 1;\n", "text/javascript; charset=utf-8"),
    "icon.svg": ("<svg/>\n", "image/svg+xml"),
    "numbers.json": ("[1, 2]\n", "application/json"),
    "notes.txt": ("notes\n", "text/plain; charset=utf-8"),
    "unknown.xyz": ("?\n", "application/octet-stream"),
    "no_suffix": ("?\n", "application/octet-stream"),
    "UPPER.HTML": ("<p>\n", "text/html; charset=utf-8"),
    "a b%c.txt": ("escaped\n", "text/plain; charset=utf-8"),
    "ü.txt": ("umlaut\n", "text/plain; charset=utf-8"),
    "empty.txt": ("", "text/plain; charset=utf-8"),
    "sub/index.html": ("<h1>sub</h1>\n", "text/html; charset=utf-8"),
    "sub/deep/page.html": ("<h1>deep</h1>\n", "text/html; charset=utf-8"),
    ".well-known/security.txt": ("Contact: us\n", "text/plain; charset=utf-8"),
}
SECRET = "this must not get out"


@pytest.fixture
def site(tmp_path: Path) -> Path:
    folder = tmp_path / "site"
    for name, (content, _) in PAGES.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
    (folder / ".secret").write_text(SECRET)
    (folder / "sub" / ".git").mkdir()
    (folder / "sub" / ".git" / "config").write_text(SECRET)
    (tmp_path / "secret.txt").write_text(SECRET)
    (tmp_path / "site-next-door").mkdir()
    (tmp_path / "site-next-door" / "secret.txt").write_text(SECRET)
    (folder / "way_out").symlink_to(tmp_path)
    (folder / "way_out.txt").symlink_to(tmp_path / "secret.txt")
    (folder / "way_in.txt").symlink_to("notes.txt")
    os.mkfifo(folder / "fifo")
    return folder


@pytest.fixture
def server(start_server: StartServer, site: Path) -> hrmr.Server:
    return start_server(bundled=True, static=site)


def curl(*arguments: str, sent: bytes = b"") -> bytes:
    command = ["curl", "--silent", "--show-error", "--max-time", str(DEADLINE_S), *arguments]
    return subprocess.run(command, input=sent, stdout=subprocess.PIPE, check=True).stdout


# ------------------------------------------------------------------------------- static files


@pytest.mark.parametrize("name", PAGES)
def test_file_comes_with_its_type(server: hrmr.Server, name: str) -> None:
    content, content_type = PAGES[name]
    path = "/" + "".join(
        f"%{byte:02X}" if byte in b" %" or byte > 127 else chr(byte) for byte in name.encode()
    )
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=DEADLINE_S)
    connection.request("GET", path)
    response = connection.getresponse()
    assert (response.status, response.read().decode()) == (200, content)
    assert response.headers["Content-Type"] == content_type
    assert response.headers["Last-Modified"]
    assert response.headers["Date"]
    connection.request("HEAD", path)
    head = connection.getresponse()
    assert (head.status, head.read()) == (200, b"")
    assert head.headers["Content-Length"] == str(len(content.encode()))
    assert head.headers["Content-Type"] == content_type
    connection.close()


def test_folder_shows_its_index_behind_a_slash(server: hrmr.Server) -> None:
    assert get(server.port, "/").text == "<h1>start</h1>\n"
    assert get(server.port, "/sub/").text == "<h1>sub</h1>\n"
    redirect = get(server.port, "/sub?a=1")
    assert (redirect.status, redirect.headers["location"]) == (301, "/sub/?a=1")
    assert curl("--location", f"{server.url}/sub") == b"<h1>sub</h1>\n"


def test_redirect_does_not_lead_to_another_host(server: hrmr.Server) -> None:
    redirect = get(server.port, "//sub")
    assert redirect.headers["location"] == "/sub/"


@pytest.mark.parametrize(
    "path", ["/nowhere", "/sub/nowhere.html", "/notes.txt/", "/notes.txt/x", "/sub/deep/", "/fifo"]
)
def test_what_is_not_there_is_a_404_and_the_connection_goes_on(
    server: hrmr.Server, path: str
) -> None:
    with Client(server.port) as client:
        response = client.get(path)
        assert response.status == 404
        assert response.headers["content-type"] == "text/plain; charset=utf-8"
        assert response.headers["x-content-type-options"] == "nosniff"
        assert client.get("/notes.txt").text == "notes\n"


def test_file_that_did_not_change_is_not_sent_again(server: hrmr.Server, site: Path) -> None:
    os.utime(site / "notes.txt", (1_700_000_000, 1_700_000_000))
    with Client(server.port) as client:
        date = client.get("/notes.txt").headers["last-modified"]
        question = http_request("/notes.txt", headers=f"If-Modified-Since: {date}\r\n")
        client.send(question)
        response = client.read_response()
        assert (response.status, response.body) == (304, b"")
        os.utime(site / "notes.txt", (1_700_000_001, 1_700_000_001))
        client.send(question)
        assert client.read_response().text == "notes\n"


def test_link_inside_the_folder_is_followed(server: hrmr.Server) -> None:
    assert get(server.port, "/way_in.txt").text == "notes\n"


WAYS_OUT = [
    *("/../secret.txt", "/sub/../../secret.txt", "/./../secret.txt", "/sub/../../../../etc/passwd"),
    *("/%2e%2e/secret.txt", "/%2E%2E/secret.txt", "/.%2e/secret.txt", "/..%2fsecret.txt"),
    *("/%2e%2e%2fsecret.txt", "/%252e%252e/secret.txt", "/..%5csecret.txt", "/..\\secret.txt"),
    *("//etc/passwd", "///etc/passwd", "/%2fetc%2fpasswd", "//../secret.txt", "/sub//../../secret"),
    *("/way_out/secret.txt", "/way_out.txt", "/way_out/site/../secret.txt", "/way_out/"),
    *("/.secret", "/%2esecret", "/sub/.git/config", "/sub/%2egit/config", "/./notes.txt"),
    *("/notes.txt%00.html", "/%c0%ae%c0%ae/secret.txt", "/%uff0e%uff0e/secret.txt", "/..;/secret"),
    *("/../site-next-door/secret.txt", "/-next-door/secret.txt", "/%zz", "/%2", "/%"),
    *("http://test/../secret.txt", "http://test/way_out.txt", "/sub/..", "/..", "/.."),
]


@pytest.mark.parametrize("path", WAYS_OUT)
def test_there_is_no_way_out_of_the_folder(server: hrmr.Server, path: str) -> None:
    for method in ("GET", "HEAD"):
        response = get(server.port, path, method)
        assert response.status in (400, 404)
        assert SECRET.encode() not in response.body
        assert b"root:" not in response.body


def test_start_page_of_the_package_is_served(start_server: StartServer) -> None:
    server = start_server(bundled=True)
    page = get(server.port, "/")
    assert page.status == 200
    assert page.headers["content-type"] == "text/html; charset=utf-8"
    assert b"RELOAD" in page.body
    for name in ("style.css", "page.js", "icon.svg"):
        assert get(server.port, f"/{name}").status == 200


def test_site_can_be_made_anew_while_it_is_served(
    server: hrmr.Server, site: Path, tmp_path: Path
) -> None:
    site.rename(tmp_path / "old")
    assert get(server.port, "/notes.txt").status == 404
    site.mkdir()
    (site / "notes.txt").write_text("new\n")
    assert get(server.port, "/notes.txt").text == "new\n"


def test_large_file_arrives_whole(server: hrmr.Server, site: Path) -> None:
    content = os.urandom(9 << 20)
    (site / "large.bin").write_bytes(content)
    assert curl(f"{server.url}/large.bin") == content
    assert len(get(server.port, "/large.bin").body) == len(content)


# ----------------------------------------------------------------------------------- requests


def test_connection_is_kept_for_many_requests(server: hrmr.Server) -> None:
    with Client(server.port) as client:
        for _ in range(50):
            response = client.get("/notes.txt")
            assert (response.status, response.text) == (200, "notes\n")
            assert "connection" not in response.headers


def test_close_is_obeyed_and_announced(server: hrmr.Server) -> None:
    with Client(server.port) as client:
        client.send(http_request("/notes.txt", headers="Connection: close\r\n"))
        client.send(http_request("/never-read"))
        response = client.read_response()
        assert (response.text, response.closes) == ("notes\n", True)
        assert client.read_to_end() == b""


@pytest.mark.parametrize(
    ("headers", "connection"), [("", "close"), ("Connection: keep-alive\r\n", "keep-alive")]
)
def test_http_1_0_closes_unless_asked(server: hrmr.Server, headers: str, connection: str) -> None:
    question = f"GET /notes.txt HTTP/1.0\r\n{headers}\r\n"
    with Client(server.port) as client:
        client.send(question)
        response = client.read_response()
        assert (response.text, response.headers["connection"]) == ("notes\n", connection)
        if connection == "close":
            assert client.read_to_end() == b""
        else:
            client.send(question)
            assert client.read_response().text == "notes\n"


def test_pipelined_requests_are_answered_in_order(server: hrmr.Server) -> None:
    names = [name for name in PAGES if name.isascii() and " " not in name] * 20
    sent = b"".join(http_request(f"/{name}") for name in names)
    for parts in ([sent], [sent[at : at + 97] for at in range(0, len(sent), 97)]):
        with Client(server.port) as client:
            client.send_parts(parts)
            for name in names:
                assert client.read_response().text == PAGES[name][0]


def test_request_in_single_bytes_is_answered(server: hrmr.Server) -> None:
    with Client(server.port) as client:
        for _ in range(3):
            client.send_parts(one_by_one(http_request("/echo", "POST", b"hello")))
            assert client.read_response().text == "hello"


# --------------------------------------------------------------------------------------- bodies


def test_curl_sends_a_chunked_body(server: hrmr.Server) -> None:
    content = os.urandom(3 << 20)
    arguments = ["--header", "Transfer-Encoding: chunked", "--data-binary", "@-"]
    assert curl(*arguments, f"{server.url}/echo", sent=content) == content


def test_curl_waits_for_continue_and_gets_it(server: hrmr.Server) -> None:
    content = os.urandom(2 << 20)
    arguments = ["--header", "Expect: 100-continue", "--expect100-timeout", str(DEADLINE_S)]
    answer = curl(
        *arguments, "--include", "--data-binary", "@-", f"{server.url}/echo", sent=content
    )
    assert answer.startswith(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\n")
    assert answer.endswith(content)


def test_http_client_sends_chunks_and_lengths(server: hrmr.Server) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=DEADLINE_S)
    for round_trip in range(10):
        parts = [os.urandom(size) for size in (1, 10, 100_000, 16_384)]
        connection.request("POST", "/echo", body=iter(parts), encode_chunked=True)
        assert connection.getresponse().read() == b"".join(parts)
        document = json.dumps({"round": round_trip}).encode()
        connection.request("POST", "/echo", document, {"Content-Type": "application/json"})
        response = connection.getresponse()
        assert response.headers["Content-Type"] == "application/json"
        assert json.load(response) == {"round": round_trip}
    connection.close()


def test_large_body_goes_there_and_back(start_server: StartServer) -> None:
    server = start_server(bundled=True, body_max="64M")
    content = os.urandom(40 << 20)
    with Client(server.port) as client:
        response = client.get("/echo", "POST", content)
    assert hashlib.sha256(response.body).digest() == hashlib.sha256(content).digest()


@pytest.mark.parametrize("is_chunked", [False, True])
def test_body_past_the_bound_is_a_413_and_the_end(
    start_server: StartServer, is_chunked: bool
) -> None:
    server = start_server(bundled=True, body_max=1000)
    assert get(server.port, "/echo", "POST", b"x" * 1000).text == "x" * 1000
    head = b"POST /echo HTTP/1.1\r\nHost: a\r\n"
    if is_chunked:
        sent = head + b"Transfer-Encoding: chunked\r\n\r\n3e9\r\n" + b"x" * 1001 + b"\r\n0\r\n\r\n"
    else:
        sent = head + b"Content-Length: 1001\r\n\r\n" + b"x" * 1001
    with Client(server.port) as client:
        client.send(sent + b"SHUTDOWN\n")
        response = client.read_response()
        assert (response.status, response.text) == (413, "the body is too large\n")
        assert response.closes
        assert client.read_to_end() == b""
    assert get(server.port, "/echo", "POST", b"x").text == "x"


def test_curl_is_told_413_before_it_sends_a_huge_body(server: hrmr.Server) -> None:
    status = curl(
        *(
            "--output",
            os.devnull,
            "--write-out",
            "%{http_code}",
            "--header",
            "Expect: 100-continue",
        ),
        *("--expect100-timeout", str(DEADLINE_S), "--data-binary", "@-", f"{server.url}/echo"),
        sent=b"x" * (17 << 20),
    )
    assert status == b"413"
