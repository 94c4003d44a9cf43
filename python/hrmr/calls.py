"""calls: what `Server.call` is made of: a program's calls of the commands of its own server.

A call goes over a connection inside the process, as a Redis client's goes over TCP (RESP3), and so
finds the same order, the same policies of reload and the same bounds.
"""

import contextlib
import math
import socket
import time
from collections import deque
from collections.abc import Callable
from typing import Any

from . import _core
from .command import NAME, CommandError
from .errors import NotRunningError
from .python_module import refuse_while_loading

# What a call may hand over: text is sent as UTF-8, numbers as they are written, True as "true".
Argument = bytes | bytearray | memoryview | str | int | float

# They change the connection that they come over, or end it. A call has none of its own.
_FOR_CONNECTIONS = frozenset(("AUTH", "CLIENT", "CLOSE", "HELLO", "QUIT", "RESET", "SELECT"))
_READ_BYTES = 64 * 1024
_IDLE_MAX = 16
_TIMEOUT_S_MAX = 30 * 24 * 3600.0  # what is longer is for ever
_STOPPED = "the server stopped before it had answered"
# New connections for one call, each closed before it was greeted: all loops but one have drained.
_TRIES = 64


class Calls:
    """The connections of one server to itself: as many as calls are made at a time.

    adopt: Core.adopt; CoreError, NotRunningError. Threads: any; also from a signal handler or a
    finalizer that interrupts a call.
    """

    def __init__(self, adopt: Callable[[int], bool]) -> None:
        self._adopt = adopt
        self._idle: deque[_Connection] = deque()  # taken and put back without a lock
        self._runs = 0  # that have ended

    def call(self, name: str, arguments: tuple[Argument, ...], timeout: float | None) -> Any:
        """See Server.call."""
        if not isinstance(name, str) or not NAME.fullmatch(name):
            raise ValueError(f"call() takes a command's name, not {name!r}")
        if name.upper() in _FOR_CONNECTIONS:
            raise ValueError(f"{name} is for connections of clients; call() has none of its own")
        if name.upper() == "RELOAD":
            refuse_while_loading('call("RELOAD")')
        sent = _packed(name, arguments)
        try:
            value = self._ask(sent, _deadline_after(timeout))
        except TimeoutError:
            raise TimeoutError(
                f"{name} gave no answer within {timeout:g} seconds; it may still be carried out"
            ) from None
        if isinstance(value, CommandError):
            raise value
        return value

    def close(self) -> None:
        """Of the run that ends: those that are idle now, and the others when their call ends."""
        self._runs += 1
        self._close_idle()

    def _close_idle(self) -> None:
        while (connection := self._take_idle()) is not None:
            connection.close()

    def _take_idle(self) -> "_Connection | None":
        try:
            return self._idle.pop()
        except IndexError:
            return None

    def _ask(self, sent: bytes, deadline_s: float | None) -> Any:
        """A connection that ends before it answers was closed by the server before it read the
        call; or the drain's time is over, and then there is no other one."""
        run = self._runs
        for attempt in range(_TRIES):
            connection = self._take_idle()
            try:
                if connection is None:
                    connection = self._open(deadline_s)
                value = connection.ask(sent, deadline_s)
            except _ClosedError:
                if connection is not None:
                    connection.close()
                if run != self._runs:
                    break
            except BaseException as error:  # maybe in the middle of an answer
                if connection is not None:
                    connection.close()
                elif attempt > 0 and isinstance(error, NotRunningError):
                    break
                raise
            else:
                self._put_back(connection, run)
                return value
        raise NotRunningError(_STOPPED)

    def _open(self, deadline_s: float | None) -> "_Connection":
        ours, served = socket.socketpair()
        with served:
            try:
                lasts = self._adopt(served.fileno())
            except BaseException as error:
                ours.close()
                if isinstance(error, _core.CoreError):
                    raise NotRunningError(str(error)) from None
                raise
        connection = _Connection(ours, lasts)
        try:
            connection.greet(deadline_s)
        except BaseException:
            connection.close()
            raise
        return connection

    def _put_back(self, connection: "_Connection", run: int) -> None:
        if connection.lasts and run == self._runs and len(self._idle) < _IDLE_MAX:
            self._idle.append(connection)
            if run != self._runs:
                self._close_idle()
        else:
            connection.close()


class _ClosedError(Exception):
    """The server has closed the connection, and nothing of an answer has come."""


def _deadline_after(timeout: float | None) -> float | None:
    if timeout is None:
        return None
    if math.isnan(timeout) or timeout < 0:
        raise ValueError(f"timeout is a number of seconds, not {timeout!r}")
    return None if timeout > _TIMEOUT_S_MAX else time.monotonic() + timeout


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
    # Those of a subclass, such as an enumeration's, may write themselves in another way.
    if isinstance(argument, int):
        return int.__repr__(argument).encode()
    if isinstance(argument, float):
        return float.__repr__(argument).encode()
    if isinstance(argument, bytes | bytearray | memoryview):
        return bytes(argument)
    raise TypeError(f"an argument is bytes, str, int, float or bool, not {type(argument).__name__}")


class _Connection:
    """One, and what it has received and nobody has read. Threads: one at a time.

    lasts: whether it may serve for the next call.
    """

    def __init__(self, ours: socket.socket, lasts: bool) -> None:
        self._socket = ours
        self._received = bytearray()
        self._deadline_s: float | None = None
        self.lasts = lasts

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)  # also for a copy that a forked child has
        self._socket.close()

    def greet(self, deadline_s: float | None) -> None:
        """Begins to speak RESP3."""
        answer = self.ask(_packed("HELLO", (3,)), deadline_s)
        if isinstance(answer, CommandError):
            raise answer  # the server's bounds are too tight for it

    def ask(self, sent: bytes, deadline_s: float | None) -> Any:
        """The answer; an error is a CommandError that is returned. TimeoutError at the deadline."""
        self._deadline_s = deadline_s
        self._send(sent)
        value = self._read_value()
        if isinstance(value, CommandError) and str(value).startswith("Protocol error"):
            self.lasts = False  # the server closes it
        return value

    def _send(self, sent: bytes) -> None:
        self._socket.settimeout(self._left_s())
        try:
            self._socket.sendall(sent)
        except ConnectionError:
            # What was too large was refused before its end, and the answer says so; or there is
            # none.
            self.lasts = False
        if not self._received:
            self._receive(_ClosedError)

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

    def _receive(self, at_end: type[Exception] = NotRunningError) -> None:
        self._socket.settimeout(self._left_s())
        try:
            part = self._socket.recv(_READ_BYTES)
        except ConnectionError:
            part = b""
        if not part:
            raise at_end(_STOPPED)
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
