"""client: speaks to a running server from the command line."""

import socket
import time

from .errors import ClientError

# An address that stands for every one of this machine cannot be connected to.
_EVERYWHERE = {"0.0.0.0": "127.0.0.1", "::": "::1", "": "127.0.0.1"}
_CONNECT_TIMEOUT_S = 5.0
# Far more than a line for each of the modules that a server can have.
_ANSWER_BYTES_MAX = 16 * 1024 * 1024


def ask(host: str, port: int, command: str, timeout: float) -> str:
    """Sends one command and returns all of the answer. `timeout`: seconds until it is complete.

    ClientError: nobody listens there, or no answer came.
    """
    host = _EVERYWHERE.get(host, host)
    place = f"{host} port {port}"
    try:
        connection = socket.create_connection((host, port), timeout=_CONNECT_TIMEOUT_S)
    except OSError as error:
        raise ClientError(
            f"no server answers at {place} ({error.strerror or error}): "
            "start one with `hrmr`, or say where it is with --host and --port"
        ) from error
    with connection:
        try:
            return _exchange(connection, command, time.monotonic() + timeout)
        except TimeoutError:
            raise ClientError(
                f"{place} gave no answer within {timeout:g} seconds; "
                "what was asked goes on in the server, and its log tells how it ends"
            ) from None
        except OSError as error:
            raise ClientError(f"the connection to {place} was lost: {error.strerror}") from error


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
