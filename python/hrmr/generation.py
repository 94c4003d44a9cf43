"""generation: the modules of one generation, made from one snapshot of their sources.

The sources are compiled here, from the bytes that the engine read: a .pyc is taken for current
when the source was saved twice within a second. Each generation has module objects of its own, for
sub-modules too: importlib.reload would mix two versions in one namespace. What its code imports
from below its own name comes from its snapshot, however late; for that its code runs with builtins
of its own, a copy in which only `__import__` differs. (So a builtin that somebody replaces later is
not seen by it.)

Threads: any; one imports at a time.
"""

import builtins
import contextlib
import importlib.util
import linecache
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from importlib.machinery import ModuleSpec
from importlib.readers import FileReader
from pathlib import Path
from types import CodeType, ModuleType
from typing import Any

from . import doors
from .doors import GENERATION_NAME, PACKAGE
from .route import ROUTES_NAME, RouteList

# So long an import waits for one on another thread. It ends a deadlock between two threads that
# import modules of one package in a circle.
_IMPORT_WAIT_S = 60

Lines = tuple[int, None, list[str], str]  # an entry of linecache.cache


class Generation:
    """name: of the module; path: the user's file, or folder; sources: the content of each file by
    its path; number: counts the generations of this module."""

    def __init__(self, name: str, path: str, sources: Mapping[str, bytes], number: int) -> None:
        self.name = name
        self.root = f"{PACKAGE}.{name}"
        self.path = path
        self.number = number
        self.routes = RouteList(name)
        self.modules: dict[str, ModuleType] = {}
        self.has_loaded = False
        self.is_closed = False
        self._sources = sources
        self._paths = dict(self._named_paths())
        self._folders = {parent for each in self._paths for parent in _parents(each)}
        self._executed: set[str] = set()
        self._lock = threading.RLock()
        self._lines: dict[str, Lines] = {}
        self._parent = ModuleType(PACKAGE)  # what `import hrmr_modules.users` binds
        self._parent.__path__ = []
        self._builtins = {**vars(builtins), "__import__": self._import, GENERATION_NAME: self}

    # ------------------------------------------------------------------------------- its life

    def execute(self) -> ModuleType:
        """Executes the file, or the package's __init__.py."""
        doors.add(self)
        return self.import_module(self.root)

    def serve(self) -> None:
        """It is what others than its own code see from now on."""
        self.has_loaded = True
        self.routes.close()
        _show(self)

    def close(self) -> None:
        """Gives its names to the generation that serves. What outlives it, such as a thread, can
        still import from it."""
        self.is_closed = True
        doors.remove(self)
        self._hide_lines()
        before = doors.serving(self.root)
        if isinstance(before, Generation):
            _show(before)

    def is_own_file(self, path: str) -> bool:
        return path in self._sources

    # ------------------------------------------------------------------------------- imports

    def has_source(self, name: str) -> bool:
        """Whether the snapshot has a module of that full name. Folders without an __init__.py are
        modules too, as in Python."""
        return name in self._paths or name in self._folders

    def import_module(self, name: str) -> ModuleType:
        """The module of that full name, executed at the first time."""
        if name in self._executed:
            return self.modules[name]
        if not self._lock.acquire(timeout=_IMPORT_WAIT_S):
            raise ImportError(f"{name} waits for another thread that imports it", name=name)
        try:
            module = self.modules.get(name)  # being executed: an import in a circle
            return self._make_module(name) if module is None else module
        finally:
            self._lock.release()

    def _make_module(self, name: str) -> ModuleType:
        parent = self._parent
        if name != self.root:
            parent = self.import_module(name.rpartition(".")[0])
            if name in self.modules:  # the parent has imported it
                return self.modules[name]
        if not self.has_source(name):
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
        module = self._new_module(name)
        own_name = name.rpartition(".")[2]
        self.modules[name] = module
        if not self.is_closed:
            doors.open_for(name)
        # Python sets it when the module is done; but then `from . import name` in a circle would
        # look into sys.modules, and bind the door.
        setattr(parent, own_name, module)
        try:
            exec(self._compile(name), module.__dict__)
        except BaseException:
            del self.modules[name]
            doors.close(name)
            vars(parent).pop(own_name, None)
            raise
        self._executed.add(name)
        return module

    def _new_module(self, name: str) -> ModuleType:
        spec = self.make_spec(name)
        module = ModuleType(name)
        module.__dict__.update(
            {
                "__spec__": spec,
                "__loader__": spec.loader,
                "__package__": spec.parent,
                "__builtins__": self._builtins,
                "__generation__": self.number,
                ROUTES_NAME: self.routes,
            }
        )
        if spec.has_location:
            module.__file__ = spec.origin
        if spec.submodule_search_locations is not None:
            module.__path__ = spec.submodule_search_locations
        return module

    def make_spec(self, name: str) -> ModuleSpec:
        path = self._paths.get(name)
        is_package = path is None or self._is_package_file(path)
        spec = ModuleSpec(name, SnapshotLoader(path, self._source_of(name)), origin=path)
        spec.has_location = path is not None
        if is_package:
            below = name.removeprefix(self.root).split(".")
            spec.submodule_search_locations = [str(Path(self.path, *below))]
        spec.loader.has_package = is_package  # type: ignore[union-attr]
        return spec

    def _compile(self, name: str) -> CodeType:
        path = self._paths.get(name)
        if path is None:
            return compile("", f"<{name}>", "exec")
        text = _decoded(self._sources[path])
        # A time of None keeps linecache from looking at the file, which may be newer already.
        self._lines[path] = (len(text), None, text.splitlines(keepends=True), path)
        if not self.is_closed and (not self.has_loaded or doors.serving(self.root) is self):
            linecache.cache[path] = self._lines[path]
        return compile(self._sources[path], path, "exec", dont_inherit=True)

    def _source_of(self, name: str) -> bytes:
        path = self._paths.get(name)
        return b"" if path is None else self._sources[path]

    def _named_paths(self) -> Iterator[tuple[str, str]]:
        """Full names of modules, and where each is from. Of a/__init__.py and a.py the former
        wins, as in Python: sorted, it comes last."""
        for path in sorted(self._sources):
            parts: list[str] = []
            if path != self.path:
                parts.extend(Path(path).relative_to(self.path).with_suffix("").parts)
            if parts[-1:] == ["__init__"]:
                parts.pop()
            if not any("." in part for part in parts):  # no import could name that
                yield ".".join([self.root, *parts]), path

    def _is_package_file(self, path: str) -> bool:
        return path != self.path and Path(path).name == "__init__.py"

    def _import(
        self,
        name: str,
        globals: Mapping[str, Any] | None = None,  # noqa: A002 - the names of the builtin
        locals: Mapping[str, Any] | None = None,  # noqa: A002
        fromlist: Sequence[str] | None = (),
        level: int = 0,
    ) -> ModuleType:
        """`__import__` of this generation's code."""
        if level:
            package = str((globals or {}).get("__package__") or "")
            absolute = importlib.util.resolve_name("." * level + name, package)
        else:
            absolute = name
        is_own = absolute == PACKAGE or f"{absolute}.".startswith(f"{self.root}.")
        if not is_own:
            return builtins.__import__(absolute, globals, locals, fromlist or (), 0)
        module = self._parent if absolute == PACKAGE else self.import_module(absolute)
        if not fromlist:
            return self._parent
        for item in fromlist:
            self._import_item(module, absolute, item)
        return module

    def _import_item(self, module: ModuleType, absolute: str, item: str) -> None:
        if item == "*":
            for each in getattr(module, "__all__", ()):
                self._import_item(module, absolute, each)
            return
        full_name = f"{absolute}.{item}"
        has_item = hasattr(module, item)
        is_module = hasattr(module, "__path__") and self.has_source(full_name)
        # One that the package has already may still be in the making, on another thread.
        if is_module and (not has_item or full_name in self.modules):
            self.import_module(full_name)
        elif not has_item and full_name in sys.modules:
            # There Python would look next, and find what belongs to others.
            hint = ": modules do not import each other" if absolute == PACKAGE else ""
            raise ImportError(f"cannot import name {item!r} from {absolute!r}{hint}", name=absolute)

    # ------------------------------------------------------------------- lines for tracebacks

    @contextlib.contextmanager
    def lines_shown(self) -> Iterator[None]:
        """While it lasts, tracebacks show this generation's lines."""
        _show(self)
        try:
            yield
        finally:
            shown = doors.serving(self.root)
            if isinstance(shown, Generation) and shown is not self:
                self._hide_lines()
                _show(shown)

    def _hide_lines(self) -> None:
        for path, lines in self._lines.items():
            if linecache.cache.get(path) is lines:
                del linecache.cache[path]


def _show(generation: Generation) -> None:
    linecache.cache.update(generation._lines)


def _parents(name: str) -> Iterator[str]:
    while "." in name:
        name = name.rpartition(".")[0]
        yield name


def _decoded(source: bytes) -> str:
    try:
        return importlib.util.decode_source(source)
    except (SyntaxError, UnicodeDecodeError):
        return source.decode(errors="replace")


class SnapshotLoader(doors.DoorLoader):
    """What `__loader__` is: shows the source that was read. Other files of a package, which
    importlib.resources finds through it, are those of today."""

    def __init__(self, path: str | None, source: bytes) -> None:
        self.path = path
        self.has_package = False
        self._source = source

    def get_source(self, _name: str) -> str:
        return _decoded(self._source)

    def is_package(self, _name: str) -> bool:
        return self.has_package

    def get_resource_reader(self, _name: str) -> FileReader | None:
        return None if self.path is None else FileReader(self)  # type: ignore[arg-type]


def generation_of(error: BaseException, name: str) -> Generation | None:
    """The generation of the module `name` whose code is innermost in the traceback."""
    found = None
    trace = error.__traceback__
    while trace is not None:
        own = trace.tb_frame.f_builtins.get(GENERATION_NAME)
        if isinstance(own, Generation) and own.name == name:
            found = own
        trace = trace.tb_next
    return found
