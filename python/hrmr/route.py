"""route: registers a function for the requests that begin with a prefix."""

import inspect
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

from ._core import Request
from .errors import RouteError
from .response import Pieces, Response

Handler = Callable[[Request], str | bytes | bytearray | memoryview | Pieces | Response]
AnyHandler = TypeVar("AnyHandler", bound=Handler)

FRAMINGS = ("auto", "line", "http", "raw")
PREFIX_BYTES_MAX = 1024  # limits::kPrefixBytesMax of the engine

# The name under which the loader puts a list into the namespace of each module that it runs.
ROUTES_NAME = "__hrmr_routes__"


@dataclass(frozen=True)
class Route:
    """A prefix and the function that answers it."""

    prefix: bytes
    framing: str
    function: Handler

    def as_tuple(self) -> tuple[bytes, str, Handler]:
        return (self.prefix, self.framing, self.function)


class Registration(Protocol):
    """A route, or a command."""

    @property
    def function(self) -> Callable[..., Any]: ...
    def as_tuple(self) -> tuple[Any, ...]: ...


class RouteList(list[Registration]):
    """The routes and commands of one generation of the module `name`; they are registered while it
    loads."""

    def __init__(self, name: str) -> None:
        super().__init__()
        self._name = name
        self._is_closed = False

    def close(self) -> None:
        self._is_closed = True

    def register(self, made: Registration) -> None:
        if self._is_closed:
            raise RouteError(
                f"a route of {made.function.__module__} comes too late: module {self._name} is "
                "loaded. Import what registers routes when the module is executed, or in its load"
            )
        self.append(made)


def make_route(prefix: str | bytes, framing: str, function: Handler) -> Route:
    """A checked Route. RouteError says what is wrong, and with which function."""
    name = getattr(function, "__qualname__", repr(function))
    encoded = _encode_prefix(prefix, name)
    if framing not in FRAMINGS:
        raise RouteError(f"{name}: framing is one of {', '.join(FRAMINGS)}, not {framing!r}")
    if not callable(function):
        raise RouteError(f"{name}: a route needs a function")
    if inspect.iscoroutinefunction(function) or inspect.isasyncgenfunction(function):
        raise RouteError(
            f"{name}: `async def` handlers are not supported; use `def`, "
            "handlers run on threads of their own and may block"
        )
    if not _takes_one_argument(function):
        raise RouteError(f"{name}: a handler takes one argument, the request")
    return Route(encoded, framing, function)


def route(prefix: str | bytes, framing: str = "auto") -> Callable[[AnyHandler], AnyHandler]:
    """Registers the decorated function in the module that is being loaded.

    prefix: 1 to 1024 bytes (text is encoded as UTF-8). The longest registered prefix wins.
    framing: how a request's end is found: "line", "http", "raw", or "auto": http if the prefix
        begins with an HTTP method or looks like `TOKEN /`, else line.

    The function takes the Request and returns str, bytes, an iterator of them, or a Response. In
    a file that is not being loaded by a server (one that is imported by a test, say) the decorator
    only checks.
    """
    refuse_bare(prefix, "hrmr")
    namespace = sys._getframe(1).f_globals

    def register(function: AnyHandler) -> AnyHandler:
        made = make_route(prefix, framing, function)
        routes = namespace.get(ROUTES_NAME)
        if routes is not None:
            routes.register(made)
        return function

    return register


def refuse_bare(prefix: object, owner: str) -> None:
    """RouteError when the decorator was written without its parentheses. Python then hands it the
    function, and would replace that with what waits for one: no route, and no error either."""
    if callable(prefix):
        raise RouteError(f'@{owner}.route needs a prefix: @{owner}.route("GREET ")')


def _encode_prefix(prefix: str | bytes, name: str) -> bytes:
    if not isinstance(prefix, str | bytes):
        raise RouteError(f"{name}: a prefix is str or bytes, not {type(prefix).__name__}")
    encoded = prefix.encode() if isinstance(prefix, str) else prefix
    if not 1 <= len(encoded) <= PREFIX_BYTES_MAX:
        raise RouteError(
            f"{name}: a prefix has 1 to {PREFIX_BYTES_MAX} bytes, this one {len(encoded)}"
        )
    return encoded


def _takes_one_argument(function: Handler) -> bool:
    try:
        signature = inspect.signature(function)
    except (TypeError, ValueError):
        return True  # a builtin that does not tell: the call itself will
    try:
        signature.bind(None)
    except TypeError:
        return False
    return True
