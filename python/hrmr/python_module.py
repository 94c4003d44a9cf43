"""python_module: opens and loads one generation of a Python module; the engine calls it.

The source is compiled here, from the bytes that the engine read, into a fresh module object each
time. importlib.reload would mix two versions in one namespace, and a .pyc is taken for current
when the source was saved twice within a second.
"""

import contextlib
import inspect
import linecache
import logging
import sys
import threading
import traceback
import weakref
from collections.abc import Callable, Iterator
from types import ModuleType
from typing import Any

from .errors import HrmrError, ModuleError, NotRunningError
from .route import ROUTES_NAME, Handler, Route

_PACKAGE = "hrmr_modules"


class _Before:
    """What stood in sys.modules and linecache under a module's name, without keeping it alive."""

    def __init__(self, name: str, path: str) -> None:
        module = sys.modules.get(name)
        self._module = None if module is None else weakref.ref(module)
        self.lines = linecache.cache.get(path)

    @property
    def module(self) -> ModuleType | None:
        return None if self._module is None else self._module()


Saved = tuple[int, bytes]  # the schema number of a state, and its bytes


class PythonModule:
    """One generation: what open_python hands to the engine, which calls the rest in the order load,
    save_state, unload, close."""

    def __init__(self, module: ModuleType, path: str, before: "_Before") -> None:
        self.version = str(getattr(module, "__version__", ""))
        self.routes: list[tuple[bytes, str, Handler]] = []
        self.saves_state = _own_function(module, "save_state") is not None
        self._module: ModuleType | None = module
        self._path = path
        self._before = before
        self._source_lines = linecache.cache.get(path)
        self._has_loaded = False

    @property
    def _name(self) -> str:
        return self._live_module.__name__.rpartition(".")[2]

    @property
    def _live_module(self) -> ModuleType:
        if self._module is None:
            raise ModuleError("the module is gone")
        return self._module

    def load(self, config: dict[str, str], previous: Saved | None) -> None:
        """Runs the module's load. ModuleError: it refuses, and why."""
        module = self._live_module
        load = _own_function(module, "load")
        try:
            with _marked_as_loading(self._name):
                if load is not None:
                    load(*_load_arguments(load, config, previous))
        except BaseException as error:  # noqa: BLE001 - a module may call sys.exit
            raise _refusal(self._name, self._path, error) from None
        routes: list[Route] = module.__dict__[ROUTES_NAME]
        self.routes = [route.as_tuple() for route in routes]
        self._has_loaded = True
        if not routes:
            _log(self._name).warning("has no route: write @hrmr.route(...) above a function")

    def save_state(self) -> Saved:
        """What the module's save_state returns: bytes, or a schema number and bytes."""
        save = _own_function(self._live_module, "save_state")
        try:
            with _marked_as_loading(self._name):
                return _checked_state(save() if save is not None else None)
        except BaseException as error:  # noqa: BLE001
            _log(self._name).error("save_state failed", exc_info=_without_own_frames(error))
            why = _describe(error, self._path)
            raise ModuleError(f"its state could not be saved: {why}") from None

    def unload(self) -> None:
        """Runs the module's own unload(), if its load went well. Errors go to the log."""
        has_loaded, self._has_loaded = self._has_loaded, False
        if not has_loaded:
            return
        self.routes = []
        unload = _own_function(self._live_module, "unload")
        try:
            if unload is not None:
                with _marked_as_loading(self._name):
                    unload()
        except BaseException as error:  # noqa: BLE001
            report(self._name, error, "unload failed")

    def close(self) -> None:
        """Lets the module go. One that never served gives its name back to the one before."""
        module, self._module = self._module, None
        if module is None:
            return
        _forget(module, self._path, self._source_lines, self._before)


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


def open_python(name: str, path: str, source: bytes, generation: int) -> PythonModule:
    """Executes the source in a fresh module object. ModuleError: it is refused, and why.

    name: the file's name without .py; path: the user's file; source: its bytes, read once;
    generation: counts the loads of this module.
    """
    module = ModuleType(f"{_PACKAGE}.{name}")
    routes: list[Route] = []
    module.__dict__.update(
        {"__file__": path, "__package__": "", "__generation__": generation, ROUTES_NAME: routes}
    )
    before = _Before(module.__name__, path)
    lines = _introduce(module, path, source)
    try:
        with _marked_as_loading(name):
            exec(compile(source, path, "exec", dont_inherit=True), module.__dict__)
    except BaseException as error:  # noqa: BLE001 - a module may call sys.exit
        refusal = _refusal(name, path, error)
        _forget(module, path, lines, before)
        raise refusal from None
    return PythonModule(module, path, before)


def _load_arguments(
    load: Callable[..., object], config: dict[str, str], previous: Saved | None
) -> tuple[object, ...]:
    """(config,), or (config, previous) for a load that takes two."""
    try:
        inspect.signature(load).bind(config, previous)
    except TypeError:
        return (config,)
    return (config, previous)


def _checked_state(saved: object) -> Saved:
    schema, state = saved if isinstance(saved, tuple) and len(saved) == 2 else (0, saved)
    if not isinstance(state, bytes | bytearray) or type(schema) is not int:
        raise TypeError("save_state must return bytes, or a tuple of a schema number and bytes")
    if not 0 <= schema < 1 << 64:
        raise ValueError(f"the schema number {schema} is not in 0 to 2**64 - 1")
    return schema, bytes(state)


def _refusal(name: str, path: str, error: BaseException) -> ModuleError:
    # Logged now, while linecache still shows the refused source.
    _log(name).error("cannot be loaded", exc_info=_without_own_frames(error))
    return ModuleError(_describe(error, path))


def report(name: str, error: BaseException, what: str = "handler failed") -> None:
    """Logs the traceback of an exception that a handler of the module `name` raised."""
    _log(name).error(what, exc_info=_without_own_frames(error))


def _introduce(module: ModuleType, path: str, source: bytes) -> Any:
    # dataclasses, typing and pickle look a class's module up in sys.modules.
    package = sys.modules.setdefault(_PACKAGE, ModuleType(_PACKAGE))
    package.__path__ = []
    sys.modules[module.__name__] = module
    # An mtime of None keeps linecache from looking at the file, which may be newer already.
    lines = source.decode(errors="replace").splitlines(keepends=True)
    linecache.cache[path] = (len(source), None, lines, path)
    return linecache.cache[path]


def _forget(module: ModuleType, path: str, lines: Any, before: _Before) -> None:
    """Takes the module out where it still stands, and puts back what stood there if that lives."""
    old_module = before.module
    if sys.modules.get(module.__name__) is module:
        del sys.modules[module.__name__]
        if old_module is not None:
            sys.modules[module.__name__] = old_module
    if linecache.cache.get(path) is lines:
        del linecache.cache[path]
        if old_module is not None and before.lines is not None:
            linecache.cache[path] = before.lines


def _own_function(module: ModuleType, name: str) -> Callable[..., object] | None:
    """The function `name` that the module defines; not one that it has only imported, as in
    `from json import load`."""
    function = module.__dict__.get(name)
    is_own = callable(function) and getattr(function, "__module__", None) == module.__name__
    return function if is_own else None


def _describe(error: BaseException, path: str) -> str:
    text = str(error) or "no reason given"
    if isinstance(error, SyntaxError) and error.filename:
        return f"{type(error).__name__}: {error.msg} ({error.filename}, line {error.lineno})"
    kind = "" if isinstance(error, HrmrError) else f"{type(error).__name__}: "
    lines = [
        number
        for frame, number in traceback.walk_tb(error.__traceback__)
        if frame.f_code.co_filename == path
    ]
    return f"{kind}{text} ({path}, line {lines[-1]})" if lines else f"{kind}{text} ({path})"


def _without_own_frames(error: BaseException) -> BaseException:
    """The error with its traceback beginning in the module, not in this file."""
    trace = error.__traceback__
    while trace is not None and trace.tb_frame.f_code.co_filename == __file__:
        trace = trace.tb_next
    return error.with_traceback(trace)


def _log(name: str) -> logging.Logger:
    return logging.getLogger(f"hrmr.module.{name}")
