"""Editions of one module, as a .so and as a .py file, that answer alike but for their version; and
clients that ask all the time."""

import os
import shutil
import threading
from abc import ABC, abstractmethod
from pathlib import Path
from textwrap import dedent
from typing import Self

from conftest import Compile, place
from wire_client import Client, http_request

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


class Traffic:
    """Threads that ask all the time, each on one connection that must never break.

    questions: a line, or a path that begins with "/", and the answers that are right.
    """

    def __init__(self, port: int, questions: dict[str, set[str]]) -> None:
        self.faults: list[str] = []
        self.answers: set[str] = set()
        self.count = 0
        self._port = port
        self._ends = threading.Event()
        self._threads = [
            threading.Thread(target=self._run, args=question) for question in questions.items()
        ]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ends.set()
        for thread in self._threads:
            thread.join()

    def _run(self, question: str, allowed: set[str]) -> None:
        try:
            with Client(self._port) as client:
                while not self._ends.is_set():
                    self._ask(client, question, allowed)
        except (OSError, EOFError, ValueError) as error:
            self.faults.append(f"{question}: {error!r}")

    def _ask(self, client: Client, question: str, allowed: set[str]) -> None:
        # Several at once, so that batches and pipelines are met by the reload too.
        for _ in range(5):
            client.send(http_request(question) if question[0] == "/" else question + "\n")
        for _ in range(5):
            if question[0] == "/":
                response = client.read_response()
                answer = f"{response.status} {response.text}"
            else:
                answer = client.read_line()
            self.answers.add(answer)
            self.count += 1
            if answer not in allowed:
                self.faults.append(f"{question}: {answer!r}")
                self._ends.set()


def mapped_generations(pid: int | str) -> set[str]:
    """The private files of generations of `versioned` that the process has mapped."""
    lines = Path(f"/proc/{pid}/maps").read_text().splitlines()
    return {line.split(maxsplit=5)[-1] for line in lines if f"/{NAME}." in line}


def same_times(path: Path, source: os.stat_result) -> None:
    os.utime(path, ns=(source.st_atime_ns, source.st_mtime_ns))
