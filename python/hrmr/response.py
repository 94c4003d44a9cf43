"""Response: an answer with more to say than its body."""

import os
from collections.abc import Iterable, Iterator, Mapping

from .errors import HrmrError

Pieces = Iterator[str | bytes | bytearray | memoryview]
Headers = Mapping[str, str] | Iterable[tuple[str, str]]


class Response:
    """What a handler may return instead of `str` or `bytes`.

    body: text is sent as UTF-8. An iterator, such as a generator, of such pieces is sent piece by
        piece as they come (over HTTP/1.1 in chunks); one that raises breaks the connection off.
    status: 200 to 599. HTTP only, like `headers`; ignored elsewhere.
    headers: a mapping or pairs. Content-Length, Transfer-Encoding, Connection and Date are the
        server's own and refused. Without a Content-Type the server sends
        "text/plain; charset=utf-8".
    file: instead of a body, the path of a regular file, or its descriptor, which stays the caller's
        and has to be open still when the handler has returned: one that it keeps, not one that it
        closes. All of it is sent, without being read into memory.
    close: closes the connection once the answer is sent.

    ResponseError names the argument that is wrong.
    """

    __slots__ = ("body", "close", "file", "headers", "status")

    def __init__(
        self,
        body: str | bytes | bytearray | memoryview | Pieces = b"",
        status: int = 200,
        headers: Headers = (),
        *,
        file: str | os.PathLike[str] | int | None = None,
        close: bool = False,
    ) -> None:
        if not isinstance(body, str | bytes | bytearray | memoryview | Iterator):
            # bytes(5) would be five NULs, and bytes([1, 2]) two bytes.
            kind = type(body).__name__
            raise ResponseError(f"body must be str, bytes or an iterator of them, not {kind}")
        if file is not None and (isinstance(body, Iterator) or body):
            raise ResponseError("a Response has a body or a file, not both")
        if isinstance(file, bool) or not isinstance(file, str | os.PathLike | int | None):
            raise ResponseError(f"file must be a path or a descriptor, not {type(file).__name__}")
        if not isinstance(status, int) or isinstance(status, bool):
            raise ResponseError(f"status must be an int, not {type(status).__name__}")
        if not 200 <= status <= 599:
            raise ResponseError(f"status {status} is not in 200 to 599")
        self.body: bytes | Pieces
        if isinstance(body, Iterator):
            self.body = body
        else:
            self.body = body.encode() if isinstance(body, str) else bytes(body)
        self.file = file
        self.status = status
        self.headers = _pairs_of(headers)
        self.close = close

    def __repr__(self) -> str:
        if self.file is not None:
            return f"<hrmr.Response {self.status}, file {self.file!r}>"
        size = f"{len(self.body)} bytes" if isinstance(self.body, bytes) else "in pieces"
        return f"<hrmr.Response {self.status}, {size}>"


def _pairs_of(headers: Headers) -> list[tuple[str, str]]:
    if isinstance(headers, str | bytes) or not isinstance(headers, Iterable):
        kind = type(headers).__name__
        raise ResponseError(f"headers must be a mapping or pairs of str, not {kind}")
    pairs = list(headers.items() if isinstance(headers, Mapping) else headers)
    for pair in pairs:
        if not isinstance(pair, tuple | list) or len(pair) != 2:
            raise ResponseError(f"headers must be a mapping or pairs of str, not {pair!r}")
        for text in pair:
            if not isinstance(text, str):
                kind = type(text).__name__
                raise ResponseError(f"header {pair[0]!r}: name and value must be str, not {kind}")
    return [(name, value) for name, value in pairs]


class ResponseError(HrmrError, ValueError):
    """A Response that no client could be sent."""
