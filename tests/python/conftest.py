"""Fixtures: servers (as processes, and in this one), compiled modules, gates."""

import linecache
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from textwrap import dedent

import hrmr
import pytest
from hrmr import paths, python_module
from hrmr.python_module import PythonModule, open_python
from wire_client import DEADLINE_S, Gate

SOURCES = Path(__file__).parent / "modules"
_COMPILE = ("-std=c++20", "-O1", "-fPIC", "-shared", "-fvisibility=hidden", "-fno-gnu-unique")

Compile = Callable[..., Path]
StartServer = Callable[..., hrmr.Server]


class HrmrProcess:
    """A running `hrmr`; its log, line by line, in `lines`."""

    def __init__(self, arguments: list[str], folder: Path, variables: dict[str, str]) -> None:
        self.lines: list[str] = []
        self._changed = threading.Condition()
        self._has_ended = False
        self.process = subprocess.Popen(
            [sys.executable, "-m", "hrmr", *arguments],
            cwd=folder,
            env=clean_environ(variables),
            stdin=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            errors="replace",
        )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        listening = self.wait_for(r"listening on (?:http://\S*:(\d+)|unix:)")
        self.port = int(listening[1] or 0)

    @property
    def log(self) -> str:
        return "\n".join(self.lines)

    @property
    def pid(self) -> int:
        return self.process.pid

    def wait_for(self, pattern: str, first_line: int = 0) -> re.Match[str]:
        """The first log line, from that line on, that matches: now or soon."""

        def find() -> re.Match[str] | None:
            matches = (re.search(pattern, line) for line in self.lines[first_line:])
            return next((match for match in matches if match), None)

        with self._changed:
            self._changed.wait_for(lambda: find() or self._has_ended, DEADLINE_S)
        found = find()
        if found is None:
            pytest.fail(f"no log line matches {pattern!r}:\n{self.log}")
        return found

    def wait(self) -> int:
        """The exit code, once the process has ended by itself."""
        code = self.process.wait(DEADLINE_S)
        self._reader.join(DEADLINE_S)
        return code

    def signal(self, number: signal.Signals) -> None:
        self.process.send_signal(number)

    def kill(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.wait()

    def _read(self) -> None:
        assert self.process.stderr is not None
        with self.process.stderr as stream:
            for line in stream:
                with self._changed:
                    self.lines.append(line.rstrip("\n"))
                    self._changed.notify_all()
        with self._changed:
            self._has_ended = True
            self._changed.notify_all()


def clean_environ(variables: dict[str, str] | None = None) -> dict[str, str]:
    """The environment without HRMR_* and compiler settings, plus `variables`."""
    unwanted = ("HRMR_", "CXX", "CC", "CPPFLAGS", "CFLAGS", "LDFLAGS")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(unwanted)}
    return kept | (variables or {})


def write_module(folder: Path, name: str, source: str) -> Path:
    """Writes the Python module `name`; the source may be indented."""
    path = folder / f"{name}.py"
    path.write_text(dedent(source).removeprefix("\n"))
    return path


def place(built: Path, folder: Path, name: str = "") -> Path:
    """Puts a built module into the folder as `hrmr build` does: it is never there in part."""
    target = folder / f"{name or built.name.partition('.')[0]}.so"
    fresh = target.with_suffix(".part")
    shutil.copyfile(built, fresh)
    return fresh.replace(target)


@pytest.fixture
def start_hrmr(tmp_path: Path) -> Iterator[Callable[..., HrmrProcess]]:
    """Starts `hrmr` in a folder of its own, on a free port, and waits until it listens."""
    started: list[HrmrProcess] = []

    def start(
        *arguments: str, folder: Path = tmp_path, variables: dict[str, str] | None = None
    ) -> HrmrProcess:
        has_port = any(word.lstrip("-").startswith("port") for word in arguments)
        port = [] if has_port else ["--port", "0"]
        started.append(HrmrProcess([*arguments, *port], folder, variables or {}))
        return started[-1]

    yield start
    for process in started:
        process.kill()


Serve = Callable[..., HrmrProcess]


@pytest.fixture
def serve(start_hrmr: Serve, tmp_path: Path, modules: Path) -> Iterator[Serve]:
    """Starts `hrmr` without its bundled modules on the folder `modules`. A server that a test
    leaves running must shut down in good order."""
    started: list[HrmrProcess] = []

    def start(*flags: str) -> HrmrProcess:
        started.append(start_hrmr("--no-bundled", "--modules", str(modules), *flags))
        return started[-1]

    yield start
    for server in started:
        if server.process.poll() is None:
            server.signal(signal.SIGTERM)
            assert server.wait() == 0, server.log


@pytest.fixture
def start_server(modules: Path) -> Iterator[StartServer]:
    """Starts a server in this process, on the folder `modules`, and stops it after the test."""
    started: list[hrmr.Server] = []

    def start(**options: object) -> hrmr.Server:
        given = {"port": 0, "modules": [modules], **options}
        server = hrmr.Server(**given)
        started.append(server)
        return server.start()

    yield start
    for server in started:
        assert server.stop(), "a handler still runs"


@pytest.fixture
def modules(tmp_path: Path) -> Path:
    """The folder of modules of this test's server."""
    folder = tmp_path / "modules"
    folder.mkdir()
    return folder


@pytest.fixture(scope="session")
def build(tmp_path_factory: pytest.TempPathFactory) -> Compile:
    """Compiles tests/python/modules/NAME.cpp with macros; each edition once per session.

    build("versioned", VERSION='"A"') is the path of a .so file.
    """
    folder = tmp_path_factory.mktemp("built")
    built: dict[tuple[object, ...], Path] = {}

    def compile_one(name: str, **macros: str) -> Path:
        edition = (name, *sorted(macros.items()))
        if edition not in built:
            target = folder / f"{name}.{len(built)}.so"
            defines = [f"-D{macro}={value}" for macro, value in macros.items()]
            include = f"-I{paths.include_dir()}"
            source = SOURCES / f"{name}.cpp"
            subprocess.run(
                ["g++", *_COMPILE, include, *defines, str(source), "-o", str(target)], check=True
            )
            built[edition] = target
        return built[edition]

    return compile_one


@pytest.fixture
def probe(build: Compile, modules: Path) -> Path:
    """The module `probe` (modules/probe.cpp), placed in the folder of modules."""
    return place(build("probe"), modules)


@pytest.fixture
def make_gate(tmp_path: Path) -> Iterator[Callable[..., Gate]]:
    gates: list[Gate] = []

    def make(name: str = "gate") -> Gate:
        gates.append(Gate(tmp_path / name))
        return gates[-1]

    yield make
    for gate in gates:
        gate.give_up()


def descriptors(pid: int | str = "self") -> int:
    return len(list(Path(f"/proc/{pid}/fd").iterdir()))


def threads(pid: int | str = "self") -> int:
    return len(list(Path(f"/proc/{pid}/task").iterdir()))


def resident_kib(pid: int | str = "self", field: str = "VmRSS") -> int:
    """VmRSS: now; VmHWM: at most so far."""
    status = Path(f"/proc/{pid}/status").read_text()
    return int(re.search(rf"^{field}:\s+(\d+) kB", status, re.MULTILINE)[1])


# ---------------------------------------------------------------- generations without a server

SHOP_FOLDER = "/nowhere/shop"
SHOP = "hrmr_modules.shop"
LoadShop = Callable[..., PythonModule]


@pytest.fixture
def load(monkeypatch: pytest.MonkeyPatch) -> Iterator[LoadShop]:
    """Loads sources as a generation of the package "shop", as the engine does. They are named by
    their path below the folder, without .py and with "__in__" for "/"."""
    # No test waits because a collection in another one was slow.
    monkeypatch.setattr(python_module._Sweeper, "QUICK_S", 1e9)
    before = set(sys.modules)
    loaded: list[PythonModule] = []

    def load_sources(
        folder: str = SHOP_FOLDER, previous: tuple[int, bytes] | None = None, **named: str
    ) -> PythonModule:
        sources = {
            f"{folder}/{name.replace('__in__', '/')}.py": dedent(text).encode()
            for name, text in named.items()
        }
        loaded.append(open_python("shop", folder, sources, len(loaded) + 1))
        try:
            loaded[-1].load({}, previous)
        except hrmr.ModuleError:
            loaded[-1].close()
            raise
        return loaded[-1]

    yield load_sources
    for module in loaded:
        module.close()
    assert not {name for name in set(sys.modules) - before if name.startswith(SHOP)}
    assert not any(path.startswith(SHOP_FOLDER) for path in linecache.cache)


def call_route(module: PythonModule, number: int = 0) -> object:
    """What the handler of that route returns."""
    return module.routes[number][2](None)  # type: ignore[arg-type]


def answering(expression: str, before: str = "") -> str:
    """A source whose route "A" answers that."""
    handler = f"@hrmr.route('A')\ndef answer(r):\n    return {expression}\n"
    return f"import hrmr\n{dedent(before)}\n{handler}"
