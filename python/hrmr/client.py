"""client: speaks to a running server from the command line."""

import socket
import time
from dataclasses import dataclass

from .errors import ClientError

# An address that stands for every one of this machine cannot be connected to.
_EVERYWHERE = {"0.0.0.0": "127.0.0.1", "::": "::1", "": "127.0.0.1"}
_CONNECT_TIMEOUT_S = 5.0
# Far more than a line for each of the modules that a server can have.
_ANSWER_BYTES_MAX = 16 * 1024 * 1024


@dataclass(frozen=True)
class Place:
    """Where a server is: a Unix socket ("@name": an abstract one), or else a host and a port."""

    host: str = ""
    port: int = 0
    unix: str | None = None

    def __str__(self) -> str:
        if self.unix is not None:
            return self.unix
        return f"{_EVERYWHERE.get(self.host, self.host)} port {self.port}"

    def connect(self) -> socket.socket:
        if self.unix is None:
            address = (_EVERYWHERE.get(self.host, self.host), self.port)
            return socket.create_connection(address, timeout=_CONNECT_TIMEOUT_S)
        connection = socket.socket(socket.AF_UNIX)
        try:
            connection.settimeout(_CONNECT_TIMEOUT_S)
            is_abstract = self.unix.startswith("@")
            connection.connect("\0" + self.unix[1:] if is_abstract else self.unix)
        except BaseException:
            connection.close()
            raise
        return connection


def ask(place: Place, command: str, timeout: float, token: str = "") -> str:
    """Sends one command, behind an AUTH when there is a token, and returns all of the answer to the
    command. `timeout`: seconds until it is complete.

    ClientError: nobody listens there, no answer came, or the token is refused.
    """
    try:
        connection = place.connect()
    except OSError as error:
        raise ClientError(
            f"no server answers at {place} ({error.strerror or error}): "
            "start one with `hrmr`, or say where it is with --host and --port, or --unix"
        ) from error
    lines = [f"AUTH {token}", command] if token else [command]
    with connection:
        try:
            answer = _exchange(connection, "\n".join(lines), time.monotonic() + timeout)
        except TimeoutError:
            raise ClientError(
                f"{place} gave no answer within {timeout:g} seconds; "
                "what was asked goes on in the server, and its log tells how it ends"
            ) from None
        except OSError as error:
            raise ClientError(
                f"the connection to {place} was lost ({error.strerror}): "
                "its log may tell why; as many as --max-connections may be open"
            ) from error
    if not token:
        return answer
    first, _, rest = answer.partition("\n")
    # A server that has none need not be shown one.
    if first != "OK" and "there is no admin token" not in first:
        raise ClientError(f"{place} does not take the token: {first.removeprefix('ERR ')}")
    return rest


def _exchange(connection: socket.socket, command: str, deadline_s: float) -> str:
    connection.settimeout(_left(deadline_s))
    connection.sendall(command.encode() + b"\n")
    # Half-closed: the server answers, then closes, and so tells where the answer ends.
    connection.shutdown(socket.SHUT_WR)
    answer = bytearray()
    while len(answer) < _ANSWER_BYTES_MAX and (part := connection.recv(65536)):
        answer += part
        connection.settimeout(_left(deadline_s))
    text = answer.decode(errors="replace")
    # Whoever answers there must not get at the terminal.
    return "".join(c if c.isprintable() or c == "\n" else "?" for c in text)


def _left(deadline_s: float) -> float:
    left_s = deadline_s - time.monotonic()
    if left_s <= 0:
        raise TimeoutError
    return left_s
