"""client: speaks to a running server from the command line."""

import socket

from .errors import ClientError

# An address that stands for every one of this machine cannot be connected to.
_EVERYWHERE = {"0.0.0.0": "127.0.0.1", "::": "::1", "": "127.0.0.1"}
_CONNECT_TIMEOUT_S = 5.0


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
        connection.settimeout(timeout)
        try:
            return _exchange(connection, command)
        except TimeoutError:
            raise ClientError(
                f"{place} gave no answer within {timeout:g} seconds; "
                "what was asked goes on in the server, and its log tells how it ends"
            ) from None
        except OSError as error:
            raise ClientError(f"the connection to {place} was lost: {error.strerror}") from error


def _exchange(connection: socket.socket, command: str) -> str:
    connection.sendall(command.encode() + b"\n")
    # Half-closed: the server answers, then closes, and so tells where the answer ends.
    connection.shutdown(socket.SHUT_WR)
    answer = bytearray()
    while part := connection.recv(65536):
        answer += part
    return answer.decode(errors="replace")
