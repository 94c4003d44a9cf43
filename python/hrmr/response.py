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
        if not 200 <= status <= 599:
            raise ResponseError(f"status {status} is not in 200 to 599")
        self.body = body.encode() if isinstance(body, str) else bytes(body)
        self.status = status
        self.headers = list(headers.items() if isinstance(headers, Mapping) else headers)
        self.close = close

    def __repr__(self) -> str:
        return f"<hrmr.Response {self.status}, {len(self.body)} bytes>"


class ResponseError(HrmrError, ValueError):
    """A Response that no client could be sent."""
