"""What changes the server, asked for over HTTP: by programs, by pages of its own, and by pages that
are a stranger's, in the words of browsers and by a real one. (Tokens: test_admin.py.)"""

import http.client
import json
import threading
from dataclasses import dataclass, field
from pathlib import Path

import hrmr
import pytest
from browser import chromium
from conftest import StartServer
from wire_client import DEADLINE_S, Client

COMMAND = "/call/CALLS.NOTE"
ADMIN = ("/hrmr/reload", "/hrmr/shutdown")


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


@pytest.fixture
def server(start_server: StartServer, noted: Noted) -> hrmr.Server:
    return noted.serve(start_server(admin_host="router.internal"))


def post(server: hrmr.Server, path: str, headers: list[str], version: str = "1.1") -> int:
    """The status. `{port}` in a header is the server's."""
    body = b'["x"]' if path == COMMAND else b""
    lines = [line.replace("{port}", str(server.port)) for line in headers]
    head = [f"POST {path} HTTP/{version}", *lines, f"Content-Length: {len(body)}", "", ""]
    with Client(server.port) as client:
        client.send("\r\n".join(head).encode() + body)
        return client.read_response().status


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
    server: hrmr.Server, noted: Noted, headers: list[str]
) -> None:
    for path in (COMMAND, *ADMIN):
        assert post(server, path, headers) == 403
    assert noted.calls == []
    assert not server.wait(0)


@pytest.mark.parametrize(
    "name",
    [
        *("evil.example", "127.0.0.1.evil.example", "localhost.evil.example", "router"),
        *("localhost.", "app.localhost", "127.1", "0x7f.0.0.1", "2130706433", "[::1].evil.example"),
    ],
)
def test_page_whose_name_was_pointed_at_us_is_refused(
    server: hrmr.Server, noted: Noted, name: str
) -> None:
    status = 400 if "[" in name else 403
    for authority in (name, name + ":{port}"):
        for mark in (f"Origin: http://{authority}", "Origin: null", "Sec-Fetch-Site: same-origin"):
            for path in (COMMAND, *ADMIN):
                assert post(server, path, [f"Host: {authority}", mark]) == status
    assert noted.calls == []
    assert not server.wait(0)


def test_page_is_refused_without_a_host_and_behind_other_requests(
    server: hrmr.Server, noted: Noted
) -> None:
    assert post(server, COMMAND, ["Origin: http://127.0.0.1"], "1.0") == 403
    good = f"POST {COMMAND} HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n"
    evil = good.replace("Host: a", "Host: 127.0.0.1\r\nOrigin: null")
    with Client(server.port) as client:
        # The first ones are on their way to a thread when it is looked at.
        client.send(f"{good}\r\n" * 3 + f"{evil}\r\n" + f"{good}\r\n")
        statuses = [client.read_response().status for _ in range(5)]
    assert statuses == [200, 200, 200, 403, 200]
    assert len(noted.calls) == 4


@pytest.mark.parametrize(
    "authority",
    [
        *("127.0.0.1:{port}", "localhost:{port}", "LocalHost:{port}", "localhost", "[::1]:{port}"),
        *("[::1]", "10.1.2.3:{port}", "[2001:db8::1]:80", "router.internal", "Router.Internal:80"),
    ],
)
def test_page_of_our_own_is_taken(server: hrmr.Server, noted: Noted, authority: str) -> None:
    for marks in (
        [f"Origin: http://{authority}"],
        [f"Origin: https://{authority}"],  # behind a proxy that speaks TLS
        [f"Origin: http://{authority.lower()}", "Sec-Fetch-Site: same-origin"],
        ["Sec-Fetch-Site: none"],
    ):
        for path in (COMMAND, "/hrmr/reload"):
            assert post(server, path, [f"Host: {authority}", *marks]) == 200
    assert len(noted.calls) == 4


def test_programs_say_no_origin_and_are_taken(server: hrmr.Server, noted: Noted) -> None:
    for host in ("127.0.0.1:{port}", "localhost", "[::1]:{port}", "router.internal"):
        for path in (COMMAND, "/hrmr/reload"):
            assert post(server, path, [f"Host: {host}", "User-Agent: curl/8.5.0"]) == 200
    # By any name, but for what is the server's own.
    assert post(server, COMMAND, ["Host: any.example"]) == 200
    assert post(server, COMMAND, [], "1.0") == 200
    assert len(noted.calls) == 6
    assert post(server, "/hrmr/reload", ["Host: any.example"]) == 403
    assert post(server, "/hrmr/reload", [], "1.0") == 403


def test_a_page_cannot_call_by_another_method(server: hrmr.Server, noted: Noted) -> None:
    for method in ("GET", "HEAD", "PUT", "OPTIONS", "PATCH"):
        with Client(server.port) as client:
            client.send(f"{method} {COMMAND} HTTP/1.1\r\nHost: localhost\r\n\r\n")
            response = client.read_response(head_only=method == "HEAD")
            assert (response.status, response.headers["allow"]) == (405, "POST")
    assert noted.calls == []


def test_programs_and_pages_over_ipv6(start_server: StartServer, noted: Noted) -> None:
    server = noted.serve(start_server(host="::1"))
    own = {"Origin": f"http://[::1]:{server.port}"}
    for headers, status in (({}, 200), (own, 200), ({"Origin": "http://[::1]"}, 403)):
        for path in (COMMAND, "/hrmr/reload"):
            connection = http.client.HTTPConnection("::1", server.port, timeout=DEADLINE_S)
            connection.request("POST", path, "", headers)
            assert connection.getresponse().status == status
            connection.close()
    assert len(noted.calls) == 2


# ------------------------------------------------------------------------------- by a browser

PAGE = """<!doctype html><meta charset="utf-8"><title>page</title><body>
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
    (folder / "index.html").write_text(PAGE.replace("TARGET", target))
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
    assert not target.wait(0)


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
    assert not server.wait(0)


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
