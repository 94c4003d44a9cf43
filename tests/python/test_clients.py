"""Clients that people use: nc, curl, and Node's net and fetch."""

import subprocess
from pathlib import Path

import hrmr
import pytest
from conftest import StartServer
from wire_client import DEADLINE_S


@pytest.fixture
def server(start_server: StartServer, probe: Path) -> hrmr.Server:
    return start_server(bundled=True)


def run(command: list[str], sent: bytes = b"") -> bytes:
    return subprocess.run(
        command, input=sent, stdout=subprocess.PIPE, timeout=DEADLINE_S, check=True
    ).stdout


# ------------------------------------------------------------------------------------------- nc


def test_nc_gets_answers_to_a_half_closed_connection(server: hrmr.Server) -> None:
    command = ["nc", "-N", "127.0.0.1", str(server.port)]
    assert run(command, b"HELLO\nECHO one\nPOOL two") == b"hello from C\none\npool two\n"


def test_nc_gets_answers_and_is_closed_when_it_says_so(server: hrmr.Server) -> None:
    command = ["nc", "127.0.0.1", str(server.port)]
    assert run(command, b"HELLO bob\r\nECHO one\r\nCLOSE\r\n") == b"hello bob\none\n"


def test_nc_can_speak_http(server: hrmr.Server) -> None:
    command = ["nc", "-N", "127.0.0.1", str(server.port)]
    answer = run(command, b"GET /pool HTTP/1.1\r\nHost: a\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 200 OK\r\n")
    assert answer.endswith(b"\r\n\r\npool /pool\n")


# ----------------------------------------------------------------------------------------- curl


def curl(*arguments: str, sent: bytes = b"") -> bytes:
    return run(["curl", "--silent", "--show-error", "--fail-with-body", *arguments], sent)


def test_curl_keeps_its_connection(server: hrmr.Server) -> None:
    urls = [f"{server.url}/pool?{n}" for n in range(20)]
    report = curl("--write-out", "%{num_connects}\n", *urls).decode().splitlines()
    assert report[::2] == [f"pool /pool?{n}" for n in range(20)]
    assert report[1::2] == ["1"] + ["0"] * 19


def test_curl_in_parallel(server: hrmr.Server) -> None:
    urls = [f"{server.url}/pool?[1-200]"]
    answers = curl("--parallel", "--parallel-max", "50", *urls).decode().splitlines()
    assert sorted(answers) == sorted(f"pool /pool?{n}" for n in range(1, 201))


def test_curl_posts_and_asks_for_a_head(server: hrmr.Server) -> None:
    assert curl("--data", "a=1&b=2", f"{server.url}/echo") == b"a=1&b=2"
    head = curl("--head", f"{server.url}/").decode()
    assert head.startswith("HTTP/1.1 200 OK\r\n")
    assert "Content-Type: text/html; charset=utf-8\r\n" in head


def test_curl_that_offers_http_2_is_answered_in_http_1(server: hrmr.Server) -> None:
    assert curl("--http2", f"{server.url}/inline") == b"inline /inline\n"


# ----------------------------------------------------------------------------------------- Node

NODE_LINES = """
const net = require("node:net");
const socket = net.connect({ port: PORT, host: "127.0.0.1" });
let text = "";
socket.setEncoding("utf8");
socket.on("data", (part) => (text += part));
socket.on("end", () => {
  const wanted = [...Array(500).keys()].map((n) => `${n % 2 ? "pool" : "inline"} ${n}\\n`).join("");
  if (text !== wanted) throw new Error(`got ${text.slice(0, 200)}`);
  console.log("ok");
});
for (let n = 0; n < 500; n += 1) socket.write(`${n % 2 ? "POOL" : "INLINE"} ${n}\\n`);
socket.end();
"""

NODE_FETCH = """
const http = require("node:http");
const base = "http://127.0.0.1:PORT";

async function main() {
  const answers = await Promise.all(
    [...Array(200).keys()].map(async (n) => {
      const response = await fetch(`${base}/echo`, { method: "POST", body: `body ${n}` });
      return (await response.text()) === `body ${n}` && response.status === 200;
    }),
  );
  if (!answers.every(Boolean)) throw new Error("a wrong answer");
  const missing = await fetch(`${base}/nowhere`);
  if (missing.status !== 404) throw new Error(`${missing.status}`);
  await missing.text();

  const agent = new http.Agent({ keepAlive: true, maxSockets: 1 });
  const ports = new Set();
  for (let n = 0; n < 50; n += 1) {
    await new Promise((resolve, reject) => {
      const request = http.get(`${base}/pool?${n}`, { agent }, (response) => {
        ports.add(response.socket.localPort);
        let text = "";
        response.on("data", (part) => (text += part));
        response.on("end", () => (text === `pool /pool?${n}\\n` ? resolve() : reject(text)));
      });
      request.on("error", reject);
    });
  }
  if (ports.size !== 1) throw new Error(`${ports.size} connections`);
  agent.destroy();
  console.log("ok");
  process.exit(0);
}

main().catch((error) => {
  console.error(error);
  process.exit(1);
});
"""


@pytest.mark.parametrize("script", [NODE_LINES, NODE_FETCH], ids=["net", "fetch and keep-alive"])
def test_node_talks_to_it(server: hrmr.Server, script: str) -> None:
    assert run(["node", "-e", script.replace("PORT", str(server.port))]) == b"ok\n"


def test_node_example_works(server: hrmr.Server) -> None:
    example = Path(__file__).parents[2] / "examples" / "node" / "client.mjs"
    lines = run(["node", str(example), str(server.port)]).decode().splitlines()
    assert lines[0] == "hello node"
    assert lines[-1].startswith("200 application/json")
