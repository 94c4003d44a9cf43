"""The compiled engine. Private: `hrmr` wraps it."""
# ruff: noqa: PYI021 - the extension has no docstrings; these are what an editor shows

import builtins
from typing import Any, TypedDict, final

ABI_VERSION: tuple[int, int]
VERSION: str

class CoreError(Exception):
    """An operating error of the engine; its message is written for people."""

@final
class Request:
    """One request, as a Python handler sees it. Made by the engine; owns a copy of the bytes."""

    @property
    def bytes(self) -> builtins.bytes:
        """The whole request, prefix included; a line without its line end."""

    @property
    def rest(self) -> builtins.bytes:
        """What follows the matched prefix in `bytes`."""

    @property
    def text(self) -> str:
        """HTTP: the body; else `rest`. UTF-8, wrong bytes replaced."""

    @property
    def prefix(self) -> str:
        """The prefix that matched, one character per byte (latin-1)."""

    @property
    def peer(self) -> str:
        """Who asked: "127.0.0.1:40312"."""

    @property
    def framing(self) -> str:
        """ "line", "http" or "raw"."""

    @property
    def method(self) -> str:
        """HTTP: "GET"; empty elsewhere, as are the next ones."""

    @property
    def target(self) -> str:
        """HTTP: "/users?id=1", as sent: still percent-encoded."""

    @property
    def path(self) -> str:
        """HTTP: "/users", still percent-encoded."""

    @property
    def query(self) -> str:
        """HTTP: "id=1"."""

    @property
    def body(self) -> builtins.bytes:
        """HTTP: the body, without chunk framing."""

    @property
    def headers(self) -> dict[str, str]:
        """HTTP: lower-case names; the values of a repeated header joined by ", "."""

class _Outcome(TypedDict):
    name: str
    change: str
    generation: int
    old_generation: int
    message: str
    ms: float
    note: str

class _ModuleInfo(TypedDict):
    name: str
    version: str
    generation: int
    routes: int

@final
class Core:
    """One server: its threads, sockets and modules. Any thread, unless said otherwise."""

    def __init__(self, options: dict[str, object]) -> None: ...
    @property
    def port(self) -> int:
        """The bound port, once started."""

    def start(self) -> list[_Outcome]:
        """Binds, loads the modules, starts the threads. CoreError when that fails."""

    def reload(self, only: list[str]) -> list[_Outcome]:
        """Reloads what changed (`only`: these names; empty: all) and waits for it."""

    def adopt(self, fd: int) -> bool:
        """Serves what is at the other end of a stream socket of this process; keeps a duplicate.
        False: only until the drain that is under way is over. CoreError: nothing serves."""

    def request_reload(self) -> None:
        """Asks for a reload and does not wait; the outcome goes to the log."""

    def request_shutdown(self) -> None:
        """Begins the drain and does not wait."""

    def stopped_fd(self) -> int:
        """Readable once the server has stopped serving. Lives as long as the Core."""

    def stop(self) -> bool:
        """Drains, joins all threads; idempotent. False: a handler or a load outlives the drain."""

    def set_app_routes(
        self,
        routes: list[tuple[Any, ...]],
    ) -> list[_Outcome]:
        """Replaces the routes and commands of the in-process module "app"; reloads it once started.

        A route is (prefix: bytes, framing: str, function), a command (name: bytes, minimum: int,
        maximum: int | None, function)."""

    def write_log(self, level: int, source: str, message: str) -> None:
        """Adds a record behind those of the engine, so that their order holds."""

    def wait_logs(self, timeout_ms: int) -> list[tuple[int, str, str]] | None:
        """Waits for log records (level, source, message). None once the log is closed."""

    def modules(self) -> list[_ModuleInfo]: ...
