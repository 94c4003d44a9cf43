"""A TCP client that shows what is on the wire. Every wait ends at a deadline."""

import os
import random
import select
import socket
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from types import TracebackType
from typing import Self

# Generous: also for one core that runs everything under a sanitizer. Nothing waits for it in full
# unless it fails.
DEADLINE_S = 60.0
_POLL_S = 0.002


@dataclass
class Response:
    """One HTTP response. `headers` by lower-case name; a repeated one is a defect here."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def text(self) -> str:
        return self.body.decode()

    @property
    def closes(self) -> bool:
        return self.headers.get("connection", "").lower() == "close"


class Client:
    """One connection to 127.0.0.1."""

    def __init__(self, port: int) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), DEADLINE_S)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._received = bytearray()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.socket.close()

    def send(self, sent: bytes | str) -> None:
        self.socket.sendall(as_bytes(sent))

    def send_parts(self, parts: Iterable[bytes]) -> None:
        """Each part is a segment of its own. A server that has heard enough may hang up."""
        try:
            for part in parts:
                self.socket.sendall(part)
        except (BrokenPipeError, ConnectionResetError):
            pass

    def half_close(self) -> None:
        self.socket.shutdown(socket.SHUT_WR)

    def ask(self, line: str) -> str:
        """Sends one line; the one line that answers it, without its end."""
        self.send(line + "\n")
        return self.read_line()

    def get(self, path: str, method: str = "GET", body: bytes = b"") -> Response:
        self.send(http_request(path, method, body))
        return self.read_response(head_only=method == "HEAD")

    def read_line(self) -> str:
        return self._read_through(b"\n")[:-1].decode()

    def read_exactly(self, size: int) -> bytes:
        while len(self._received) < size:
            self._read_some()
        taken = bytes(self._received[:size])
        del self._received[:size]
        return taken

    def read_to_end(self) -> bytes:
        """All that comes until the server closes. A reset is an error."""
        while part := self.socket.recv(1 << 16):
            self._received += part
        return self.read_exactly(len(self._received))

    def read_response(self, head_only: bool = False) -> Response:
        head = self._read_through(b"\r\n\r\n").decode("latin-1")
        status_line, *lines = head[:-4].split("\r\n")
        version, status, _ = status_line.split(" ", 2)
        assert version == "HTTP/1.1"
        pairs = [line.split(": ", 1) for line in lines]
        headers = {name.lower(): value for name, value in pairs}
        assert len(headers) == len(pairs)
        has_body = not head_only and int(status) not in (100, 204, 304)
        body = self.read_exactly(int(headers["content-length"])) if has_body else b""
        return Response(int(status), headers, body)

    def has_input(self) -> bool:
        """Whether something, or the end, has arrived that was not read yet."""
        return bool(self._received or select.select([self.socket], [], [], 0)[0])

    def _read_through(self, end: bytes) -> bytes:
        start = 0
        while (found := self._received.find(end, start)) < 0:
            start = max(0, len(self._received) - len(end))
            self._read_some()
        return self.read_exactly(found + len(end))

    def _read_some(self) -> None:
        part = self.socket.recv(1 << 20)
        if not part:
            raise EOFError(f"closed after {bytes(self._received[-200:])!r}")
        self._received += part


def as_bytes(sent: bytes | str) -> bytes:
    return sent.encode() if isinstance(sent, str) else sent


def http_request(path: str, method: str = "GET", body: bytes = b"", headers: str = "") -> bytes:
    """`headers`: further ones, each with its CR LF."""
    length = f"Content-Length: {len(body)}\r\n" if body or method == "POST" else ""
    return f"{method} {path} HTTP/1.1\r\nHost: test\r\n{length}{headers}\r\n".encode() + body


def one_by_one(sent: bytes) -> list[bytes]:
    return [sent[i : i + 1] for i in range(len(sent))]


def random_parts(sent: bytes, seed: int, longest: int) -> list[bytes]:
    """`sent`, cut at random into parts of 1 to `longest` bytes."""
    chance = random.Random(seed)
    parts = []
    while sent:
        size = chance.randint(1, longest)
        parts.append(sent[:size])
        sent = sent[size:]
    return parts


def exchange(port: int, sent: bytes | str) -> bytes:
    """Sends all of it, half-closes, and returns all that comes back."""
    with Client(port) as client:
        client.send(sent)
        client.half_close()
        return client.read_to_end()


def ask(port: int, line: str) -> str:
    with Client(port) as client:
        return client.ask(line)


def get(port: int, path: str, method: str = "GET", body: bytes = b"") -> Response:
    with Client(port) as client:
        return client.get(path, method, body)


def reload(port: int, names: str = "") -> list[str]:
    """The lines that RELOAD answers."""
    return exchange(port, f"RELOAD {names}".strip() + "\n").decode().splitlines()


def is_refused(port: int) -> bool:
    """Whether nobody listens there any more."""
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) != 0


def wait_until(condition: Callable[[], object], what: str) -> None:
    """Asks again and again until the condition holds; fails at the deadline."""
    deadline = time.monotonic() + DEADLINE_S
    while not condition():
        assert time.monotonic() < deadline, f"waited in vain until {what}"
        time.sleep(_POLL_S)


class Gate:
    """A FIFO that keeps one handler waiting until the gate is opened, which is once.

    The handler opens `path` for reading and reads to the end.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = os.fspath(path)
        self._fd = -1
        os.mkfifo(self.path)

    def wait_for_handler(self) -> None:
        """Returns when a handler waits at the gate."""
        wait_until(self._find_handler, f"a handler waits at {self.path}")

    def open(self) -> None:
        """Lets the handler go. There is no gate any more then."""
        self.wait_for_handler()
        os.unlink(self.path)  # noqa: PTH108
        os.close(self._fd)

    def give_up(self) -> None:
        """Lets a handler go that a failed test has left waiting."""
        if os.path.exists(self.path):  # noqa: PTH110
            fd = os.open(self.path, os.O_RDWR | os.O_NONBLOCK)
            os.unlink(self.path)  # noqa: PTH108
            os.close(fd)
            if self._fd >= 0:
                os.close(self._fd)

    def _find_handler(self) -> bool:
        if self._fd < 0:
            try:
                self._fd = os.open(self.path, os.O_WRONLY | os.O_NONBLOCK)
            except OSError:
                return False
        return True
