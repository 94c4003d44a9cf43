"""The storm of bench/storm.py, shortened: reloads without end while clients ask at full load."""

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

BENCH = Path(__file__).resolve().parents[2] / "bench"
sys.path.insert(0, str(BENCH))

import storm_run  # noqa: E402
from servers import BenchError  # noqa: E402
from storm_files import Editions, PlacedFiles  # noqa: E402
from storm_run import Storm  # noqa: E402
from storm_server import Figures, StormServer  # noqa: E402

# A sanitizer makes every byte slow, and its allocator keeps for a while what was freed.
SANITIZED = bool(os.environ.get("HRMR_SANITIZE"))
RELOADS = 100 if SANITIZED else 500
WARM_UP = 100
SEED = 20_250_101
# For so short a run: what the kernel and malloc take in large steps must not make it fail, while
# a leak of one map, descriptor or thread at each reload is hundreds of them.
GROWN_MAX = {"descriptors": 8, "maps": 24, "threads": 4, "resident_kib": 12_288}
if SANITIZED:
    GROWN_MAX["resident_kib"] = 400 * 1024


@pytest.fixture(scope="session")
def editions(tmp_path_factory: pytest.TempPathFactory) -> Editions:
    built = Editions(tmp_path_factory.mktemp("editions"))
    built.build()
    return built


@pytest.fixture
def files(editions: Editions, tmp_path: Path) -> PlacedFiles:
    return storm_run.begin(editions, tmp_path / "modules")


@pytest.fixture
def server(files: PlacedFiles, tmp_path: Path) -> Iterator[StormServer]:
    with StormServer(files.folder, tmp_path / "server.log") as started:
        yield started


@pytest.mark.parametrize("loops", ["1", "2"])
def test_storm_of_reloads_harms_no_answer_and_leaves_nothing_behind(
    files: PlacedFiles, tmp_path: Path, editions: Editions, loops: str
) -> None:
    log = tmp_path / "server.log"
    with StormServer(files.folder, log, ["--loops", loops]) as server:
        before = server.figures()
        with Storm(server, files, editions.load_program, 2, SEED) as storm:
            storm.reload(WARM_UP)
            early = server.figures()
            storm.reload(RELOADS)
            late = server.figures()
            answers = storm.end()
        storm_run.check_nothing_is_left(server, before, files.states)
        server.stop()
    assert storm.reloads == WARM_UP + RELOADS
    assert answers > storm.reloads
    assert set(storm.changes) == {
        *("replaced by rename", "overwritten in place", "deleted", "restored")
    }
    assert grown_too_much(early, late) == {}


def grown_too_much(early: Figures, late: Figures) -> dict[str, tuple[int, int]]:
    pairs = {name: (getattr(early, name), getattr(late, name)) for name in GROWN_MAX}
    return {name: (old, new) for name, (old, new) in pairs.items() if new - old > GROWN_MAX[name]}


# --------------------------------------------------- whether the storm would see that it is wrong


def begin_storm(server: StormServer, files: PlacedFiles, program: Path) -> Storm:
    return Storm(server, files, program, 1, SEED)


def reload_and_end(storm: Storm, states: str) -> None:
    storm.send_reload(states)
    storm.end()


def test_storm_sees_an_answer_that_is_too_old(
    server: StormServer, files: PlacedFiles, editions: Editions
) -> None:
    right = r"right would be version B of reload 1 to 1 "
    with (
        begin_storm(server, files, editions.load_program) as storm,
        pytest.raises(BenchError, match=rf"wrong answer\n.*\n.*INLINE A .*\n.*{right}"),
    ):
        reload_and_end(storm, "BAA")  # nothing was changed


def test_storm_sees_an_answer_that_is_too_new(
    server: StormServer, files: PlacedFiles, editions: Editions
) -> None:
    right = r"right would be version A+ of reload [01] to 1 "
    with begin_storm(server, files, editions.load_program) as storm:
        files.replace("storm_pool", "B")
        with pytest.raises(BenchError, match=rf"wrong answer\n.*\n.*POOL B .*\n.*{right}"):
            reload_and_end(storm, "AAA")


FAULTS = {
    "torn": ("answer[:-9] + b'?' + answer[-8:]", "wrong answer"),
    "of two versions": ("answer[:-2] + b'B\\n'", "wrong answer"),
    "sent twice": ("answer * 2", "wrong answer|nothing was asked"),
    "another's": ("answer.replace(serial, b'1')", "wrong answer"),
    "failed": ("1 / 0", "wrong answer"),
    "lost": ("b''", "wrong answer|no answer in time"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_storm_sees_one_bad_answer(
    files: PlacedFiles,
    tmp_path: Path,
    editions: Editions,
    monkeypatch: pytest.MonkeyPatch,
    fault: str,
) -> None:
    spoilt, complaint = FAULTS[fault]
    source = editions.path("storm_python", "A").read_text()
    # One in a hundred, and with a letter of its version at its end.
    spoil = f"    return {spoilt} if int(serial) % 100 == 7 and int(fill) else answer\n"
    spoilt_source = source.replace("    return b", "    answer = b") + spoil
    assert spoilt_source != source + spoil
    (files.folder / "storm_python.py").write_text(spoilt_source)
    # An answer that never comes is waited for in full.
    monkeypatch.setattr(storm_run, "SILENCE_S", 3.0)
    with (
        StormServer(files.folder, tmp_path / "server.log") as server,
        begin_storm(server, files, editions.load_program) as storm,
        pytest.raises(BenchError, match=complaint),
    ):
        storm.ask_only(20.0)


def test_storm_ends_when_the_server_dies(
    server: StormServer, files: PlacedFiles, editions: Editions
) -> None:
    with begin_storm(server, files, editions.load_program) as storm:
        storm.reload(3)
        server.process.kill()
        with pytest.raises(BenchError, match="the server ended with code -9"):
            storm.reload(100_000)


def test_storm_sees_a_module_that_does_not_load(
    server: StormServer, files: PlacedFiles, editions: Editions
) -> None:
    with begin_storm(server, files, editions.load_program) as storm:
        (files.folder / "storm_pool.so").write_bytes(b"not a library")
        with pytest.raises(BenchError, match=r"answered:\n(.*\n)*failed storm_pool: "):
            storm.check_reload("AAA", "AAA")
