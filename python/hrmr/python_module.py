"""python_module: one generation of a Python module, as the engine calls it: open_python, then load,
save_state, unload and close of what that returned.

Threads: the reload thread; report: any.
"""

import contextlib
import gc
import inspect
import logging
import threading
import time
import traceback
import typing
import weakref
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

from .errors import HrmrError, ModuleError, NotRunningError
from .generation import Generation, generation_of
from .state import State, checked_state

_OWN_FILES = {__file__, str(Path(__file__).with_name("generation.py"))}


class PythonModule:
    """One generation: what open_python hands to the engine."""

    def __init__(self, generation: Generation) -> None:
        root = generation.modules[generation.root]
        self.version = str(getattr(root, "__version__", ""))
        self.routes: list[tuple[Any, ...]] = []  # of routes and commands; see _core.pyi
        self.saves_state = _own_function(generation, "save_state") is not None
        self._generation: Generation | None = generation
        self._canary: weakref.ref[Generation] | None = None
        self._released_at = 0
        self._has_loaded = False

    @property
    def _live(self) -> Generation:
        if self._generation is None:
            raise ModuleError("the module is gone")
        return self._generation

    def load(self, config: dict[str, str], previous: tuple[int, bytes] | None) -> None:
        """Runs the module's load. ModuleError: it refuses, and why."""
        generation = self._live
        load = _own_function(generation, "load")
        state = None if previous is None else State(*previous)
        try:
            with _marked_as_loading(generation.name):
                if load is not None:
                    load(*_load_arguments(load, config, state, generation.name))
        except BaseException as error:  # noqa: BLE001 - a module may call sys.exit
            raise _refusal(generation, error) from None
        self.routes = [route.as_tuple() for route in generation.routes]
        generation.serve()
        self._has_loaded = True
        if not self.routes:
            _log(generation.name).warning(
                "has no route and no command: write @hrmr.route(...) or @hrmr.command(...) above "
                "a function"
            )

    def save_state(self) -> State:
        """What the module's save_state returns. ModuleError: it failed, and why."""
        generation = self._live
        save = _own_function(generation, "save_state")
        try:
            with _marked_as_loading(generation.name):
                return checked_state(save() if save is not None else None)
        except BaseException as error:  # noqa: BLE001
            _log_error(generation, "save_state failed", error)
            why = _describe(generation, error)
            raise ModuleError(f"its state could not be saved: {why}") from None

    def unload(self) -> None:
        """Runs the module's own unload(), if its load went well. Errors go to the log."""
        has_loaded, self._has_loaded = self._has_loaded, False
        if not has_loaded:
            return
        self.routes = []
        generation = self._live
        unload = _own_function(generation, "unload")
        try:
            if unload is not None:
                with _marked_as_loading(generation.name):
                    unload()
        except BaseException as error:  # noqa: BLE001
            _log_error(generation, "unload failed", error)

    def release(self) -> None:
        """Lets the generation go. Whether it went, close() tells."""
        generation, self._generation = self._generation, None
        if generation is None:
            return
        self.routes, self._has_loaded = [], False
        generation.close()
        self._canary = weakref.ref(generation)
        self._released_at = _sweeper.begun

    def close(self) -> str:
        """What is left of the generation, in words; empty: nothing that is known. Of several that
        are released before the first is closed, one collection frees all."""
        self.release()
        canary, self._canary = self._canary, None
        if canary is None or _sweeper.sweep(canary, self._released_at):
            return ""
        return (
            "still in memory: something outside of it holds an object or a function of it, such "
            "as a thread, a callback or a cache"
        )


class _Garbage:
    """Only a collection frees it."""

    def __init__(self) -> None:
        self.itself = self


class _Sweeper:
    """Frees closed generations. A module and its functions refer to each other, so only the cycle
    collector can; left to itself, it may come hours later, when a reload has filled the memory
    twice. A collection stops all Python threads, and takes as long as the process has objects: when
    it is slow it is not done at each reload, but in 1 % of the time."""

    QUICK_S = 0.05
    SHARE = 0.01
    TRIES = 10  # while another thread collects
    PAUSE_S = 0.01

    def __init__(self) -> None:
        self.begun = 0  # sweeps
        self._whole = 0  # the last one that was done to its end, counted as they begin
        self._took_s = 0.0
        self._ended_s = 0.0

    def sweep(self, canary: "weakref.ref[Generation]", released_at: int) -> bool:
        """False: what the canary stands for outlives a collection. Nothing is done where the
        program has switched the collector off, or a sweep that began later than its release
        (`released_at`: what `begun` was then) has left it. Where another thread does not end
        collecting, it is not known."""
        if canary() is None or not gc.isenabled():
            return True
        if self._whole > released_at:
            return False
        if not self._is_due():
            return True
        self.begun += 1
        number = self.begun
        if not self._collect() or canary() is None:
            return True
        # What typing remembers, such as Optional[User], keeps the last 128 of a kind.
        for clear in getattr(typing, "_cleanups", ()):
            clear()
        if not self._collect():
            return True
        self._whole = max(self._whole, number)
        return canary() is None

    def _is_due(self) -> bool:
        since_s = time.monotonic() - self._ended_s
        return self._took_s <= self.QUICK_S or self._took_s <= since_s * self.SHARE

    def _collect(self) -> bool:
        """False: nothing was collected. gc.collect() does nothing, and does not say so, while
        another thread is in the middle of a collection, whose finalizers let this one run."""
        for _ in range(self.TRIES):
            probe = weakref.ref(_Garbage())
            began_s = time.monotonic()
            gc.collect()
            self._ended_s = time.monotonic()
            self._took_s = self._ended_s - began_s
            if probe() is None:
                return True
            time.sleep(self.PAUSE_S)
        return False


_sweeper = _Sweeper()
_loading = threading.local()


def refuse_while_loading(call: str) -> None:
    """NotRunningError inside the load or unload of a module: who waits for a reload there, waits
    for itself."""
    if getattr(_loading, "module", None) is not None:
        raise NotRunningError(
            f"{call} cannot be called while a module loads or unloads: a module registers its "
            "routes with @hrmr.route, and request_reload() does not wait"
        )


@contextlib.contextmanager
def _marked_as_loading(name: str) -> Iterator[None]:
    _loading.module = name
    try:
        yield
    finally:
        _loading.module = None


def open_python(
    name: str, path: str, sources: Mapping[str, bytes], generation: int
) -> PythonModule:
    """Executes the module in fresh module objects. ModuleError: it is refused, and why.

    name: the file's name without .py, or the folder's; path: the user's file or folder; sources:
    the content by path of that file, or of all .py files in the folder, read at one moment;
    generation: counts the loads of this module.
    """
    opened = Generation(name, path, sources, generation)
    try:
        with _marked_as_loading(name):
            opened.execute()
        return PythonModule(opened)
    except BaseException as error:  # noqa: BLE001 - a module may call sys.exit
        refusal = _refusal(opened, error)
        opened.close()
        raise refusal from None


def report(name: str, handler: str, error: BaseException) -> None:
    """Logs the traceback of an exception that a handler of the module `name` raised.

    handler: whose, in words: "prefix 'GREET '", "command 'KV.GET'"."""
    what = f"the handler of {handler} failed"
    generation = generation_of(error, name)
    if generation is None:
        _log(name).error(what, exc_info=_without_own_frames(error))
    else:
        _log_error(generation, what, error)


def _load_arguments(
    load: Callable[..., object], config: dict[str, str], previous: State | None, name: str
) -> tuple[object, ...]:
    """(config,), or (config, previous) for a load that takes two."""
    try:
        inspect.signature(load).bind(config, previous)
    except TypeError:
        if previous is not None:
            _log(name).warning(
                "the state that was saved is dropped: load takes no second argument for it"
            )
        return (config,)
    return (config, previous)


def _refusal(generation: Generation, error: BaseException) -> ModuleError:
    _log_error(generation, "cannot be loaded", error)
    return ModuleError(_describe(generation, error))


def _log_error(generation: Generation, what: str, error: BaseException) -> None:
    with generation.lines_shown():
        _log(generation.name).error(what, exc_info=_without_own_frames(error))


def _own_function(generation: Generation, name: str) -> Callable[..., object] | None:
    """The function `name` that the module defines, itself or in a sub-module; not one that it has
    only imported, as in `from json import load`."""
    function = vars(generation.modules[generation.root]).get(name)
    origin = getattr(function, "__module__", None)
    is_own = callable(function) and f"{origin}.".startswith(f"{generation.root}.")
    return function if is_own else None


def _describe(generation: Generation, error: BaseException) -> str:
    text = str(error) or "no reason given"
    if isinstance(error, SyntaxError) and error.filename:
        return f"{type(error).__name__}: {error.msg} ({error.filename}, line {error.lineno})"
    kind = "" if isinstance(error, HrmrError) else f"{type(error).__name__}: "
    places = [
        f"{frame.f_code.co_filename}, line {number}"
        for frame, number in traceback.walk_tb(error.__traceback__)
        if generation.is_own_file(frame.f_code.co_filename)
    ]
    return f"{kind}{text} ({places[-1] if places else generation.path})"


def _without_own_frames(error: BaseException) -> BaseException:
    """The error with a traceback that shows the module's code and none of this package's."""
    trace: TracebackType | None = None
    for each in reversed(list(_traces(error.__traceback__))):
        if each.tb_frame.f_code.co_filename not in _OWN_FILES:
            trace = TracebackType(trace, each.tb_frame, each.tb_lasti, each.tb_lineno)
    return error.with_traceback(trace)


def _traces(trace: TracebackType | None) -> Iterator[TracebackType]:
    while trace is not None:
        yield trace
        trace = trace.tb_next


def _log(name: str) -> logging.Logger:
    return logging.getLogger(f"hrmr.module.{name}")
