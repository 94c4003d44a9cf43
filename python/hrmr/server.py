"""Server: the router inside a Python program."""

import atexit
import logging
import math
import os
import select
import threading
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self, Unpack

from . import _core, paths
from .admin_token import is_open_to_others, read_admin_token
from .calls import Argument, Calls
from .command import (
    AnyCommand,
    Arguments,
    Command,
    make_command,
    refuse_bare_command,
)
from .config import ModuleConfig, module_tables
from .errors import NotRunningError, OptionError, RouteError, StartError
from .log import LEVELS, LogThread
from .options import (
    Options,
    OptionValues,
    Values,
    check_values,
    did_you_mean,
    make_options,
)
from .outcome import Outcome, ReloadReport
from .python_module import open_python, refuse_while_loading, report
from .route import AnyHandler, Route, make_route, refuse_bare

# What the engine may take for the rest of a stop once the drain is over.
_STOP_GRACE_S = 5.0


@dataclass(frozen=True)
class ModuleInfo:
    """One loaded module."""

    name: str
    version: str
    generation: int
    routes: int


class Server:
    """One port with its modules.

        with hrmr.Server(port=0, modules=["modules"]) as server:
            print(server.port)
            server.wait()

    port: 0 for any free one; `server.port` tells which.
    modules: folders of modules, and single .so or .py files. None by default; with bundled=True
        those that come with HRMR are served too.
    config: by module name, what the module reads as its configuration, as the tables
        [modules.NAME] of hrmr.toml are.
    The other arguments are the options of the command line, with `_` for `-`; see OptionValues.
    OptionError names the argument that is wrong.

    A server may be started again after it was stopped. A program may run several. A process that
    was forked from one with a running server must not use it.
    Threads: every method may be called from any thread. Do not call `stop` in a handler, it would
    wait for itself: call `shutdown`.
    """

    def __init__(
        self,
        port: int = 8080,
        *,
        modules: str | os.PathLike[str] | Iterable[str | os.PathLike[str]] = (),
        config: Mapping[str, Mapping[str, object]] | None = None,
        **options: Unpack[OptionValues],
    ) -> None:
        given: dict[str, object] = {"bundled": False, **options, "port": port, "modules": modules}
        if "log_format" in given:
            raise OptionError(
                "Server(log_format=...): records go to your own handlers, which format them"
            )
        checked = check_values(given, "Server({}=...)", Path.cwd())
        configs, policies = module_tables(config or {}, "Server(config=...)")
        self._prepare(make_options(checked), configs, policies)

    @classmethod
    def from_options(
        cls,
        options: Options,
        configs: Mapping[str, ModuleConfig] | None = None,
        policies: Mapping[str, Values] | None = None,
    ) -> Self:
        """A server of checked options; `configs`, `policies` as in config.Config."""
        server = cls.__new__(cls)
        server._prepare(options, configs or {}, policies or {})
        return server

    def _prepare(
        self,
        options: Options,
        configs: Mapping[str, ModuleConfig],
        policies: Mapping[str, Values],
    ) -> None:
        self.options = options
        self._configs = configs
        self._policies = policies
        self._routes: list[Route] = []
        self._commands: list[Command] = []
        self._lock = threading.RLock()
        self._core: _core.Core | None = None
        self._log_thread: LogThread | None = None
        self._calls = Calls(lambda fd: self._running_core().adopt(fd))

    @property
    def host(self) -> str:
        return self.options.host

    @property
    def port(self) -> int:
        """The bound port while running, 0 without TCP; before that, the one asked for."""
        core = self._core
        return self.options.port if core is None else core.port

    @property
    def url(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"http://{host}:{self.port}"

    @property
    def running(self) -> bool:
        """True from `start` until `stop`, also while a SHUTDOWN drains."""
        return self._core is not None

    @property
    def modules(self) -> list[ModuleInfo]:
        return [
            ModuleInfo(info["name"], info["version"], info["generation"], info["routes"])
            for info in self._running_core().modules()
        ]

    def start(self) -> Self:
        """Binds, loads the modules and serves; returns once it does.

        A module that does not load is an error in the log, not here. StartError: the port is
        taken or the like.
        """
        with self._lock:
            if self._core is not None:
                raise StartError("the server is running already")
            core = _core.Core(self._core_options())
            log_thread = LogThread(core)
            log_thread.start()
            try:
                if self._registrations():
                    core.set_app_routes(self._registrations())
                outcomes = core.start()
                _check_app(outcomes)
                self._core, self._log_thread = core, log_thread
            except BaseException as error:
                self._core = self._log_thread = None
                core.stop()
                log_thread.stop()
                if isinstance(error, _core.CoreError):
                    raise StartError(str(error)) from error
                raise
            _running.add(self)
        self._log_start([outcome["name"] for outcome in outcomes])
        return self

    def stop(self) -> bool:
        """Lets requests in flight finish (at most `drain_timeout` seconds), then ends all threads.

        False: a handler is still running past that time; it is left behind. Stopping a server that
        does not run does nothing.
        """
        refuse_while_loading("stop()")
        self.shutdown()
        # Waited for here and not in the engine, so that Ctrl-C ends the wait.
        self.wait(self.options.drain_timeout + _STOP_GRACE_S)
        with self._lock:
            core, log_thread = self._core, self._log_thread
            if core is None or log_thread is None:
                return True
            all_ended = core.stop()
            log_thread.stop()
            self._calls.close()
            self._core = self._log_thread = None
            _running.discard(self)
        return all_ended

    def shutdown(self) -> None:
        """Begins to stop, as the command SHUTDOWN does, and returns at once; `wait` tells when it
        has. `stop` is still to be called (or `with` left)."""
        core = self._core
        if core is not None:
            core.request_shutdown()

    def wait(self, timeout: float | None = None) -> bool:
        """Waits until the server has stopped serving: a client sent SHUTDOWN, or `shutdown` or
        `stop` was called. False: `timeout` seconds went by before. Ctrl-C interrupts it."""
        core = self._core
        if core is None:
            return True
        poll = select.poll()
        poll.register(core.stopped_fd(), select.POLLIN)
        return bool(poll.poll(None if timeout is None else timeout * 1000))

    def reload(self, *names: str) -> ReloadReport:
        """Reloads the modules that changed on disk (or only those named) and waits for it."""
        refuse_while_loading("reload()")
        if not all(isinstance(name, str) for name in names):
            raise TypeError('reload() takes names of modules: reload("users", "orders")')
        return _report_of(self._running_core().reload(list(names)))

    def request_reload(self) -> None:
        """The same without waiting: what happens to each module goes to the log."""
        self._running_core().request_reload()

    def call(self, name: str, *arguments: Argument, timeout: float | None = None) -> Any:
        """Calls a command of any module, or of the program, and returns its value.

            server.call("KV.SET", "users", 42)

        arguments: text is sent as UTF-8, a number as it is written; the command gets bytes.
        timeout: seconds until the answer is complete, 0 and more; None: for ever.

        The value: None, bool, int, float, bytes (also where the command gave text; str only for a
        status such as OK and for verbatim text), list, dict or set of these; a set that cannot be
        one, because it holds lists, is a list. It takes the way that a Redis client's call takes: a
        reload that holds the module is waited for, and its order behind other calls is not known.

        CommandError: the command raised it, does not exist, takes other arguments, or was refused
        (code "BUSY": the module is being reloaded, or its queue is full); see its `code`.
        NotRunningError: the server does not run, or stopped before it had answered. TimeoutError:
        no answer in time; the call may still be carried out.
        A handler may call; one of Python that calls a command of Python keeps two of the
        `python_threads` busy.
        """
        self._running_core()
        return self._calls.call(name, arguments, timeout)

    def route(
        self, prefix: str | bytes, framing: str = "auto"
    ) -> Callable[[AnyHandler], AnyHandler]:
        """Registers the decorated function, before the start or while running; see hrmr.route.

        RouteError: the prefix is taken, or the function cannot be a handler.
        """
        refuse_bare(prefix, "server")

        def register(function: AnyHandler) -> AnyHandler:
            refuse_while_loading("server.route()")
            added = make_route(prefix, framing, function)
            with self._lock:
                if any(route.prefix == added.prefix for route in self._routes):
                    raise RouteError(f"the prefix {prefix!r} is registered already")
                self._register(added)
                self._routes.append(added)
            return function

        return register

    def command(self, name: str, arguments: Arguments = None) -> Callable[[AnyCommand], AnyCommand]:
        """Registers the decorated function as a command, before the start or while running; see
        hrmr.command.

        RouteError: the name is taken, or the function cannot be a command.
        """
        refuse_bare_command(name, "server")

        def register(function: AnyCommand) -> AnyCommand:
            refuse_while_loading("server.command()")
            added = make_command(name, arguments, function)
            with self._lock:
                if any(added.name.upper() == each.name.upper() for each in self._commands):
                    raise RouteError(f"the command {name!r} is registered already")
                self._register(added)
                self._commands.append(added)
            return function

        return register

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    def __repr__(self) -> str:
        return f"<hrmr.Server {self.url}, {'running' if self.running else 'stopped'}>"

    def _running_core(self) -> _core.Core:
        core = self._core
        if core is None:
            raise NotRunningError("the server is not running: call start(), or use `with`")
        return core

    def _registrations(self, *added: Route | Command) -> list[tuple[Any, ...]]:
        return [each.as_tuple() for each in (*self._routes, *self._commands, *added)]

    def _register(self, added: Route | Command) -> None:
        """Lets a running server have one more route or command."""
        core = self._core
        if core is None:
            return
        try:
            _check_app(core.set_app_routes(self._registrations(added)))
        except RouteError:
            # Otherwise every later reload would try, and report, the refused one again.
            core.set_app_routes(self._registrations())
            raise

    def _core_options(self) -> dict[str, object]:
        options = self.options
        return {
            "tcp": options.tcp,
            "host": options.host,
            "port": options.port,
            "unix": options.unix or "",
            "unix_mode": options.unix_mode,
            "admin": options.admin,
            "admin_token": read_admin_token(options),
            "admin_hosts": list(options.admin_host),
            "loops": options.loops,
            "threads": options.threads,
            "python_threads": options.python_threads,
            "queue": 1 << (options.queue - 1).bit_length(),
            **self._limits(),
            "drain_timeout_ms": round(options.drain_timeout * 1000),
            "crash_report": options.crash_report,
            "watch": options.watch or options.watch_poll > 0,
            # Not 0 for what is less than a millisecond: that would be inotify.
            "watch_poll_ms": math.ceil(options.watch_poll * 1000),
            "places": self._places(),
            "configs": self._module_configs(),
            "policy": options.on_reload,
            "policies": self._own_options("on_reload"),
            "hold_timeout_ms": round(options.hold_timeout * 1000),
            "hold_timeouts_ms": {
                name: round(seconds * 1000)
                for name, seconds in self._own_options("hold_timeout").items()
            },
            "retire_timeout_ms": round(options.retire_timeout * 1000),
            "log_level": LEVELS[options.log_level],
            "open_python": open_python,
            "report": report,
        }

    def _limits(self) -> dict[str, object]:
        options = self.options
        return {
            "body_max": options.body_max,
            "header_max": options.header_max,
            "target_max": options.target_max,
            "max_headers": options.max_headers,
            "line_max": options.line_max,
            "bulk_max": options.bulk_max,
            "command_max": options.command_max,
            "max_arguments": options.max_arguments,
            "reply_max": options.reply_max,
            "output_max": options.output_max,
            "max_pipeline": options.max_pipeline,
            "max_connections": options.max_connections,
            "max_connections_per_address": options.max_connections_per_address,
            "idle_timeout_ms": round(options.idle_timeout * 1000),
            "header_timeout_ms": round(options.header_timeout * 1000),
            "body_timeout_ms": round(options.body_timeout * 1000),
            "write_timeout_ms": round(options.write_timeout * 1000),
            "min_rate": options.min_rate,
        }

    def _places(self) -> list[str]:
        bundled = [str(paths.bundled_modules_dir())] if self.options.bundled else []
        return [*bundled, *self.options.modules]

    def _own_options(self, option: str) -> dict[str, Any]:
        """By module: the value of an option that its own table sets."""
        return {name: own[option] for name, own in self._policies.items() if option in own}

    def _module_configs(self) -> dict[str, ModuleConfig]:
        configs = {name: dict(config) for name, config in self._configs.items()}
        if self.options.static is not None:
            configs.setdefault("http", {})["root"] = self.options.static
        elif self.options.bundled:
            configs.setdefault("http", {}).setdefault("root", str(paths.static_dir()))
        return configs

    def _addresses(self) -> str:
        unix = [] if self.options.unix is None else [f"unix:{self.options.unix}"]
        return " and ".join([*([self.url] if self.options.tcp else []), *unix])

    def _log_start(self, found: list[str]) -> None:
        options, core, modules = self.options, self._running_core(), self.modules
        listed = [
            f"{f'{module.name} {module.version}'.strip()} ({_count(module.routes, 'route')})"
            for module in modules
        ]
        core.write_log(logging.INFO, "server", f"modules: {', '.join(listed) or 'none'}")
        for name in sorted({*self._configs, *self._policies}.difference(found)):
            lost = f"[modules.{name}]: no module of this name is loaded"
            core.write_log(logging.WARNING, "server", lost + did_you_mean(name, found))
        if options.watch or options.watch_poll > 0:
            how = f"looking every {options.watch_poll:g} s" if options.watch_poll else "inotify"
            places = ", ".join(self._places()) or "no place"
            core.write_log(logging.INFO, "server", f"watching {places} ({how})")
        if is_open_to_others(options):
            warning = f"{options.admin_token_file}: other users may read the token: chmod 600 it"
            core.write_log(logging.WARNING, "server", warning)
        threads = f"{_count(options.threads, 'pool thread')}, {_count(options.loops, 'loop')}"
        core.write_log(logging.INFO, "server", f"listening on {self._addresses()} ({threads})")


def _report_of(outcomes: Iterable[Mapping[str, Any]]) -> ReloadReport:
    return ReloadReport(Outcome(**outcome) for outcome in outcomes)


def _check_app(outcomes: Iterable[Mapping[str, Any]]) -> None:
    """RouteError when the program's own routes were refused."""
    for failure in _report_of(outcomes).failures:
        if failure.name == "app":
            raise RouteError(failure.message)


def _count(number: int, thing: str) -> str:
    return f"{number} {thing}{'' if number == 1 else 's'}"


# Servers keep themselves alive while they run.
_running: set[Server] = set()


def _stop_all() -> None:
    # Before the interpreter goes: a thread of the engine that came back later would find none.
    while _running:
        _running.pop().stop()


def _lose_all() -> None:
    # A forked child has none of the threads, and would wait for them for ever.
    for server in _running:
        _lost.append(server._core)
        server._core = server._log_thread = None
    _running.clear()


_lost: list[_core.Core | None] = []
atexit.register(_stop_all)
os.register_at_fork(after_in_child=_lose_all)
