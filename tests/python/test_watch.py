"""--watch: what is saved in the folder of modules is live by itself, whole and settled."""

import re
import shutil
import subprocess
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import hrmr
import pytest
from conftest import (
    SOURCES,
    Compile,
    HrmrProcess,
    Serve,
    StartServer,
    descriptors,
    threads,
    write_module,
)
from editions import Editions, NativeEditions, PythonEditions
from hrmr import paths
from traffic import Traffic
from wire_client import DEADLINE_S, Client, Gate, ask, get, wait_until

NOBODY = "ERR no route for 'VERSION'"
WAYS = {"inotify": ["--watch"], "poll": ["--watch-poll", "0.1"]}


@pytest.fixture(params=["so", "py"])
def editions(request: pytest.FixtureRequest, modules: Path, build: Compile) -> Editions:
    if request.param == "so":
        return NativeEditions(modules, build)
    return PythonEditions(modules)


@pytest.fixture(params=WAYS)
def watching(request: pytest.FixtureRequest, serve: Serve) -> Callable[[], HrmrProcess]:
    """Starts a server that watches, in one of the two ways."""
    return lambda: serve(*WAYS[request.param])


def wait_for_answer(port: int, answer: str, line: str = "VERSION") -> None:
    with Client(port) as client:
        wait_until(lambda: client.ask(line) == answer, f"{line} is answered by {answer!r}")


def wait_for_version(port: int, version: str) -> None:
    wait_for_answer(port, f"version {version}")


def write_numbered(path: Path, number: int) -> None:
    path.write_text(f"import hrmr\nhrmr.route('NUMBER')(lambda request: '{number}\\n')\n")


def failures(server: HrmrProcess) -> list[str]:
    return [line for line in server.lines if re.search(r"ERROR|WARNING|Traceback", line)]


# ------------------------------------------------------------------------------- ways to save


def save_in_place(editions: Editions, version: str) -> None:
    editions.overwrite(version)


def save_by_rename(editions: Editions, version: str) -> None:
    editions.put(version)


def save_after_backup(editions: Editions, version: str) -> None:
    editions.path.replace(editions.path.with_name(editions.path.name + "~"))
    editions.overwrite(version)


def save_after_removal(editions: Editions, version: str) -> None:
    editions.remove()
    editions.overwrite(version)


def save_by_link(editions: Editions, version: str) -> None:
    aside = type(editions).__new__(type(editions))
    aside.__dict__.update(editions.__dict__)
    aside.path = editions.path.with_name("_aside" + editions.path.suffix)
    aside.overwrite(version)
    editions.remove()
    editions.path.hardlink_to(aside.path)
    aside.remove()


SAVES = [save_in_place, save_by_rename, save_after_backup, save_after_removal, save_by_link]


@pytest.mark.parametrize("save", SAVES)
def test_every_way_to_save_is_live_and_never_away(
    watching: Callable[[], HrmrProcess],
    editions: Editions,
    save: Callable[[Editions, str], None],
) -> None:
    editions.put("A")
    server = watching()
    with Traffic(server.port, {"VERSION": {"version A", "version B"}}) as traffic:
        for version in "BAB":
            save(editions, version)
            wait_for_version(server.port, version)
    assert traffic.faults == []
    assert failures(server) == []


def test_moved_here_from_elsewhere(serve: Serve, editions: Editions, tmp_path: Path) -> None:
    server = serve("--watch")
    editions.put("A")
    wait_for_version(server.port, "A")
    editions.path.replace(tmp_path / "elsewhere")
    wait_for_answer(server.port, NOBODY)
    subprocess.run(["mv", tmp_path / "elsewhere", editions.path], check=True)
    wait_for_version(server.port, "A")
    assert failures(server) == []


def test_linker_writes_straight_into_the_folder(serve: Serve, modules: Path) -> None:
    server = serve("--watch")
    flags = ["-std=c++20", "-O1", "-fPIC", "-shared", "-fno-gnu-unique"]
    include = f"-I{paths.include_dir()}"
    for version in "AB":
        source, define = SOURCES / "versioned.cpp", f'-DVERSION="{version}"'
        target = modules / "versioned.so"
        subprocess.run(["g++", *flags, include, define, source, "-o", target], check=True)
        wait_for_version(server.port, version)
    assert failures(server) == []


def test_module_that_gets_another_name_keeps_its_routes(serve: Serve, modules: Path) -> None:
    write_numbered(modules / "before.py", 1)
    server = serve("--watch")
    (modules / "before.py").replace(modules / "after.py")
    server.wait_for("removed before generation 1")
    wait_for_answer(server.port, "1", "NUMBER")


def test_removed_is_gone_and_restored_is_back(
    watching: Callable[[], HrmrProcess], editions: Editions
) -> None:
    server = watching()
    for _ in range(2):
        editions.put("A")
        wait_for_version(server.port, "A")
        editions.remove()
        wait_for_answer(server.port, NOBODY)
        assert get(server.port, "/version").status == 404
    assert failures(server) == []


def test_half_written_file_is_not_touched_while_its_neighbour_is_live(
    serve: Serve, modules: Path, build: Compile
) -> None:
    server = serve("--watch")
    content = NativeEditions(modules, build).built("A").read_bytes()
    half = len(content) // 2
    with (modules / "versioned.so").open("wb", buffering=0) as slow:
        slow.write(content[:half])
        for number in range(20):
            # A little more each time: on a slow machine the writer must not seem to have ended.
            slow.write(content[half + number : half + number + 1])
            write_numbered(modules / "quick.py", number)
            wait_for_answer(server.port, str(number), "NUMBER")
        assert ask(server.port, "VERSION") == NOBODY
        slow.write(content[half + 20 :])
    wait_for_version(server.port, "A")
    assert failures(server) == []


# ------------------------------------------------------------------------------------- places


def test_default_folder_that_is_made_later(start_hrmr: Serve, tmp_path: Path) -> None:
    server = start_hrmr("--no-bundled", "--watch")
    for number in range(2):
        (tmp_path / "modules").mkdir()
        write_numbered(tmp_path / "modules" / "numbered.py", number)
        wait_for_answer(server.port, str(number), "NUMBER")
        shutil.rmtree(tmp_path / "modules")
        wait_for_answer(server.port, "ERR no route for 'NUMBER'", "NUMBER")
    assert failures(server) == []


def test_link_is_pointed_elsewhere_and_what_it_leads_to_is_replaced(
    serve: Serve, modules: Path, build: Compile, tmp_path: Path
) -> None:
    native = NativeEditions(modules, build)
    for name, version in {"first": "A", "second": "B"}.items():
        (tmp_path / name).mkdir()
        shutil.copyfile(native.built(version), tmp_path / name / "versioned.so")
    native.path.symlink_to(tmp_path / "first" / "versioned.so")
    server = serve("--watch")
    assert ask(server.port, "VERSION") == "version A"
    native.remove()
    native.path.symlink_to(tmp_path / "second" / "versioned.so")
    wait_for_version(server.port, "B")
    fresh = tmp_path / "second" / "fresh"
    shutil.copyfile(native.built("A"), fresh)
    fresh.replace(tmp_path / "second" / "versioned.so")
    wait_for_version(server.port, "A")
    assert failures(server) == []


# -------------------------------------------------------------------------- failures and races


def test_broken_build_is_an_error_and_the_old_one_serves_on(
    watching: Callable[[], HrmrProcess], editions: Editions
) -> None:
    editions.put("A")
    server = watching()
    editions.path.write_bytes(b"1 / 0\n")
    failed = server.wait_for(r"ERROR +reload: failed versioned: .*\(generation 1 serves on\)")
    assert failed
    assert ask(server.port, "VERSION") == "version A"
    editions.overwrite("B")
    wait_for_version(server.port, "B")


@pytest.mark.parametrize("save", [save_in_place, save_by_rename])
def test_last_of_many_quick_saves_is_live(
    serve: Serve, editions: Editions, save: Callable[[Editions, str], None]
) -> None:
    editions.put("A")
    server = serve("--watch")
    for last in "AB":
        for number in range(200):
            save(editions, "AB"[number % 2])
        save(editions, last)
        wait_for_version(server.port, last)
    assert failures(server) == []


def test_save_during_the_reload_is_not_lost(
    start_server: StartServer, modules: Path, make_gate: Callable[..., Gate]
) -> None:
    gate = make_gate()
    editions = PythonEditions(modules)
    server = start_server(watch=True, config={"versioned": {"gate": gate.path}})
    editions.put("A")
    gate.wait_for_handler()  # the load of A
    editions.put("B")
    gate.open()
    wait_for_version(server.port, "B")
    assert [module.generation for module in server.modules] == [2]


def test_save_during_the_start_is_not_lost(modules: Path, make_gate: Callable[..., Gate]) -> None:
    gate = make_gate()
    PythonEditions(modules).put("A")
    config = {"versioned": {"gate": gate.path}}
    server = hrmr.Server(port=0, modules=[modules], watch=True, config=config)
    with ThreadPoolExecutor() as aside:
        started = aside.submit(server.start)
        gate.wait_for_handler()  # the first load, which has scanned the folder
        write_numbered(modules / "later.py", 2)
        gate.open()
        started.result(DEADLINE_S)
    wait_for_answer(server.port, "2", "NUMBER")
    assert server.stop()


def test_file_that_comes_and_goes_is_no_failure(serve: Serve, modules: Path) -> None:
    server = serve("--watch")
    (modules / "brief.py").write_text("1 / 0\n")
    (modules / "brief.py").unlink()
    (modules / "folder").mkdir()
    (modules / "folder" / "no_package.py").write_text("1 / 0\n")
    write_numbered(modules / "numbered.py", 1)
    wait_for_answer(server.port, "1", "NUMBER")
    # Of the same age as the absence that must have settled: what comes after it in the log counts.
    (modules / "numbered.py").unlink()
    wait_for_answer(server.port, "ERR no route for 'NUMBER'", "NUMBER")
    assert failures(server) == []


def test_unchanged_saves_are_silent(serve: Serve, modules: Path) -> None:
    server = serve("--watch")
    write_numbered(modules / "numbered.py", 1)
    wait_for_answer(server.port, "1", "NUMBER")
    write_numbered(modules / "numbered.py", 1)
    write_numbered(modules / "other.py", 2)
    server.wait_for(r"ERROR +reload: failed other: .*already registered")
    about = [line for line in server.lines if "reload: " in line and " numbered " in line]
    assert len(about) == 2, about  # it was loaded, and the other one was told so


# ------------------------------------------------------------------------------ in a program


def test_without_watch_nothing_happens_by_itself(start_server: StartServer, modules: Path) -> None:
    watching, other = start_server(watch=True), start_server()
    write_module(modules, "greet", "import hrmr\nhrmr.route('GREET')(lambda r: 'hello\\n')\n")
    wait_for_answer(watching.port, "hello", "GREET")
    assert ask(other.port, "GREET") == "ERR no route for 'GREET'"


def test_poll_implies_watch(start_server: StartServer, modules: Path) -> None:
    server = start_server(watch_poll=0.0001)
    write_module(modules, "greet", "import hrmr\nhrmr.route('GREET')(lambda r: 'hello\\n')\n")
    wait_for_answer(server.port, "hello", "GREET")


def test_a_hundred_starts_leave_nothing_behind(modules: Path) -> None:
    def run_once(number: int) -> None:
        with hrmr.Server(port=0, modules=[modules], watch=True) as server:
            assert server.running
            write_numbered(modules / "numbered.py", number)

    run_once(0)
    before = descriptors(), threads()
    for number in range(100):
        run_once(number)
    assert (descriptors(), threads()) == before
