"""python_module: loads one generation of a Python module; the engine calls it.

The source is compiled here, from the bytes that the engine read, into a fresh module object each
time. importlib.reload would mix two versions in one namespace, and a .pyc is taken for current
when the source was saved twice within a second.
"""

import contextlib
import linecache
import logging
import sys
import threading
import traceback
from collections.abc import Callable, Iterator
from types import ModuleType
from typing import Any

from .errors import HrmrError, ModuleError, NotRunningError
from .route import ROUTES_NAME, Handler, Route

_PACKAGE = "hrmr_modules"


class PythonModule:
    """One loaded generation: what load_python hands to the engine."""

    def __init__(self, module: ModuleType, path: str, routes: list[Route]) -> None:
        self.version = str(getattr(module, "__version__", ""))
        self.routes: list[tuple[bytes, str, Handler]] = [route.as_tuple() for route in routes]
        self._module: ModuleType | None = module
        self._path = path
        self._source_lines = linecache.cache.get(path)

    def unload(self) -> None:
        """Runs the module's own unload() and lets the module go. Errors go to the log."""
        module, self._module = self._module, None
        if module is None:
            return
        self.routes = []
        unload = _own_function(module, "unload")
        try:
            if unload is not None:
                with _marked_as_loading(module.__name__):
                    unload()
        except BaseException as error:  # noqa: BLE001
            report(module.__name__.rpartition(".")[2], error, "unload failed")
        if sys.modules.get(module.__name__) is module:
            del sys.modules[module.__name__]
        if linecache.cache.get(self._path) is self._source_lines:
            linecache.cache.pop(self._path, None)


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


def load_python(
    name: str, path: str, source: bytes, generation: int, config: dict[str, str]
) -> PythonModule:
    """Runs the source and collects its routes. ModuleError: the load is refused, and why.

    name: the file's name without .py; path: the user's file; source: its bytes, read once;
    generation: counts the loads of this module; config: its table [modules.NAME], flat.
    """
    module = ModuleType(f"{_PACKAGE}.{name}")
    routes: list[Route] = []
    module.__dict__.update(
        {"__file__": path, "__package__": "", "__generation__": generation, ROUTES_NAME: routes}
    )
    before = (sys.modules.get(module.__name__), linecache.cache.get(path))
    _introduce(module, path, source)
    try:
        with _marked_as_loading(name):
            exec(compile(source, path, "exec", dont_inherit=True), module.__dict__)
            load = _own_function(module, "load")
            if load is not None:
                load(config)
    except BaseException as error:  # noqa: BLE001 - a module may call sys.exit
        # Logged now, while linecache still shows the refused source.
        _log(name).error("cannot be loaded", exc_info=_without_own_frames(error))
        _forget(module, path, before)
        raise ModuleError(_describe(error, path)) from None
    if not routes:
        _log(name).warning("has no route: write @hrmr.route(...) above a function")
    return PythonModule(module, path, routes)


def report(name: str, error: BaseException, what: str = "handler failed") -> None:
    """Logs the traceback of an exception that a handler of the module `name` raised."""
    _log(name).error(what, exc_info=_without_own_frames(error))


def _introduce(module: ModuleType, path: str, source: bytes) -> None:
    # dataclasses, typing and pickle look a class's module up in sys.modules.
    package = sys.modules.setdefault(_PACKAGE, ModuleType(_PACKAGE))
    package.__path__ = []
    sys.modules[module.__name__] = module
    # An mtime of None keeps linecache from looking at the file, which may be newer already.
    lines = source.decode(errors="replace").splitlines(keepends=True)
    linecache.cache[path] = (len(source), None, lines, path)


def _forget(module: ModuleType, path: str, before: tuple[Any, Any]) -> None:
    old_module, old_lines = before
    if old_module is not None:
        sys.modules[module.__name__] = old_module
    else:
        sys.modules.pop(module.__name__, None)
    if old_lines is not None:
        linecache.cache[path] = old_lines
    else:
        linecache.cache.pop(path, None)


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
