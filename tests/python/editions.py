"""Editions of one module, as a .so and as a .py file, that answer alike but for their version."""

import os
import shutil
from abc import ABC, abstractmethod
from pathlib import Path
from textwrap import dedent

from conftest import Compile, place

NAME = "versioned"

_PYTHON = dedent("""
    import os
    import hrmr

    __version__ = "{version}"

    def wait_for(path):
        if os.path.exists(path):
            with open(path, "rb") as gate:
                gate.read()

    def load(config):
        wait_for(config.get("gate", ""))

    @hrmr.route("VERSION")
    @hrmr.route("GET /version")
    def answer(request):
        return "version {version}\\n"

    @hrmr.route("HOLD ")
    def hold(request):
        wait_for(request.text)
        return "held by version {version}\\n"
""")


class Editions(ABC):
    """The module `versioned` in a folder of modules."""

    suffix: str

    def __init__(self, folder: Path) -> None:
        self.path = folder / (NAME + self.suffix)

    @abstractmethod
    def put(self, version: str) -> None:
        """Puts that version there, replacing the file in one step."""

    @abstractmethod
    def overwrite(self, version: str) -> None:
        """Writes that version over the file, in place."""

    def remove(self) -> None:
        self.path.unlink()


class NativeEditions(Editions):
    suffix = ".so"

    def __init__(self, folder: Path, build: Compile) -> None:
        super().__init__(folder)
        self._build = build

    def built(self, version: str) -> Path:
        return self._build(NAME, VERSION=f'"{version}"')

    def put(self, version: str) -> None:
        place(self.built(version), self.path.parent, NAME)

    def overwrite(self, version: str) -> None:
        shutil.copyfile(self.built(version), self.path)


class PythonEditions(Editions):
    suffix = ".py"

    def put(self, version: str) -> None:
        fresh = self.path.with_suffix(".part")
        fresh.write_text(_PYTHON.format(version=version))
        fresh.replace(self.path)

    def overwrite(self, version: str) -> None:
        self.path.write_text(_PYTHON.format(version=version))


def mapped_generations(pid: int | str) -> set[str]:
    """The private files of generations of `versioned` that the process has mapped."""
    lines = Path(f"/proc/{pid}/maps").read_text().splitlines()
    return {line.split(maxsplit=5)[-1] for line in lines if f"/{NAME}." in line}


def same_times(path: Path, source: os.stat_result) -> None:
    os.utime(path, ns=(source.st_atime_ns, source.st_mtime_ns))
