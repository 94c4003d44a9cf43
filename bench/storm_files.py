"""storm_files: the modules of the storm, in two versions each, and ways to put them in place."""

import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from servers import HERE, run_compiler

SOURCES = HERE / "storm_src"
MODULES = ("storm_inline", "storm_pool", "storm_python")  # in the order of storm_load's states
VERSIONS = "AB"
ABSENT = "-"

_WORDS = {"storm_inline": ("INLINE", "hrmr::kInline"), "storm_pool": ("POOL", "hrmr::kPool")}
_INCLUDE = f"-I{HERE.parent / 'shared_src'}"
MODULE_FLAGS = ("-O2", "-std=c++20", "-fPIC", "-shared", "-fvisibility=hidden", "-fno-gnu-unique")


class Editions:
    """Both versions of each module, built once, in a folder that is none of a server's."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.load_program = folder / "storm_load"

    def build(self) -> None:
        """Compiles them, and storm_load. BenchError when that fails."""
        self.folder.mkdir(parents=True, exist_ok=True)
        source = HERE / "storm_load.cpp"
        commands = [["g++", "-O2", "-std=c++20", str(source), "-o", str(self.load_program)]]
        commands += [
            native_command(name, version, self.path(name, version))
            for name in _WORDS
            for version in VERSIONS
        ]
        with ThreadPoolExecutor(max_workers=2) as pool:
            for _ in pool.map(run_compiler, commands):
                pass
        template = (SOURCES / "storm_python.py").read_text()
        for version in VERSIONS:
            path = self.path("storm_python", version)
            path.write_text(template.replace("@VERSION@", version))

    def path(self, name: str, version: str) -> Path:
        return self.folder / f"{name}.{version}{suffix_of(name)}"


class PlacedFiles:
    """The modules in a server's folder, and what is there: `states`, such as "AB-"."""

    def __init__(self, editions: Editions, folder: Path) -> None:
        self.folder = folder
        self._editions = editions
        self._states = dict.fromkeys(MODULES, ABSENT)
        folder.mkdir(parents=True, exist_ok=True)

    @property
    def states(self) -> str:
        return "".join(self._states.values())

    def state(self, name: str) -> str:
        return self._states[name]

    def other(self, name: str) -> str:
        """The version that is not there."""
        return VERSIONS[1] if self._states[name] == VERSIONS[0] else VERSIONS[0]

    def replace(self, name: str, version: str) -> None:
        """In one step, as `hrmr build`, `mv` and careful editors do."""
        target = self._target(name)
        fresh = target.with_suffix(".part")
        shutil.copyfile(self._editions.path(name, version), fresh)
        fresh.replace(target)
        self._states[name] = version

    def overwrite(self, name: str, version: str) -> None:
        """In place, as `cp` does: the file is truncated, then written."""
        shutil.copyfile(self._editions.path(name, version), self._target(name))
        self._states[name] = version

    def remove(self, name: str) -> None:
        self._target(name).unlink()
        self._states[name] = ABSENT

    def _target(self, name: str) -> Path:
        return self.folder / f"{name}{suffix_of(name)}"


def suffix_of(name: str) -> str:
    return ".so" if name in _WORDS else ".py"


def native_command(name: str, version: str, target: Path, *more: str) -> list[str]:
    """What compiles that module's version; `more`: further flags."""
    word, run = _WORDS[name]
    macros = {
        "NAME": f'"{name}"',
        "VERSION": f"'{version}'",
        "WORD": f'"{word} "',
        "HTTP_PATH": f'"/{word.lower()}/"',
        "RUN": run,
    }
    defines = [f"-D{macro}={value}" for macro, value in macros.items()]
    source = str(SOURCES / "storm_native.cpp")
    return ["g++", *MODULE_FLAGS, _INCLUDE, *defines, *more, source, "-o", str(target)]
