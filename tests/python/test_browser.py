"""The bundled module http, seen by a real browser: headless Chromium loads a page with its assets,
seeks in an audio element, and reports to a route of this test. A proxy between the two writes down
what the browser asks for."""

import json
import os
import re
import socket
import struct
import threading
import wave
import zlib
from collections.abc import Iterator
from pathlib import Path

import hrmr
import pytest
from browser import chromium
from conftest import StartServer
from wire_client import DEADLINE_S

RATE = 8000
SECONDS = 3600  # 55 MiB: more than a browser takes ahead of what it plays

PAGE = """<!doctype html>
<html lang="en">
<meta charset="utf-8">
<title>browser test</title>
<link rel="stylesheet" href="style.css">
<script src="early.js" defer></script>
<body>
<p id="text">unstyled</p>
<img id="svg" src="icon.svg" alt=""><img id="png" src="dot.png" alt="">
<audio id="tone" src="tone.wav" preload="metadata"></audio>
<script type="module" src="page.mjs"></script>
"""

# Each line of the report is a fact; what throws is one too.
SCRIPT = """
const report = {};
const loaded = new Promise(done => addEventListener("load", done));
async function note(name, find) {
  try { report[name] = await find(); } catch (error) { report[name] = `threw ${error}`; }
}
const text = async (path, options) => (await fetch(path, options)).text();
await loaded;
await note("colour", () => getComputedStyle(document.getElementById("text")).color);
await note("early", () => window.early);
await note("svg", () => document.getElementById("svg").naturalWidth);
await note("png", () => document.getElementById("png").naturalWidth);
await note("module", async () => (await import("./sub/part.mjs")).answer);
await note("umlaut", () => text("sub/%C3%BC%20+.txt"));
await note("folder", async () => (await fetch("sub")).url.replace(location.origin, ""));
await note("coded", () => text("coded.txt"));
await note("json", async () => (await fetch("numbers.json")).json());
await note("revalidated", async () => (await fetch("numbers.json", {cache: "no-cache"})).json());
await note("missing", async () => (await fetch("missing.txt")).status);
await note("refused", async () => (await fetch("style.css", {method: "DELETE"})).status);
await note("part", async () => {
  const answer = await fetch("tone.wav", {headers: {Range: "bytes=0-3"}});
  return [answer.status, await answer.text()];
});
await note("seek", () => new Promise((done, failed) => {
  const tone = document.getElementById("tone");
  const seek = () => {
    tone.onseeked = () => done([Math.round(tone.duration), Math.round(tone.currentTime)]);
    tone.currentTime = 3000;
  };
  tone.onerror = () => failed(tone.error.message);
  tone.readyState >= 1 ? seek() : tone.onloadedmetadata = seek;
}));
await fetch("/report", {method: "POST", body: JSON.stringify(report)});
"""


def png_of_one_pixel() -> bytes:
    def chunk(kind: bytes, content: bytes) -> bytes:
        checksum = zlib.crc32(kind + content)
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", checksum)

    head = struct.pack(">IIBBBBB", 1, 1, 8, 2, 0, 0, 0)
    pixels = zlib.compress(b"\0\xff\0\0")
    chunks = chunk(b"IHDR", head) + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + chunks


@pytest.fixture
def site(tmp_path: Path) -> Path:
    folder = tmp_path / "site"
    (folder / "sub").mkdir(parents=True)
    files = {
        "index.html": PAGE,
        "page.mjs": SCRIPT,
        "style.css": "#text { color: rgb(1, 2, 3) }",
        "early.js": 'window.early = "ran";',
        "icon.svg": '<svg xmlns="http://www.w3.org/2000/svg" width="12" height="12"/>',
        "numbers.json": "[1, 2]",
        "sub/index.html": "<p>sub",
        "sub/part.mjs": "export const answer = 42;",
        "sub/ü +.txt": "umlaut",
        "coded.txt": "as it is",
    }
    for name, content in files.items():
        (folder / name).write_text(content)
    (folder / "dot.png").write_bytes(png_of_one_pixel())
    (folder / "coded.txt.gz").write_bytes(_gzip(b"coded before"))
    with wave.open(str(folder / "tone.wav"), "wb") as tone:
        tone.setnchannels(1)
        tone.setsampwidth(2)
        tone.setframerate(RATE)
        second = b"".join(struct.pack("<h", 8000 if at // 10 % 2 else -8000) for at in range(RATE))
        for _ in range(SECONDS):
            tone.writeframesraw(second)
    for path in folder.rglob("*"):
        os.utime(path, (1_700_000_000, 1_700_000_000))
    return folder


def _gzip(content: bytes) -> bytes:
    packer = zlib.compressobj(wbits=31)
    return packer.compress(content) + packer.flush()


class Proxy:
    """Hands connections on to `port` and keeps what the clients sent."""

    def __init__(self, port: int) -> None:
        self.sent = bytearray()
        self._target = port
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        self._listener.close()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            server = socket.create_connection(("127.0.0.1", self._target))
            for pair in ((client, server, True), (server, client, False)):
                threading.Thread(target=self._pass_on, args=pair, daemon=True).start()

    def _pass_on(self, source: socket.socket, target: socket.socket, is_kept: bool) -> None:
        try:
            while piece := source.recv(65536):
                if is_kept:
                    self.sent += piece
                target.sendall(piece)
            target.shutdown(socket.SHUT_WR)
        except OSError:
            for end in (source, target):
                end.close()


@pytest.fixture
def proxy(server: hrmr.Server) -> Iterator[Proxy]:
    made = Proxy(server.port)
    yield made
    made.close()


@pytest.fixture
def reports() -> list[dict[str, object]]:
    return []


@pytest.fixture
def arrived() -> threading.Event:
    return threading.Event()


@pytest.fixture
def server(
    start_server: StartServer,
    site: Path,
    modules: Path,
    reports: list[dict[str, object]],
    arrived: threading.Event,
) -> hrmr.Server:
    server = start_server(bundled=True, static=site)

    @server.route("POST /report")
    def take(request: hrmr.Request) -> str:
        reports.append(json.loads(request.body))
        arrived.set()
        return "thanks\n"

    return server


@pytest.mark.timeout(240)
def test_browser_loads_a_page_with_its_assets_and_seeks_in_media(
    proxy: Proxy, tmp_path: Path, reports: list[dict[str, object]], arrived: threading.Event
) -> None:
    with chromium(f"http://127.0.0.1:{proxy.port}/", tmp_path) as log:
        assert arrived.wait(3 * DEADLINE_S), log.read_text()
    assert reports[0] == {
        "colour": "rgb(1, 2, 3)",
        "early": "ran",
        "svg": 12,
        "png": 1,
        "module": 42,
        "umlaut": "umlaut",
        "folder": "/sub/",
        "coded": "coded before",
        "json": [1, 2],
        "revalidated": [1, 2],
        "missing": 404,
        "refused": 405,
        "part": [206, "RIFF"],
        "seek": [SECONDS, 3000],
    }
    sent = proxy.sent.decode("latin-1")
    ranges = [int(first) for first in re.findall(r"\r\nRange: bytes=(\d+)-", sent)]
    assert 0 in ranges
    assert max(ranges) > 2900 * RATE * 2, "the browser did not seek by range"
    assert re.search(r'GET /numbers.json [^\0]*?\r\nIf-None-Match: "', sent)
