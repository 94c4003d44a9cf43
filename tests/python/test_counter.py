"""The example counter: a thousand reloads under load lose no increment, and repeat none."""

import subprocess
import threading
from pathlib import Path
from typing import Self

import pytest
from conftest import StartServer, place
from hrmr import paths
from wire_client import Client, ask

SOURCE = Path(__file__).parents[2] / "examples/cmake_module/counter.cpp"
RELOADS = 1000
PIPELINED = 8


def build(source: Path, target: Path, level: str) -> Path:
    flags = ["-std=c++20", level, "-fPIC", "-shared", "-fvisibility=hidden", "-fno-gnu-unique"]
    command = ["g++", *flags, f"-I{paths.include_dir()}", str(source), "-o", str(target)]
    subprocess.run(command, check=True)
    return target


@pytest.fixture(scope="module")
def editions(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Two builds of the counter that differ in their bytes."""
    folder = tmp_path_factory.mktemp("counter")
    levels = ("-O1", "-O2")
    return [build(SOURCE, folder / f"counter.{level}.so", level) for level in levels]


class Counting:
    """Clients that count, each on a connection of its own, and remember what they were told."""

    def __init__(self, port: int, clients: int) -> None:
        self.told: list[int] = []
        self._port = port
        self._is_over = threading.Event()
        self._lock = threading.Lock()
        self._threads = [threading.Thread(target=self._count) for _ in range(clients)]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._is_over.set()
        for thread in self._threads:
            thread.join()

    def _count(self) -> None:
        told = []
        with Client(self._port) as client:
            while not self._is_over.is_set():
                client.send("COUNT\n" * PIPELINED)
                told += [int(client.read_line()) for _ in range(PIPELINED)]
        with self._lock:
            self.told += told


def test_a_thousand_reloads_under_load_lose_no_increment(
    start_server: StartServer, modules: Path, editions: list[Path]
) -> None:
    place(editions[0], modules)
    server = start_server()
    with Counting(server.port, clients=3) as counting:
        for turn in range(RELOADS):
            place(editions[(turn + 1) % 2], modules)
            report = server.reload()
            assert [outcome.change for outcome in report] == ["reloaded"], str(report)
            assert report[0].note == ""
    assert server.modules[0].generation == RELOADS + 1
    # Every number once: nothing lost, nothing repeated, none told that did not last.
    assert sorted(counting.told) == list(range(1, len(counting.told) + 1))
    assert ask(server.port, "COUNT") == str(len(counting.told) + 1)


def test_each_client_sees_the_count_grow(
    start_server: StartServer, modules: Path, editions: list[Path]
) -> None:
    place(editions[0], modules)
    server = start_server(loops=2)
    with Client(server.port) as client:
        seen = [int(client.ask("COUNT"))]
        for turn in range(20):
            place(editions[(turn + 1) % 2], modules)
            assert server.reload().ok
            seen.append(int(client.ask("COUNT")))
    assert seen == list(range(1, 22))


def test_a_refused_state_leaves_the_old_count_untouched(
    start_server: StartServer, modules: Path, editions: list[Path], tmp_path: Path
) -> None:
    place(editions[0], modules)
    server = start_server()
    assert [ask(server.port, "COUNT") for _ in range(3)] == ["1", "2", "3"]
    newer = tmp_path / "counter.cpp"
    newer.write_text(SOURCE.read_text().replace("kSchema = 1", "kSchema = 2"))
    place(build(newer, tmp_path / "counter.so", "-O1"), modules)
    report = server.reload()
    assert str(report) == "failed counter: cannot read a count of schema 1"
    assert ask(server.port, "COUNT") == "4"
