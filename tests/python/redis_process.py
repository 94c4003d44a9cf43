"""A real redis-server, beside which HRMR is held, and what both can be asked."""

import contextlib
import socket
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from conftest import Compile, HrmrProcess, place
from wire_client import DEADLINE_S

_TRIES_MAX = 5  # another process may take the port between our look and the server's bind
_POLL_S = 0.01


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _answers(process: subprocess.Popen[bytes], port: int) -> bool:
    """Whether it listens; waits until it does or has ended."""
    deadline = time.monotonic() + DEADLINE_S
    while process.poll() is None and time.monotonic() < deadline:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port)) as client:
            client.sendall(b"PING\r\n")
            return bool(client.recv(64))  # PONG, or that it wants a password
        time.sleep(_POLL_S)
    return False


@contextlib.contextmanager
def redis_server(folder: Path, *settings: str) -> Iterator[int]:
    """Runs redis-server, without persistence and with DEBUG; gives its port on 127.0.0.1."""
    for _ in range(_TRIES_MAX):
        port = _free_port()
        command = ["redis-server", "--port", str(port), "--bind", "127.0.0.1", "--dir", str(folder)]
        command += ["--save", "", "--appendonly", "no", "--enable-debug-command", "yes", *settings]
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        try:
            if _answers(process, port):
                yield port
                return
        finally:
            process.kill()
            process.wait(DEADLINE_S)
    raise AssertionError("redis-server does not start")


# How a real Redis is asked for what the module modules/values.cpp gives; the rest by DEBUG
# PROTOCOL.
_IN_REDIS = {
    "bytes": ["EVAL", r"return '\0\255\r\n'", "0"],
    "list": ["EVAL", "return {1, 'a', {'b'}}", "0"],
    "error": ["EVAL", "return redis.error_reply('SHOP closed for today')", "0"],
}


@dataclass(frozen=True)
class Peer:
    """A server, and the words that ask it for a value."""

    port: int
    is_redis: bool

    def words(self, kind: str) -> list[str]:
        if self.is_redis:
            return _IN_REDIS.get(kind, ["DEBUG", "PROTOCOL", kind])
        return ["VALUE", kind]


@contextlib.contextmanager
def hrmr_server(folder: Path, *flags: str) -> Iterator[int]:
    """Runs `hrmr` with what is in folder/modules; gives its port."""
    server = HrmrProcess(["--no-bundled", "--port", "0", *flags], folder, {})
    try:
        yield server.port
    finally:
        server.kill()


@contextlib.contextmanager
def peer_named(name: str, folder: Path, build: Compile) -> Iterator[Peer]:
    """The server "redis-server", or "hrmr" with the module `values` beside folder/modules."""
    if name == "redis-server":
        with redis_server(folder) as port:
            yield Peer(port, is_redis=True)
    else:
        (folder / "modules").mkdir(exist_ok=True)
        place(build("values"), folder / "modules")
        with hrmr_server(folder) as port:
            yield Peer(port, is_redis=False)
