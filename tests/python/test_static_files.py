"""The bundled module http over sockets: conditions, ranges, codings, methods, files that change.

What a single answer consists of is told by tests/cpp/http_module_answers_test.cpp; here it is seen
by http.client, by curl, and while things happen to the files.
"""

import contextlib
import email
import gzip
import hashlib
import http.client
import os
import socket
import subprocess
import threading
import time
from collections.abc import Callable
from pathlib import Path

import hrmr
import pytest
from conftest import StartServer, descriptors
from wire_client import DEADLINE_S, Client, get, http_request

OLD = 1_700_000_000
OLD_DATE = "Tue, 14 Nov 2023 22:13:20 GMT"
LARGE = bytes(range(256)) * 4096  # 1 MiB: sent from the disk


def write_old(path: Path, content: bytes | str) -> None:
    """As if it had been there for long: a file that is new has a weak ETag and is not cached."""
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    os.utime(path, (OLD, OLD))


@pytest.fixture
def site(tmp_path: Path) -> Path:
    folder = tmp_path / "site"
    folder.mkdir()
    write_old(folder / "index.html", "<h1>start</h1>\n")
    write_old(folder / "small.txt", "0123456789")
    write_old(folder / "large.bin", LARGE)
    return folder


@pytest.fixture
def server(start_server: StartServer, site: Path) -> hrmr.Server:
    return start_server(bundled=True, static=site)


def eventually(is_so: Callable[[], bool]) -> bool:
    deadline = time.monotonic() + DEADLINE_S
    while not is_so():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.01)
    return True


def await_settled(server: hrmr.Server, path: str) -> str:
    """The strong ETag of a file, once its last change is long enough ago."""
    tags: list[str] = []

    def is_strong() -> bool:
        tags.append(get(server.port, path).headers["etag"])
        return tags[-1].startswith('"')

    assert eventually(is_strong)
    return tags[-1]


def ask(
    server: hrmr.Server, path: str, method: str = "GET", **headers: str
) -> tuple[http.client.HTTPResponse, bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=DEADLINE_S)
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    connection.request(method, path, headers=named)
    response = connection.getresponse()
    body = response.read()
    connection.close()
    return response, body


def curl(*arguments: str | Path) -> bytes:
    words = ["curl", "--silent", "--show-error", "--fail", "--max-time", str(DEADLINE_S)]
    command = [*words, *(str(each) for each in arguments)]
    return subprocess.run(command, stdout=subprocess.PIPE, check=True).stdout


# ------------------------------------------------------------------------- conditions and ranges


@pytest.mark.parametrize("path", ["/small.txt", "/large.bin"])
def test_conditions_are_answered_alike_from_memory_and_disk(server: hrmr.Server, path: str) -> None:
    tag = await_settled(server, path)
    for _ in range(3):  # from the pool, then from the cache
        unchanged, body = ask(server, path, If_None_Match=tag)
        assert (unchanged.status, body, unchanged.headers["ETag"]) == (304, b"", tag)
        assert unchanged.headers["Content-Length"] is None
        assert ask(server, path, If_None_Match='"other"')[0].status == 200
        assert ask(server, path, If_Modified_Since=OLD_DATE)[0].status == 304
        assert ask(server, path, If_Match='"other"')[0].status == 412
        assert ask(server, path, If_Unmodified_Since=OLD_DATE)[0].status == 200
        head, body = ask(server, path, "HEAD")
        whole, _ = ask(server, path)
        assert (head.status, body) == (200, b"")
        ignored = {"Date"}
        named = [(name, value) for name, value in head.getheaders() if name not in ignored]
        assert named == [pair for pair in whole.getheaders() if pair[0] not in ignored]


@pytest.mark.parametrize(("path", "whole"), [("/small.txt", b"0123456789"), ("/large.bin", LARGE)])
def test_ranges_come_byte_for_byte(server: hrmr.Server, path: str, whole: bytes) -> None:
    size = len(whole)
    for first, last in [(0, 0), (0, size - 1), (3, 7), (size - 1, size - 1), (size // 2, size - 2)]:
        response, body = ask(server, path, Range=f"bytes={first}-{last}")
        assert response.status == 206
        assert response.headers["Content-Range"] == f"bytes {first}-{last}/{size}"
        assert body == whole[first : last + 1]
    assert ask(server, path, Range="bytes=-4")[1] == whole[-4:]
    assert ask(server, path, Range=f"bytes={size - 2}-{size * 9}")[1] == whole[-2:]
    beyond, _ = ask(server, path, Range=f"bytes={size}-")
    assert (beyond.status, beyond.headers["Content-Range"]) == (416, f"bytes */{size}")


def test_several_ranges_are_a_multipart_that_a_mail_parser_reads(server: hrmr.Server) -> None:
    response, body = ask(server, "/large.bin", Range="bytes=0-9,500000-600000,-1")
    assert response.status == 206
    assert int(response.headers["Content-Length"]) == len(body)
    head = f"Content-Type: {response.headers['Content-Type']}\r\n\r\n".encode()
    message = email.message_from_bytes(head + body)
    parts = [
        (part["Content-Range"], part["Content-Type"], part.get_payload(decode=True))
        for part in message.get_payload()
    ]
    kind = "application/octet-stream"
    assert [part[:2] for part in parts] == [
        (f"bytes 0-9/{len(LARGE)}", kind),
        (f"bytes 500000-600000/{len(LARGE)}", kind),
        (f"bytes {len(LARGE) - 1}-{len(LARGE) - 1}/{len(LARGE)}", kind),
    ]
    # The mail parser may take a line feed for one of its own: the bytes are found by hand.
    for part in (LARGE[:10], LARGE[500_000:600_001], LARGE[-1:]):
        assert b"\r\n\r\n" + part + b"\r\n--" in body


def test_pipelined_ranges_of_cached_and_uncached_files_keep_their_order(
    server: hrmr.Server, site: Path
) -> None:
    for number in range(20):
        write_old(site / f"{number}.txt", f"file {number}")
    paths = ["/small.txt", "/large.bin", *(f"/{number}.txt" for number in range(20)), "/none"] * 3
    with Client(server.port) as client:
        ranged = "Range: bytes=1-3\r\n"
        sent = b"".join(http_request(path, headers=ranged) for path in paths)
        threading.Thread(target=client.send, args=(sent,), daemon=True).start()
        for path in paths:
            response = client.read_response()
            if path == "/none":
                assert response.status == 404
                continue
            assert response.status == 206
            assert response.body == (site / path[1:]).read_bytes()[1:4]


# ---------------------------------------------------------------------------------------- curl


def test_curl_resumes_a_download(server: hrmr.Server, tmp_path: Path) -> None:
    part = tmp_path / "part.bin"
    part.write_bytes(LARGE[:300_001])
    curl("--continue-at", "-", "--output", part, f"{server.url}/large.bin")
    assert part.read_bytes() == LARGE


def test_curl_asks_for_ranges_tags_and_dates(server: hrmr.Server, tmp_path: Path) -> None:
    url = f"{server.url}/large.bin"
    assert curl("--range", "5-9", url) == LARGE[5:10]
    assert curl("--range", "-9", url) == LARGE[-9:]
    assert curl("--range", "0-9,700000-700009", url).count(b"Content-Range: bytes ") == 2
    await_settled(server, "/large.bin")
    tags = tmp_path / "etag"
    status = ("--write-out", "%{http_code}", "--output", tmp_path / "out")
    assert curl("--etag-save", tags, *status, url) == b"200"
    assert curl("--etag-compare", tags, *status, url) == b"304"
    assert curl("--time-cond", OLD_DATE, *status, url) == b"304"
    assert curl("--time-cond", "Tue, 14 Nov 2023 22:13:19 GMT", *status, url) == b"200"


def test_curl_decodes_the_sibling_that_was_compressed_before(
    server: hrmr.Server, site: Path
) -> None:
    page = b"<p>as it is</p>\n" * 1000
    write_old(site / "page.html", page)
    write_old(site / "page.html.gz", gzip.compress(page))
    url = f"{server.url}/page.html"
    headers = ("--dump-header", "-", "--output", os.devnull)
    assert curl("--compressed", url) == page
    coded = curl(*headers, "--header", "Accept-Encoding: gzip", url)
    assert b"Content-Encoding: gzip\r\n" in coded
    assert b"Vary: Accept-Encoding\r\n" in coded
    plain = curl(*headers, url)
    assert b"Content-Encoding" not in plain
    assert b"Vary: Accept-Encoding\r\n" in plain
    # An edit that forgets the sibling does not bring back the old text.
    (site / "page.html").write_text("edited")
    assert curl("--compressed", url) == b"edited"


def test_file_larger_than_a_reply_in_memory_may_be(server: hrmr.Server, site: Path) -> None:
    size = 300 << 20
    with (site / "huge.bin").open("wb") as file:
        file.truncate(size)
        file.seek(size - 3)
        file.write(b"end")
    url = f"{server.url}/huge.bin"
    assert f"Content-Length: {size}\r\n".encode() in curl("--head", url)
    assert curl("--range", "-3", url) == b"end"
    assert curl("--output", os.devnull, "--write-out", "%{size_download}", url) == b"%d" % size


# ------------------------------------------------------------------------------------- methods


def test_other_methods_are_refused_and_routes_of_others_win(
    start_server: StartServer, site: Path, modules: Path
) -> None:
    server = start_server(bundled=True, static=site)

    with Client(server.port) as client:
        for method in ("POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE"):
            refused = client.get("/small.txt", method)
            assert (refused.status, refused.headers["allow"]) == (405, "GET, HEAD")
        assert client.get("/echo", "POST", b"hello").text == "hello"
    # What the server itself answers is not for the module to refuse.
    assert b"http" in curl("--request", "POST", f"{server.url}/hrmr/reload")


# ----------------------------------------------------------------------------- hostile requests


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/" + "a" * 255, 404),
        ("/" + "a" * 256, 404),
        ("/" + "a/" * 2100, 404),
        ("/" + "%61" * 2600, 404),
        ("/socket", 404),
        ("/fifo", 404),
        ("/device", 404),
        ("/small.txt%00", 400),
        ("/%c0%aesmall.txt", 404),
        ("/sm%61ll.txt", 200),
        ("/sm%2561ll.txt", 404),
    ],
    ids=lambda value: str(value)[:24],
)
def test_strange_names_are_answered(
    server: hrmr.Server, site: Path, path: str, status: int
) -> None:
    os.mkfifo(site / "fifo")
    (site / "device").symlink_to("/dev/zero")
    with socket.socket(socket.AF_UNIX) as listener, contextlib.chdir(site):
        listener.bind("socket")
        for method in ("GET", "HEAD"):
            assert get(server.port, path, method).status == status


def test_ranges_that_ask_for_too_much_get_the_whole(server: hrmr.Server) -> None:
    many = ",".join(f"{at * 1000}-{at * 1000 + 1}" for at in range(200))
    response, body = ask(server, "/large.bin", Range=f"bytes={many}")
    assert (response.status, body) == (200, LARGE)
    again = ",".join(["0-"] * 32)
    response, body = ask(server, "/large.bin", Range=f"bytes={again}")
    assert (response.status, body) == (206, LARGE)


# ------------------------------------------------------------------------- files that change


@pytest.mark.parametrize("size", [10, 200_000], ids=["cached", "sendfile"])
def test_every_edit_is_seen_by_the_next_request(
    start_server: StartServer, site: Path, size: int
) -> None:
    server = start_server(bundled=True, static=site, loops=2)
    path = site / "edited.txt"
    clients = [Client(server.port) for _ in range(4)]
    for number in range(120):
        content = f"{number:08}" * (size // 8)
        match number % 4:
            case 0:
                path.write_text(content)
            case 1:
                fresh = site / "fresh"
                write_old(fresh, content)  # same size, same time as the last one
                fresh.replace(path)
            case 2:
                path.unlink()
                assert clients[0].get("/edited.txt").status == 404
                path.write_text(content)
            case _:
                path.write_text(content)
                os.utime(path, (OLD + number, OLD + number))
        for client in clients:
            for _ in range(2):
                assert client.get("/edited.txt").text == content
    for client in clients:
        client.socket.close()


def test_readers_never_see_a_mixture_while_files_are_replaced(
    start_server: StartServer, site: Path
) -> None:
    server = start_server(bundled=True, static=site, loops=2)
    sizes = {"a.txt": 3000, "b.txt": 150_000}
    is_over = threading.Event()
    wrong: list[str] = []
    answers: list[int] = []

    def replace(number: int) -> None:
        for name, size in sizes.items():
            fresh = site / f"fresh.{name}"
            fresh.write_text(chr(ord("a") + number % 26) * size)
            fresh.replace(site / name)

    def read() -> None:
        count = 0
        with Client(server.port) as client:
            while not is_over.is_set():
                for name, size in sizes.items():
                    response = client.get(f"/{name}")
                    count += 1
                    if len(response.body) != size or len(set(response.body)) != 1:
                        wrong.append(f"{response.status} {name} {set(response.body)}")
        answers.append(count)

    replace(0)
    readers = [threading.Thread(target=read) for _ in range(3)]
    for reader in readers:
        reader.start()
    for number in range(200):
        replace(number)
    is_over.set()
    for reader in readers:
        reader.join(DEADLINE_S)
    assert not wrong
    assert len(answers) == 3
    assert min(answers) > 0


def slow_download(server: hrmr.Server, path: str) -> tuple[Client, bytes]:
    """A client whose answer has begun, and waits for it to read on."""
    client = Client(server.port)
    client.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
    client.send(http_request(path))
    begun = client.socket.recv(1000)
    assert begun.startswith(b"HTTP/1.1 200 OK\r\n")
    return client, begun


def test_file_that_is_deleted_or_replaced_meanwhile_arrives_whole(
    server: hrmr.Server, site: Path
) -> None:
    content = os.urandom(1 << 20) * 32
    for change in ("delete", "replace"):
        write_old(site / "movie.bin", content)
        client, answer = slow_download(server, "/movie.bin")
        if change == "delete":
            (site / "movie.bin").unlink()
        else:
            (site / "fresh").write_bytes(b"new" * 1000)
            (site / "fresh").replace(site / "movie.bin")
        head_bytes = answer.index(b"\r\n\r\n") + 4
        received = bytearray(answer[head_bytes:])
        while len(received) < len(content):
            piece = client.socket.recv(1 << 20)
            assert piece
            received += piece
        client.socket.close()
        assert hashlib.sha256(received).digest() == hashlib.sha256(content).digest()


def test_file_that_is_cut_short_meanwhile_ends_the_connection(
    server: hrmr.Server, site: Path
) -> None:
    size = 64 << 20
    with (site / "movie.bin").open("wb") as file:
        file.truncate(size)
    client, answer = slow_download(server, "/movie.bin")
    os.truncate(site / "movie.bin", 1000)
    received = len(answer)
    with contextlib.suppress(ConnectionResetError):
        while piece := client.socket.recv(1 << 20):
            received += len(piece)
    client.socket.close()
    assert received < size
    assert len(get(server.port, "/movie.bin").body) == 1000
    assert get(server.port, "/small.txt").text == "0123456789"


def test_descriptors_are_given_back(start_server: StartServer, site: Path) -> None:
    config = {"http": {"cache_entries": 0}}
    server = start_server(bundled=True, static=site, config=config)
    for number in range(50):
        write_old(site / f"{number}.bin", LARGE[: 70_000 + number])
    get(server.port, "/0.bin")
    before = descriptors()
    for number in range(50):
        ask(server, f"/{number}.bin", Range="bytes=0-9,1000-1009,-9")
        assert ask(server, f"/{number}.bin", If_None_Match="*")[0].status == 304
        client, _ = slow_download(server, "/large.bin")
        client.socket.close()  # in the middle of it
        for path in ("/none", "/", "/small.txt", "/%00"):
            get(server.port, path)
            get(server.port, path, "POST", b"x")
    assert eventually(lambda: descriptors() <= before)


def test_cache_holds_no_more_descriptors_than_it_may(start_server: StartServer, site: Path) -> None:
    server = start_server(bundled=True, static=site)
    for number in range(400):
        write_old(site / f"{number}.bin", LARGE[:70_000])
    await_settled(server, "/399.bin")  # and all before it
    before = descriptors()
    with Client(server.port) as client:
        for number in range(400):
            assert len(client.get(f"/{number}.bin").body) == 70_000
        assert before + 50 < descriptors() <= before + 256 + 8


# ------------------------------------------------------------------------------------ settings


def test_settings_are_obeyed(start_server: StartServer, site: Path) -> None:
    write_old(site / "home.htm", "home")
    config = {
        "http": {
            "index": "none.html home.htm",
            "cache_control": "public, max-age=60",
            "precompressed": False,
            "cache_bytes": "1M",
            "cache_entries": 10,
            "cache_file_bytes": 4,
            "check_ms": 5,
        }
    }
    server = start_server(bundled=True, static=site, config=config)
    response = get(server.port, "/")
    assert response.text == "home"
    assert response.headers["cache-control"] == "public, max-age=60"


@pytest.mark.parametrize(
    "setting",
    [
        ("cache_bytes", "much", "must be 0 to 68719476736 bytes"),
        ("check_ms", -1, "must be a whole number, 0 to 3600000"),
        ("precompressed", "yes", "must be true or false"),
        ("index", "../index.html", "must be names of files"),
    ],
)
def test_setting_that_makes_no_sense_is_named(
    start_server: StartServer,
    site: Path,
    caplog: pytest.LogCaptureFixture,
    setting: tuple[str, object, str],
) -> None:
    key, value, rule = setting
    server = start_server(bundled=True, static=site, config={"http": {key: value}})
    expected = f'[modules.http] {key} = "{value}": {rule}'
    assert eventually(lambda: expected in caplog.text)
    assert get(server.port, "/small.txt").status == 404


HTTP_KEYS = (
    "root, index, cache_control, precompressed, cache_entries, cache_bytes, cache_file_bytes, "
    "check_ms"
)


@pytest.mark.parametrize(("module", "keys"), [("http", HTTP_KEYS), ("files", "root, name")])
def test_setting_that_there_is_not_is_named_with_those_there_are(
    start_server: StartServer, caplog: pytest.LogCaptureFixture, module: str, keys: str
) -> None:
    server = start_server(bundled=True, config={module: {"cache_contrl": "no-store"}})
    expected = f"[modules.{module}] cache_contrl: no such key; the keys are {keys}"
    assert eventually(lambda: expected in caplog.text)
    assert module not in [each.name for each in server.modules]
