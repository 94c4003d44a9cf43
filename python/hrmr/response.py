"""Response: an answer with more to say than its body."""

from collections.abc import Iterable, Mapping

from .errors import HrmrError

Headers = Mapping[str, str] | Iterable[tuple[str, str]]


class Response:
    """What a handler may return instead of `str` or `bytes`.

    body: text is sent as UTF-8.
    status: 200 to 599. HTTP only, like `headers`; ignored elsewhere.
    headers: a mapping or pairs. Content-Length, Transfer-Encoding, Connection and Date are the
        server's own and refused. Without a Content-Type the server sends
        "text/plain; charset=utf-8".
    close: closes the connection once the answer is sent.

    ResponseError names the argument that is wrong.
    """

    __slots__ = ("body", "close", "headers", "status")

    def __init__(
        self,
        body: str | bytes | bytearray | memoryview = b"",
        status: int = 200,
        headers: Headers = (),
        *,
        close: bool = False,
    ) -> None:
        if not isinstance(body, str | bytes | bytearray | memoryview):
            # bytes(5) would be five NULs, and bytes([1, 2]) two bytes.
            raise ResponseError(f"body must be str or bytes, not {type(body).__name__}")
        if not isinstance(status, int) or isinstance(status, bool):
            raise ResponseError(f"status must be an int, not {type(status).__name__}")
        if not 200 <= status <= 599:
            raise ResponseError(f"status {status} is not in 200 to 599")
        self.body = body.encode() if isinstance(body, str) else bytes(body)
        self.status = status
        self.headers = _pairs_of(headers)
        self.close = close

    def __repr__(self) -> str:
        return f"<hrmr.Response {self.status}, {len(self.body)} bytes>"


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
