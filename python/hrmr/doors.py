"""doors: what stands in sys.modules for the modules that the server has loaded.

Several generations of one module are alive at once, each under the same names; pickle, dataclasses,
typing and importlib look those names up in sys.modules. A Door stands there, and shows each who
asks the right one: code of a generation sees its own modules, found by walking up the stack;
everybody else sees the generation that serves. So a generation that is being loaded, or refused,
does not disturb the one that serves, and the one that finishes its last requests still sees itself.

Where no code of a generation is on the stack, as when a thread pool calls pickle.dumps with an
object of an old generation, the one that serves is seen.

Threads: any.
"""

import sys
from importlib.abc import Loader
from importlib.machinery import ModuleSpec
from types import FrameType, ModuleType
from typing import Any, Protocol

PACKAGE = "hrmr_modules"  # the names of all modules begin with it

# The name under which each generation stands among the builtins of its own code.
GENERATION_NAME = "__hrmr_generation__"


class Modules(Protocol):
    """What doors ask of a generation."""

    root: str
    modules: dict[str, ModuleType]
    has_loaded: bool
    is_closed: bool

    def has_source(self, name: str) -> bool: ...
    def import_module(self, name: str) -> ModuleType: ...
    def make_spec(self, name: str) -> ModuleSpec: ...


_living: dict[str, list[Modules]] = {}  # by the name of the root module, in the order of opening


def add(generation: Modules) -> None:
    """It is asked for its modules from now on; at first by its own code only."""
    if PACKAGE not in sys.modules:
        package = ModuleType(PACKAGE)
        package.__path__ = []
        sys.modules[PACKAGE] = package
    if _Finder not in sys.meta_path:
        # Before the finders that would read the files of today.
        sys.meta_path.insert(0, _Finder)
    _living.setdefault(generation.root, []).append(generation)


def remove(generation: Modules) -> None:
    """Takes it away, and the doors that lead nowhere then."""
    _living[generation.root].remove(generation)
    for name in list(generation.modules):
        close(name)
    if not _living[generation.root]:
        del _living[generation.root]


def serving(root: str) -> Modules | None:
    """The newest that has loaded, or else the newest."""
    living = _living.get(root)
    if not living:
        return None
    return next((each for each in reversed(living) if each.has_loaded), living[-1])


def open_for(name: str) -> None:
    """Puts a door for the module into sys.modules."""
    if isinstance(sys.modules.get(name), Door):
        return
    sys.modules[name] = Door(name)
    if name.count(".") == 1:
        setattr(sys.modules[PACKAGE], name.partition(".")[2], sys.modules[name])


def close(name: str) -> None:
    """Takes the door away, unless a generation still has a module of that name."""
    if any(name in each.modules for each in _living.get(root_of(name), [])):
        return
    if isinstance(sys.modules.get(name), Door):
        del sys.modules[name]
        if name.count(".") == 1:
            vars(sys.modules[PACKAGE]).pop(name.partition(".")[2], None)


def root_of(name: str) -> str:
    """hrmr_modules.users for hrmr_modules.users.store."""
    return ".".join(name.split(".", 2)[:2])


def generation_of(frame: FrameType | None, root: str) -> Modules | None:
    """That of the innermost code of such a module on the stack."""
    while frame is not None:
        generation: Modules | None = frame.f_builtins.get(GENERATION_NAME)
        if generation is not None and generation.root == root:
            return generation
        frame = frame.f_back
    return None


def _asked(name: str, frame: FrameType | None) -> Modules | None:
    root = root_of(name)
    return generation_of(frame, root) or serving(root)


class Door(ModuleType):
    """The module of that name of the generation whose code asks, or else of the one that serves."""

    def __getattribute__(self, name: str) -> Any:
        return getattr(_behind(self, name, sys._getframe().f_back), name)

    def __setattr__(self, name: str, value: object) -> None:
        frame = sys._getframe().f_back
        if isinstance(value, Door):  # the import system sets it in the parent
            value = _behind(value, "__spec__", frame)
        setattr(_behind(self, name, frame), name, value)

    def __delattr__(self, name: str) -> None:
        delattr(_behind(self, name, sys._getframe().f_back), name)

    def __dir__(self) -> list[str]:
        return dir(_behind(self, "__dir__", sys._getframe().f_back))


def _behind(door: Door, attribute: str, frame: FrameType | None) -> ModuleType:
    """AttributeError: the generation has no such module, or has not imported it."""
    name: str = ModuleType.__getattribute__(door, "__name__")
    generation = _asked(name, frame)
    if generation is not None:
        # What the import system asks of each module that it finds in sys.modules: perhaps only
        # another generation has imported it so far, or another thread is about to.
        if attribute == "__spec__" and generation.has_source(name):
            return generation.import_module(name)
        module = generation.modules.get(name)
        if module is not None:
            return module
    raise AttributeError(f"module {name!r} is not imported, so it has no {attribute!r}")


class _Finder:
    """Of modules that have no door yet."""

    @staticmethod
    def find_spec(
        fullname: str, _path: object = None, _target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if not fullname.startswith(PACKAGE + "."):
            return None
        generation = _asked(fullname, sys._getframe().f_back)
        if generation is None:
            return None
        if generation.is_closed or not generation.has_source(fullname):
            # Not None: the next finder would look into the package's folder, as it is today.
            raise ModuleNotFoundError(f"No module named {fullname!r}", name=fullname)
        return generation.make_spec(fullname)


class DoorLoader(Loader):
    """The half of a loader with which the import system makes a module."""

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        generation = _asked(spec.name, sys._getframe().f_back)
        if generation is None:
            raise ModuleNotFoundError(f"No module named {spec.name!r}", name=spec.name)
        generation.import_module(spec.name)
        return sys.modules[spec.name]

    def exec_module(self, module: ModuleType) -> None:
        """It has been executed when it was created."""
