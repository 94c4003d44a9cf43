"""Options: every option of a server, in one table.

The command line, hrmr.toml, the HRMR_* variables and hrmr.Server(...) all read this table. An
option `idle_timeout` is the flag --idle-timeout, the key `idle_timeout` of the table [server] in
hrmr.toml, the variable HRMR_IDLE_TIMEOUT and the argument Server(idle_timeout=...).
"""

import dataclasses
import difflib
import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypedDict

from .errors import OptionError
from .kinds import (
    FOREVER_S,
    Bytes,
    Choice,
    Folder,
    HostNames,
    Kind,
    Mode,
    Places,
    PlainFile,
    Seconds,
    Secret,
    SocketPath,
    Switch,
    Text,
    Whole,
)

Values = dict[str, object]

CONNECTIONS_MAX = 65536  # limits::kConnectionsMax
LOOPS_MAX = 64  # limits::kLoopsMax
THREADS_MAX = 1024  # limits::kThreadsMax
QUEUE_SLOTS_MAX = 1 << 20
BODY_BYTES_MAX = 1 << 40
HEADERS_MAX = 1000  # limits::kHttpHeaderSlots
HEAD_BYTES_MAX = LINE_BYTES_MAX = 16 << 20
COMMAND_BYTES_MAX = 1 << 30
REPLY_BYTES_MAX = 1 << 40
ARGUMENTS_MAX = 1 << 24
OUTPUT_BYTES_MAX = 1 << 30
PIPELINE_MAX = 1_000_000
RATE_BYTES_MAX = 1 << 30

_VARIABLE_PREFIX = "HRMR_"

LISTEN, ADMIN, WORK, MODULES, LIMITS, TIME, LOG = (
    "Listen",
    "Who may RELOAD and SHUTDOWN",
    "Threads",
    "Modules",
    "Limits",
    "Timeouts",
    "Log",
)


@dataclass(frozen=True)
class Option:
    """One row of the table."""

    name: str
    kind: Kind
    default: object
    group: str
    help: str

    @property
    def flag(self) -> str:
        return "--" + self.name.replace("_", "-")

    @property
    def variable(self) -> str:
        return _VARIABLE_PREFIX + self.name.upper()

    def parse(self, text: str, where: str, base: Path) -> object:
        return self._told(self.kind.parse, text, where, base)

    def check(self, value: object, where: str, base: Path) -> object:
        return self._told(self.kind.check, value, where, base)

    @staticmethod
    def _told(read: Callable[[Any, Path], object], value: object, where: str, base: Path) -> object:
        try:
            return read(value, base)
        except ValueError as error:
            raise OptionError(f"{where}: {error}") from None


def _row(kind: Kind, default: object, group: str, text: str) -> Any:
    metadata = {"kind": kind, "group": group, "help": text}
    return field(default=default, repr=not isinstance(kind, Secret), metadata=metadata)


@dataclass(frozen=True, kw_only=True)
class Options:
    """The options of one server, checked. Make one with `make_options`."""

    host: str = _row(
        Text(), "127.0.0.1", LISTEN, "Address to listen on; 0.0.0.0 or :: for every one."
    )
    port: int = _row(Whole(0, 65535), 8080, LISTEN, "TCP port; 0 for any free one.")
    tcp: bool = _row(Switch(), True, LISTEN, "Listen on --port; without it, on --unix only.")
    unix: str | None = _row(
        SocketPath(), None, LISTEN, "Listen on this Unix socket too; @NAME for an abstract one."
    )
    unix_mode: int = _row(
        Mode(), 0o600, LISTEN, "Permissions of its file; who may connect may RELOAD."
    )
    admin: str = _row(
        Choice(("loopback", "any")),
        "loopback",
        ADMIN,
        "Without a token: from where it is taken, this machine only, or any.",
    )
    admin_token: str | None = _row(
        Secret(),
        None,
        ADMIN,
        "Take it from whoever shows this token, and over --unix, and from nobody else. Other users "
        "see a flag in the process list: use the variable or --admin-token-file.",
    )
    admin_token_file: str | None = _row(
        PlainFile(), None, ADMIN, "File with the token; --admin-token wins over it."
    )
    admin_host: tuple[str, ...] = _row(
        HostNames(),
        (),
        ADMIN,
        "Host names that POST /hrmr/... may be addressed to, besides localhost and IP addresses.",
    )
    loops: int = _row(Whole(1, LOOPS_MAX), 1, WORK, "Event loops, one thread each.")
    threads: int = _row(
        Whole(1, THREADS_MAX), 4, WORK, "Worker threads for functions that may block."
    )
    python_threads: int = _row(
        Whole(1, THREADS_MAX), 4, WORK, "Threads that run the functions of Python modules."
    )
    modules: tuple[str, ...] = _row(
        Places(),
        (),
        MODULES,
        "Folder of modules, or one .so or .py file; may be given again, a later one wins "
        "on equal names. [default: ./modules]",
    )
    bundled: bool = _row(Switch(), True, MODULES, "Serve the modules that come with HRMR too.")
    static: str | None = _row(
        Folder(), None, MODULES, "Folder that the http module serves. [default: HRMR's own pages]"
    )
    on_reload: str = _row(
        Choice(("auto", "swap", "hold", "reject")),
        "auto",
        MODULES,
        "What clients of a module get while it is reloaded: swap: the old version's answer; hold: "
        "the new one's, as soon as it serves; reject: a 503; auto: hold if the module hands its "
        "state over, else swap.",
    )
    hold_timeout: float = _row(
        Seconds(FOREVER_S), 5.0, TIME, "Longest that a request is held; then it gets a 503."
    )
    retire_timeout: float = _row(
        Seconds(FOREVER_S),
        1.0,
        TIME,
        "How long RELOAD waits for requests on the old version before it answers.",
    )
    watch: bool = _row(
        Switch(), False, MODULES, "Reload modules by themselves when their files change."
    )
    watch_poll: float = _row(
        Seconds(FOREVER_S),
        0.0,
        MODULES,
        "Watch by looking this often, where inotify does not tell (shared folders of virtual "
        "machines, NFS); 0: inotify.",
    )
    drain_timeout: float = _row(
        Seconds(FOREVER_S), 10.0, TIME, "How long SHUTDOWN waits for requests in flight."
    )
    idle_timeout: float = _row(
        Seconds(FOREVER_S), 300.0, TIME, "Idle connections are closed after this; 0: never."
    )
    header_timeout: float = _row(
        Seconds(FOREVER_S),
        60.0,
        TIME,
        "From the first byte of a line or an HTTP head to its last, and from connecting to the end "
        "of the first one; 0: no bound, as for the next two.",
    )
    body_timeout: float = _row(
        Seconds(FOREVER_S), 60.0, TIME, "Longest pause in a request's body; see --min-rate too."
    )
    write_timeout: float = _row(
        Seconds(FOREVER_S), 60.0, TIME, "How long a client may take nothing of its answers."
    )
    min_rate: int = _row(
        Bytes(RATE_BYTES_MAX),
        500,
        TIME,
        "Bytes per second that a client has to come to, on average, while it sends a body or takes "
        "an answer; 0: any.",
    )
    body_max: int = _row(
        Bytes(BODY_BYTES_MAX), 16 << 20, LIMITS, "Largest request body; 16M and 1G are understood."
    )
    header_max: int = _row(
        Bytes(HEAD_BYTES_MAX, 16), 64 << 10, LIMITS, "Largest HTTP request line with its headers."
    )
    target_max: int = _row(
        Bytes(HEAD_BYTES_MAX, 1),
        8 << 10,
        LIMITS,
        "Longest HTTP request target: path and query. A longer one gets a 414.",
    )
    max_headers: int = _row(Whole(1, HEADERS_MAX), 100, LIMITS, "Header lines of one request.")
    line_max: int = _row(
        Bytes(LINE_BYTES_MAX, 1), 64 << 10, LIMITS, "Longest line, its end included."
    )
    bulk_max: int = _row(
        Bytes(COMMAND_BYTES_MAX), 64 << 20, LIMITS, "Largest argument of a Redis client's command."
    )
    command_max: int = _row(
        Bytes(COMMAND_BYTES_MAX, 64), 128 << 20, LIMITS, "Largest command of a Redis client."
    )
    max_arguments: int = _row(
        Whole(1, ARGUMENTS_MAX),
        1 << 20,
        LIMITS,
        "Elements of a Redis client's command or of a JSON call, its name included.",
    )
    reply_max: int = _row(
        Bytes(REPLY_BYTES_MAX, 64 << 10),  # what the server itself answers has room
        256 << 20,
        LIMITS,
        "Largest answer of one request that is held in memory; streams and files have no bound. A "
        "larger one becomes an error.",
    )
    output_max: int = _row(
        Bytes(OUTPUT_BYTES_MAX),
        1 << 20,
        LIMITS,
        "Bytes of answers that wait for a client to take them; no further request of it is handled "
        "past that.",
    )
    max_pipeline: int = _row(
        Whole(1, PIPELINE_MAX),
        1024,
        LIMITS,
        "The same in requests: answered, and their answers not taken.",
    )
    max_connections: int = _row(Whole(1, CONNECTIONS_MAX), 65536, LIMITS, "Open connections.")
    max_connections_per_address: int = _row(
        Whole(0, CONNECTIONS_MAX),
        0,
        LIMITS,
        "Open connections from one IPv4 address or IPv6 /64; 0: no bound.",
    )
    queue: int = _row(
        Whole(2, QUEUE_SLOTS_MAX),
        4096,
        LIMITS,
        "Batches that may wait for a thread, for each pool, rounded up to a power of two; more get "
        "a 503. A batch is one request, or up to 32 pipelined ones.",
    )
    log_level: str = _row(
        Choice(("debug", "info", "warning", "error")), "info", LOG, "Least level that is logged."
    )
    log_format: str = _row(Choice(("text", "json")), "text", LOG, "Lines for people or programs.")
    crash_report: bool = _row(
        Switch(), True, LOG, "When a module crashes, say which and where before the process ends."
    )


class OptionValues(TypedDict, total=False):
    """The rows of Options that Server(...) takes by name, for type checkers."""

    host: str
    tcp: bool
    unix: str | os.PathLike[str]
    unix_mode: int | str
    admin: str
    admin_token: str
    admin_token_file: str | os.PathLike[str]
    admin_host: str | Iterable[str]
    loops: int
    threads: int
    python_threads: int
    bundled: bool
    static: str | os.PathLike[str]
    on_reload: str
    hold_timeout: float
    retire_timeout: float
    watch: bool
    watch_poll: float
    drain_timeout: float
    idle_timeout: float
    header_timeout: float
    body_timeout: float
    write_timeout: float
    min_rate: int | str
    body_max: int | str
    header_max: int | str
    target_max: int | str
    max_headers: int
    line_max: int | str
    bulk_max: int | str
    command_max: int | str
    max_arguments: int
    reply_max: int | str
    output_max: int | str
    max_pipeline: int
    max_connections: int
    max_connections_per_address: int
    queue: int
    log_level: str
    crash_report: bool


def _table() -> dict[str, Option]:
    return {
        row.name: Option(
            row.name,
            row.metadata["kind"],
            row.default,
            row.metadata["group"],
            row.metadata["help"],
        )
        for row in dataclasses.fields(Options)
    }


TABLE: dict[str, Option] = _table()


def read_variables(environ: Mapping[str, str]) -> Values:
    """The values of the HRMR_* variables that are set and not empty."""
    return {
        option.name: option.parse(environ[option.variable], option.variable, Path.cwd())
        for option in TABLE.values()
        if environ.get(option.variable)
    }


def unknown_variables(environ: Mapping[str, str], known: Iterable[str] = ()) -> list[str]:
    """One line for each HRMR_* variable that is set and that nothing reads: a slip, or somebody
    else's. `known`: variables besides those of the table."""
    names = {option.variable for option in TABLE.values()} | set(known)
    bare_names = [name.removeprefix(_VARIABLE_PREFIX) for name in names]
    found: list[str] = []
    for name in sorted(environ):
        if name.startswith(_VARIABLE_PREFIX) and environ[name] and name not in names:
            # Compared without the prefix, by which all of them resemble each other.
            bare_name = name.removeprefix(_VARIABLE_PREFIX)
            hint = did_you_mean(bare_name, bare_names, _VARIABLE_PREFIX)
            found.append(f"{name}: no option has this variable{hint}")
    return found


def check_values(values: Mapping[str, object], place: str, base: Path) -> Values:
    """Typed values under the names of the table. `place`, with {} for the name, is where each
    stands, for the error message."""
    checked: Values = {}
    for name, value in values.items():
        if name not in TABLE:
            raise OptionError(f"{place.format(name)}: unknown{did_you_mean(name, TABLE)}")
        checked[name] = TABLE[name].check(value, place.format(name), base)
    return checked


def make_options(*layers: Mapping[str, object]) -> Options:
    """Options from checked values; a later layer wins over an earlier one."""
    merged: Values = {}
    for layer in layers:
        merged |= layer
    options = Options(**merged)  # type: ignore[arg-type]
    if not options.tcp and options.unix is None:
        raise OptionError(
            "without TCP (tcp: no) there is nothing to listen on: give a path as unix"
        )
    return options


def did_you_mean(word: str, known: Iterable[str], prefix: str = "") -> str:
    """'; did you mean "port"?', or nothing. `prefix` is shown before the name."""
    close = difflib.get_close_matches(word, list(known), n=1)
    return f'; did you mean "{prefix}{close[0]}"?' if close else ""
