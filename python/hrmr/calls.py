"""calls: what `Server.call` is made of: a program's calls of the commands of its own server.

A call goes over a connection inside the process, as a Redis client's goes over TCP (RESP3), and so
finds the same order, the same policies of reload and the same bounds.
"""

import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from . import _core
from .command import NAME, CommandError
from .errors import NotRunningError

# What a call may hand over: text is sent as UTF-8, numbers as they are written, True as "true".
Argument = bytes | bytearray | memoryview | str | int | float

# They change the connection that they come over, or end it. A call has none of its own.
_FOR_CONNECTIONS = frozenset(("AUTH", "CLIENT", "CLOSE", "HELLO", "QUIT", "RESET", "SELECT"))
_READ_BYTES = 64 * 1024


class Calls:
    """The connections of one server to itself, as many as calls are made at a time.

    connect: gives the descriptor of a new one; CoreError, NotRunningError. Threads: any.
    """

    def __init__(self, connect: Callable[[], int]) -> None:
        self._connect = connect
        self._lock = threading.Lock()
        self._idle: list[_Connection] = []
        self._runs = 0  # that have ended

    def call(self, name: str, arguments: tuple[Argument, ...], timeout: float | None) -> Any:
        """See Server.call."""
        if not isinstance(name, str) or not NAME.fullmatch(name):
            raise ValueError(f"call() takes a command's name, not {name!r}")
        if name.upper() in _FOR_CONNECTIONS:
            raise ValueError(f"{name} is for connections of clients; call() has none of its own")
        sent = _packed(name, arguments)
        deadline_s = None if timeout is None else time.monotonic() + timeout
        with self._connection() as connection:
            try:
                value = connection.ask(sent, deadline_s)
            except TimeoutError:
                raise TimeoutError(
                    f"{name} gave no answer within {timeout:g} seconds; it goes on in the server"
                ) from None
        if isinstance(value, CommandError):
            raise value
        return value

    def close(self) -> None:
        """Of the run that ends: those that are idle now, and the others when their call ends."""
        with self._lock:
            self._runs += 1
            idle, self._idle = self._idle, []
        for connection in idle:
            connection.close()

    @contextmanager
    def _connection(self) -> Iterator["_Connection"]:
        with self._lock:
            run = self._runs
            connection = self._idle.pop() if self._idle else None
        if connection is None:
            try:
                connection = _Connection(self._connect())
            except _core.CoreError as error:
                raise NotRunningError(str(error)) from error
        try:
            yield connection
        except BaseException:  # in the middle of an answer
            connection.close()
            raise
        with self._lock:
            if run == self._runs and connection.is_open:
                self._idle.append(connection)
                return
        connection.close()


def _packed(name: str, arguments: tuple[Argument, ...]) -> bytes:
    words = [name.encode(), *(_bytes_of(argument) for argument in arguments)]
    parts = [b"*%d\r\n" % len(words)]
    for word in words:
        parts += (b"$%d\r\n" % len(word), word, b"\r\n")
    return b"".join(parts)


def _bytes_of(argument: Argument) -> bytes:
    if isinstance(argument, str):
        return argument.encode()
    if isinstance(argument, bool):
        return b"true" if argument else b"false"
    if isinstance(argument, int | float):
        return repr(argument).encode()
    if isinstance(argument, bytes | bytearray | memoryview):
        return bytes(argument)
    raise TypeError(f"an argument is bytes, str, int, float or bool, not {type(argument).__name__}")


class _Connection:
    """One, and what it has received and nobody has read. Threads: one at a time."""

    def __init__(self, descriptor: int) -> None:
        self._socket = socket.socket(fileno=descriptor)
        self._received = bytearray()
        self._deadline_s: float | None = None
        self._is_new = True
        self.is_open = True

    def close(self) -> None:
        self.is_open = False
        self._socket.close()

    def ask(self, sent: bytes, deadline_s: float | None) -> Any:
        """The answer; an error is a CommandError that is returned. TimeoutError at the deadline."""
        self._deadline_s = deadline_s
        try:
            if self._is_new:
                self._send(b"*2\r\n$5\r\nHELLO\r\n$1\r\n3\r\n")
                self._read_value()
                self._is_new = False
            self._send(sent)
            value = self._read_value()
        except ConnectionError:
            raise NotRunningError("the server stopped before it had answered") from None
        if isinstance(value, CommandError) and str(value).startswith("Protocol error"):
            self.is_open = False  # the server closes it
        return value

    def _send(self, sent: bytes) -> None:
        self._socket.settimeout(self._left_s())
        try:
            self._socket.sendall(sent)
        except ConnectionError:
            # What was too large was refused before its end: the answer says so.
            self.is_open = False

    def _read_value(self) -> Any:
        line = self._take_line()
        kind, text = line[:1], line[1:]
        if kind in b"$=!":
            return self._read_blob(kind, int(text))
        if kind == b"*":
            return [self._read_value() for _ in range(int(text))]
        if kind == b"%":
            return {self._read_value(): self._read_value() for _ in range(int(text))}
        if kind == b"~":
            return _set_of([self._read_value() for _ in range(int(text))])
        return _read_scalar(kind, text.decode(errors="replace"))

    def _read_blob(self, kind: bytes, size: int) -> Any:
        blob = self._take(size + 2)[:-2]
        if kind == b"$":
            return blob
        text = blob.decode(errors="replace")
        return text[4:] if kind == b"=" else _error_of(text)

    def _take_line(self) -> bytes:
        looked = 0
        while (end := self._received.find(b"\r\n", looked)) < 0:
            looked = max(len(self._received) - 1, 0)
            self._receive()
        line = bytes(self._received[:end])
        del self._received[: end + 2]
        return line

    def _take(self, size: int) -> bytes:
        while len(self._received) < size:
            self._receive()
        taken = bytes(memoryview(self._received)[:size])
        del self._received[:size]
        return taken

    def _receive(self) -> None:
        self._socket.settimeout(self._left_s())
        part = self._socket.recv(_READ_BYTES)
        if not part:
            raise ConnectionError
        self._received += part

    def _left_s(self) -> float | None:
        if self._deadline_s is None:
            return None
        left_s = self._deadline_s - time.monotonic()
        if left_s <= 0:
            raise TimeoutError
        return left_s


def _read_scalar(kind: bytes, text: str) -> Any:
    match kind:
        case b"+":
            return text
        case b"-":
            return _error_of(text)
        case b":":
            return int(text)
        case b",":
            return float(text)
        case b"#":
            return text == "t"
        case b"_":
            return None
    raise AssertionError(f"the server answered with {kind!r}")


def _error_of(text: str) -> CommandError:
    code, _, message = text.partition(" ")
    return CommandError(message, code)


def _set_of(elements: list[Any]) -> set[Any] | list[Any]:
    try:
        return set(elements)
    except TypeError:  # an element that is a list, a map or a set
        return elements
