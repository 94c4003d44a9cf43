"""time_to_live: how long a finished module file takes until it answers.

The clock starts when the finished file is renamed into place; RELOAD is sent at once on one open
connection, while another one asks again and again. It stops when the first answer of the new
version has been read.
"""

import shutil
import socket
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from servers import HERE, BenchError, run_compiler
from storm_files import MODULE_FLAGS, VERSIONS, Editions, suffix_of
from storm_server import StormServer

ANSWER_TIMEOUT_S = 30.0
_WARM_UP = 5  # reloads that are not counted


@dataclass(frozen=True)
class Subject:
    """A module that is reloaded: its files by version, and what tells which one answers."""

    name: str
    files: dict[str, Path]
    request: bytes
    # What only the answer of that version has in it.
    mark: Callable[[str], bytes]
    end: bytes  # of an answer


@dataclass(frozen=True)
class LiveTimes:
    """In milliseconds, of `count` reloads."""

    name: str
    count: int
    median_ms: float
    worst_ms: float
    renamed_ms: float  # median of the part that the file system took, before RELOAD was sent
    answered_ms: float  # median of when the answer to RELOAD was there
    answered_worst_ms: float


class Line:
    """A connection that asks and reads to the end of an answer."""

    def __init__(self, port: int) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), ANSWER_TIMEOUT_S)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def ask(self, request: bytes, end: bytes) -> bytes:
        self.socket.sendall(request)
        return self.read(lambda answer: answer.endswith(end))

    def read(self, is_whole: Callable[[bytes], bool]) -> bytes:
        answer = b""
        while not is_whole(answer):
            part = self.socket.recv(1 << 16)
            if not part:
                raise BenchError(f"the server closed a connection after {answer!r}")
            answer += part
        return answer


def measure_live_times(editions: Editions, folder: Path, times: int) -> list[LiveTimes]:
    """Of http.so and of each kind of small module, on a server that does nothing else."""
    modules = folder / "modules"
    modules.mkdir(parents=True)
    (folder / "static").mkdir()
    subjects = _subjects(editions, folder)
    for subject in subjects:
        shutil.copyfile(subject.files[VERSIONS[0]], _target(subject, modules))
    flags = ["--static", str(folder / "static")]
    with StormServer(modules, folder / "live.log", flags) as server:
        measured = [_measure(subject, server, modules, times) for subject in subjects]
        server.stop()
    return measured


def _measure(subject: Subject, server: StormServer, modules: Path, times: int) -> LiveTimes:
    renamed_ms, live_ms, answered_ms = [], [], []
    asker, reloader = Line(server.port), Line(server.port)
    target = _target(subject, modules)
    for turn in range(_WARM_UP + times):
        version = VERSIONS[(turn + 1) % 2]
        fresh = target.with_suffix(".part")
        shutil.copyfile(subject.files[version], fresh)
        begin = time.perf_counter()
        fresh.replace(target)
        renamed_ms.append((time.perf_counter() - begin) * 1000)
        reloader.socket.sendall(b"RELOAD\n")
        while subject.mark(version) not in asker.ask(subject.request, subject.end):
            if time.perf_counter() - begin > ANSWER_TIMEOUT_S:
                raise BenchError(f"{subject.name} is not live after {ANSWER_TIMEOUT_S:.0f} s")
        live_ms.append((time.perf_counter() - begin) * 1000)
        reloader.read(_is_report)
        answered_ms.append((time.perf_counter() - begin) * 1000)
    return LiveTimes(
        subject.name,
        times,
        statistics.median(live_ms[_WARM_UP:]),
        max(live_ms[_WARM_UP:]),
        statistics.median(renamed_ms[_WARM_UP:]),
        statistics.median(answered_ms[_WARM_UP:]),
        max(answered_ms[_WARM_UP:]),
    )


def _is_report(answer: bytes) -> bool:
    if not answer.endswith(b"\n"):
        return False
    last = answer.splitlines()[-1]
    if last.startswith((b"ERR ", b"503 ")):
        raise BenchError(f"RELOAD answered:\n{answer.decode(errors='replace')}")
    return last.startswith(b"OK ")


def _subjects(editions: Editions, folder: Path) -> list[Subject]:
    small = (("storm_inline", "INLINE"), ("storm_pool", "POOL"), ("storm_python", "PYTHON"))
    return [
        _http_subject(folder),
        *(
            Subject(
                name + suffix_of(name),
                {version: editions.path(name, version) for version in VERSIONS},
                f"{word} 1 0 \n".encode(),
                lambda version, word=word: f"{word} {version} ".encode(),
                b"\n",
            )
            for name, word in small
        ),
    ]


# The bundled module, with other words on its page for what is missing.
def _http_subject(folder: Path) -> Subject:
    source = (HERE.parent / "module_src" / "http.cpp").read_text()
    words = "404: nothing here"
    if source.count(words) == 0:
        raise BenchError(f"module_src/http.cpp does not say {words} any more: mend time_to_live")
    files = {}
    for version in VERSIONS:
        path = folder / f"http_{version}.cpp"
        path.write_text(source.replace(words, f"version {version}, and nothing else"))
        files[version] = folder / f"http.{version}.so"
        includes = [f"-I{HERE.parent / 'shared_src'}", f"-I{HERE.parent / 'module_src'}"]
        run_compiler(["g++", *MODULE_FLAGS, "-g", *includes, str(path), "-o", str(files[version])])
    request = b"GET /missing HTTP/1.1\r\nHost: bench\r\n\r\n"
    return Subject("http.so", files, request, lambda v: f"version {v}".encode(), b"nothing else\n")


def _target(subject: Subject, modules: Path) -> Path:
    name, _, suffix = subject.name.rpartition(".")
    return modules / f"{name}.{suffix}"
