"""The bundled module http, seen by a real browser: headless Chromium loads a page with its assets,
seeks in an audio element, and reports to a route of this test. A proxy between the two writes down
what the browser asks for. And what a page can do that is a stranger's: nothing to the server."""

import json
import os
import re
import socket
import struct
import threading
import wave
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import hrmr
import pytest
from browser import chromium
from conftest import StartServer
from wire_client import DEADLINE_S, is_refused

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


# ---------------------------------------------------------------------- pages that are a stranger's


@dataclass
class Noted:
    """What the command was called with, and what pages have reported."""

    calls: list[str] = field(default_factory=list)
    reports: list[dict[str, object]] = field(default_factory=list)
    arrived: threading.Event = field(default_factory=threading.Event)

    def serve(self, server: hrmr.Server) -> hrmr.Server:
        @server.command("CALLS.NOTE")
        def note(arguments: list[bytes]) -> int:
            self.calls.append(b" ".join(arguments).decode())
            return len(self.calls)

        @server.route("POST /report")
        def report(request: hrmr.Request) -> str:
            self.reports.append(json.loads(request.body))
            self.arrived.set()
            return "thanks\n"

        return server


@pytest.fixture
def noted() -> Noted:
    return Noted()


def serves(server: hrmr.Server) -> bool:
    """Whether nobody has shut it down, nor begun to."""
    return not server.wait(0) and not is_refused(server.port)


ASKING_PAGE = """<!doctype html><meta charset="utf-8"><title>page</title><body>
<script>const target = "TARGET";</script><script src="page.js"></script>"""

ASK = """
const report = {};
async function note(name, find) {
  try { report[name] = await find(); } catch (error) { report[name] = "threw"; }
}
const call = (text, options) =>
  fetch(target + "/call/CALLS.NOTE", {method: "POST", body: `["${text}"]`, ...options});
const tell = () => fetch("/report", {method: "POST", body: JSON.stringify(report)});
"""

# All that a page can do to send a POST, and what it can see of the answer.
ATTACK = (
    ASK
    + """
const status = async answer => (await answer).status;
function submit(path, name, value) {
  const frame = document.createElement("iframe");
  frame.name = "frame" + document.querySelectorAll("iframe").length;
  document.body.append(frame);
  const form = document.body.appendChild(document.createElement("form"));
  Object.assign(form, {action: target + path, method: "POST", enctype: "text/plain"});
  form.target = frame.name;
  const input = form.appendChild(document.createElement("input"));
  Object.assign(input, {name, value});
  return new Promise(done => { frame.onload = () => done("loaded"); form.submit(); });
}
const load = (tag, path) => new Promise(done => {
  const element = document.createElement(tag);
  element.onload = element.onerror = () => done("over");
  element.src = target + path;
  document.body.append(element);
});
(async () => {
  await note("fetch", () => status(call("fetch")));
  await note("blind", () => status(call("blind", {mode: "no-cors"})));
  await note("discreet", () => status(call("discreet", {referrerPolicy: "no-referrer"})));
  await note("json", () => status(call("json", {headers: {"Content-Type": "application/json"}})));
  await note("kept", () => status(call("kept", {mode: "no-cors", keepalive: true})));
  await note("beacon", () => navigator.sendBeacon(target + "/call/CALLS.NOTE", '["beacon"]'));
  await note("form", () => submit("/call/CALLS.NOTE", '["form', '"]'));
  await note("image", () => load("img", "/call/CALLS.NOTE"));
  await note("script", () => load("script", "/call/CALLS.NOTE"));
  await note("reload", () => submit("/hrmr/reload", "", ""));
  await note("shutdown", () => submit("/hrmr/shutdown", "", ""));
  await note("blind shutdown", () => status(
    fetch(target + "/hrmr/shutdown", {method: "POST", mode: "no-cors"})));
  await tell();
})();
"""
)

OWN = (
    ASK
    + """
(async () => {
  await note("call", async () => (await call("own")).text());
  await note("reload", async () => (await fetch("/hrmr/reload", {method: "POST"})).status);
  await tell();
})();
"""
)


def write_page(folder: Path, script: str, target: str = "") -> Path:
    folder.mkdir()
    (folder / "index.html").write_text(ASKING_PAGE.replace("TARGET", target))
    (folder / "page.js").write_text(script)
    return folder


def show(url: str, folder: Path, noted: Noted) -> dict[str, object]:
    """What the page reports, in a browser for which every name of .example is this machine."""
    flags = ("--host-resolver-rules=MAP *.example 127.0.0.1", "--disable-features=HttpsUpgrades")
    with chromium(url, folder, *flags) as log:
        assert noted.arrived.wait(3 * DEADLINE_S), log.read_text()
    return noted.reports[0]


@pytest.mark.timeout(240)
def test_browser_calls_nothing_for_a_page_of_another_site(
    start_server: StartServer, noted: Noted, tmp_path: Path
) -> None:
    target = noted.serve(start_server())
    page = write_page(tmp_path / "site", ATTACK, f"http://127.0.0.1:{target.port}")
    evil = Noted()
    site = evil.serve(start_server(bundled=True, static=page))
    report = show(f"http://evil.example:{site.port}/", tmp_path, evil)
    blind = ("blind", "kept", "blind shutdown")
    assert {name: report[name] for name in blind} == dict.fromkeys(blind, 0)
    seen = ("fetch", "discreet", "json")
    assert {name: report[name] for name in seen} == dict.fromkeys(seen, "threw")
    assert (report["beacon"], report["form"], report["shutdown"]) == (True, "loaded", "loaded")
    assert noted.calls == []
    assert serves(target)


@pytest.mark.timeout(240)
def test_browser_calls_nothing_for_a_page_whose_name_was_pointed_at_us(
    start_server: StartServer, noted: Noted, tmp_path: Path
) -> None:
    page = write_page(tmp_path / "site", ATTACK)
    server = noted.serve(start_server(bundled=True, static=page))
    report = show(f"http://rebound.example:{server.port}/", tmp_path, noted)
    seen = ("fetch", "blind", "discreet", "json", "kept", "blind shutdown")
    assert {name: report[name] for name in seen} == dict.fromkeys(seen, 403)
    assert noted.calls == []
    assert serves(server)


@pytest.mark.timeout(240)
@pytest.mark.parametrize("name", ["127.0.0.1", "localhost", "router.example"])
def test_browser_calls_for_a_page_of_our_own(
    start_server: StartServer, noted: Noted, tmp_path: Path, name: str
) -> None:
    page = write_page(tmp_path / "site", OWN)
    server = noted.serve(start_server(bundled=True, static=page, admin_host="router.example"))
    report = show(f"http://{name}:{server.port}/", tmp_path, noted)
    assert report == {"call": "1\n", "reload": 200}
    assert noted.calls == ["own"]
