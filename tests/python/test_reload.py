"""Reload while serving: what becomes of each module, and what clients see meanwhile."""

import re
import shutil
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from conftest import Compile, Serve, StartServer, descriptors, place, threads, write_module
from editions import (
    Editions,
    NativeEditions,
    PythonEditions,
    mapped_generations,
    same_times,
)
from traffic import Traffic
from wire_client import Client, Gate, ask, exchange, get, reload, wait_until

MakeGate = Callable[..., Gate]
NOBODY = "ERR no route for 'VERSION'"


@pytest.fixture(params=["so", "py"])
def editions(request: pytest.FixtureRequest, modules: Path, build: Compile) -> Editions:
    if request.param == "so":
        return NativeEditions(modules, build)
    return PythonEditions(modules)


@pytest.fixture
def native(modules: Path, build: Compile) -> NativeEditions:
    return NativeEditions(modules, build)


def outcome_of(lines: list[str], name: str = "versioned") -> str:
    """The line about that module, without the time that it took."""
    [line] = [line for line in lines if line.split(" ")[1].rstrip(":") == name]
    return re.sub(r" (in \d+\.\d ms|\(\d+\.\d ms\))(?=$|; note: )", "", line)


# ------------------------------------------------------------------------------ transitions


def test_module_is_added_changed_removed_and_restored(
    start_server: StartServer, editions: Editions
) -> None:
    port = start_server().port
    with Client(port) as client:
        assert client.ask("VERSION") == NOBODY
        editions.put("A")
        assert client.ask("VERSION") == NOBODY
        assert outcome_of(reload(port)) == "loaded versioned generation 1"
        assert client.ask("VERSION") == "version A"
        editions.put("B")
        assert client.ask("VERSION") == "version A"
        assert outcome_of(reload(port)) == "reloaded versioned generation 1 -> 2"
        assert client.ask("VERSION") == "version B"
        editions.remove()
        assert client.ask("VERSION") == "version B"
        assert outcome_of(reload(port)) == "removed versioned generation 2"
        assert client.ask("VERSION") == NOBODY
        assert get(port, "/version").status == 404
        editions.put("B")
        assert outcome_of(reload(port)) == "loaded versioned generation 3"
        assert client.ask("VERSION") == "version B"


def test_report_says_each_outcome_and_the_sum(
    start_server: StartServer, editions: Editions, modules: Path, probe: Path
) -> None:
    write_module(modules, "goes", "import hrmr\nhrmr.route('GO')(lambda r: 'go')\n")
    editions.put("A")
    server = start_server()
    editions.put("B")
    (modules / "goes.py").unlink()
    write_module(modules, "broken", "1 / 0\n")
    write_module(modules, "comes", "import hrmr\nhrmr.route('CO')(lambda r: 'co')\n")
    lines = reload(server.port)
    patterns = [
        r"failed broken: ZeroDivisionError: .* \(.*/broken\.py, line 1\) \(\d+\.\d ms\)",
        r"loaded comes generation 1 in \d+\.\d ms",
        r"removed goes generation 1 in \d+\.\d ms",
        r"unchanged probe generation 1",
        r"reloaded versioned generation 1 -> 2 in \d+\.\d ms",
        r"ERR 1 failed, 1 loaded, 1 reloaded, 1 removed, 1 unchanged in \d+\.\d ms",
    ]
    assert len(lines) == len(patterns)
    for line, pattern in zip(lines, patterns, strict=True):
        assert re.fullmatch(pattern, line), line


def test_report_in_the_program_has_the_same_facts(
    start_server: StartServer, editions: Editions
) -> None:
    editions.put("A")
    server = start_server()
    assert [(module.name, module.generation) for module in server.modules] == [("versioned", 1)]
    editions.put("B")
    [outcome] = server.reload("versioned")
    assert (outcome.change, outcome.old_generation, outcome.generation) == ("reloaded", 1, 2)
    assert outcome.ok
    assert outcome.ms > 0
    [outcome] = server.reload()
    assert (outcome.change, outcome.old_generation, outcome.generation) == ("unchanged", 2, 2)


def test_unchanged_modules_are_left_alone(start_server: StartServer, editions: Editions) -> None:
    editions.put("A")
    server = start_server()
    editions.path.touch()
    assert [outcome.change for outcome in server.reload()] == ["unchanged"]
    editions.put("A")  # another file of the same content
    assert [outcome.change for outcome in server.reload()] == ["unchanged"]
    assert [module.generation for module in server.modules] == [1]


def test_edits_within_one_tick_of_the_clock_are_seen(
    start_server: StartServer, editions: Editions
) -> None:
    editions.put("A")
    first = editions.path.stat()
    server = start_server()
    for version in "BABABABABA":
        editions.overwrite(version)
        same_times(editions.path, first)  # of the same size, too
        assert outcome_of(reload(server.port)).startswith("reloaded versioned ")
        assert ask(server.port, "VERSION") == f"version {version}"


def test_link_that_is_switched_over_is_a_change(
    start_server: StartServer, native: NativeEditions
) -> None:
    native.path.symlink_to(native.built("A"))
    server = start_server()
    assert ask(server.port, "VERSION") == "version A"
    native.remove()
    native.path.symlink_to(native.built("B"))
    assert outcome_of(reload(server.port)) == "reloaded versioned generation 1 -> 2"
    assert ask(server.port, "VERSION") == "version B"


def test_folder_that_goes_and_comes_back(
    start_server: StartServer, editions: Editions, modules: Path
) -> None:
    editions.put("A")
    server = start_server()
    away = modules.with_name("away")
    modules.rename(away)
    assert outcome_of(reload(server.port)) == "removed versioned generation 1"
    assert ask(server.port, "VERSION") == NOBODY
    away.rename(modules)
    assert outcome_of(reload(server.port)) == "loaded versioned generation 2"
    assert ask(server.port, "VERSION") == "version A"


def test_two_files_of_one_name_are_a_conflict_that_keeps_the_old(
    start_server: StartServer, native: NativeEditions, modules: Path
) -> None:
    native.put("A")
    server = start_server()
    python = PythonEditions(modules)
    python.put("B")
    line = outcome_of(reload(server.port))
    assert line.startswith("failed versioned: both ")
    assert str(native.path) in line
    assert str(python.path) in line
    assert line.endswith("(generation 1 serves on)")
    assert ask(server.port, "VERSION") == "version A"
    native.remove()
    assert outcome_of(reload(server.port)) == "reloaded versioned generation 1 -> 2"
    assert ask(server.port, "VERSION") == "version B"


def test_later_folder_wins_and_the_earlier_one_comes_back(
    start_server: StartServer, native: NativeEditions, modules: Path, tmp_path: Path
) -> None:
    later = tmp_path / "later"
    later.mkdir()
    native.put("A")
    server = start_server(modules=[modules, later])
    PythonEditions(later).put("B")
    assert outcome_of(reload(server.port)) == "reloaded versioned generation 1 -> 2"
    assert ask(server.port, "VERSION") == "version B"
    PythonEditions(later).remove()
    assert outcome_of(reload(server.port)) == "reloaded versioned generation 2 -> 3"
    assert ask(server.port, "VERSION") == "version A"


# --------------------------------------------------------------------------- under traffic


def questions(*versions: str) -> dict[str, set[str]]:
    """Of the module that is reloaded, and of one that is not."""
    lines = {f"version {version}" for version in versions}
    pages = {f"200 version {version}\n" for version in versions}
    pages.add("404 no route for 'GET /version HTTP/1.1'\n")
    return {
        "VERSION": lines | {NOBODY},
        "/version": pages,
        "INLINE x": {"inline x"},
        "POOL x": {"pool x"},
        "/pool": {"200 pool /pool\n"},
    }


def test_remove_and_restore_a_hundred_times_under_traffic(
    serve: Serve, editions: Editions, probe: Path
) -> None:
    editions.put("A")
    server = serve()
    with Traffic(server.port, questions("A")) as traffic, Client(server.port) as client:
        for _ in range(100):
            editions.remove()
            assert outcome_of(reload(server.port)).startswith("removed versioned ")
            assert client.ask("VERSION") == NOBODY
            editions.put("A")
            assert outcome_of(reload(server.port)).startswith("loaded versioned ")
            assert client.ask("VERSION") == "version A"
    assert not traffic.faults
    assert traffic.answers >= {"inline x", "pool x", "version A"}


def test_change_of_code_a_hundred_times_under_traffic(
    serve: Serve, editions: Editions, probe: Path
) -> None:
    editions.put("A")
    server = serve("--loops", "2")
    wanted = questions("A", "B")
    wanted["VERSION"].remove(NOBODY)
    with Traffic(server.port, wanted) as traffic, Client(server.port) as client:
        for turn in range(100):
            version = "BA"[turn % 2]
            editions.put(version)
            assert outcome_of(reload(server.port)).startswith("reloaded versioned ")
            assert client.ask("VERSION") == f"version {version}"
    assert not traffic.faults
    assert traffic.answers >= {"inline x", "pool x", "version A"}


def test_file_overwritten_in_place_harms_nobody(
    serve: Serve, native: NativeEditions, probe: Path
) -> None:
    native.put("A")
    server = serve()
    wanted = questions("A", "B")
    with Traffic(server.port, wanted) as traffic:
        for version in "BABABABA":
            before = ask(server.port, "VERSION")
            native.path.write_bytes(native.path.read_bytes()[:4000])
            assert ask(server.port, "VERSION") == before
            native.path.write_bytes(b"")
            assert ask(server.port, "VERSION") == before
            native.overwrite(version)
            assert ask(server.port, "VERSION") == before
            assert outcome_of(reload(server.port)).startswith("reloaded versioned ")
            assert ask(server.port, "VERSION") == f"version {version}"
    assert not traffic.faults


def test_concurrent_reloads_are_all_answered(serve: Serve, editions: Editions, probe: Path) -> None:
    editions.put("A")
    server = serve("--loops", "2")
    reports: list[list[str]] = []

    def ask_for_reloads() -> None:
        reports.extend(reload(server.port) for _ in range(20))

    askers = [threading.Thread(target=ask_for_reloads) for _ in range(6)]
    with Traffic(server.port, questions("A", "B")) as traffic:
        for asker in askers:
            asker.start()
        for turn in range(30):
            editions.put("BA"[turn % 2])
        for asker in askers:
            asker.join()
    assert not traffic.faults
    assert len(reports) == 120
    assert all(report[-1].startswith("OK ") for report in reports)
    assert reload(server.port)[-1].startswith("OK ")
    assert ask(server.port, "VERSION") == "version A"


# ------------------------------------------------------------------ old and new generations


def test_request_in_flight_finishes_on_the_old_code(
    serve: Serve, editions: Editions, make_gate: MakeGate
) -> None:
    editions.put("A")
    gate, server = make_gate(), serve()
    with Client(server.port) as held:
        held.send(f"HOLD {gate.path}\nVERSION\n")
        gate.wait_for_handler()
        editions.put("B")
        told = outcome_of(reload(server.port)).partition("; note: ")
        assert told[0] == "reloaded versioned generation 1 -> 2"
        # The second one too, if it came in the same segment.
        assert re.fullmatch("generation 1 is still in use by (1 request|2 requests)", told[2])
        assert ask(server.port, "VERSION") == "version B"
        editions.remove()
        assert outcome_of(reload(server.port)) == "removed versioned generation 2"
        server.wait_for("unloaded versioned generation 2")
        assert "unloaded versioned generation 1" not in server.log
        gate.open()
        assert held.read_line() == "held by version A"
        assert held.read_line() in ("version A", NOBODY)
    server.wait_for("unloaded versioned generation 1")
    assert mapped_generations(server.pid) == set()


def test_many_old_generations_wait_for_their_requests(
    serve: Serve, editions: Editions, make_gate: MakeGate
) -> None:
    editions.put("A")
    server = serve("--threads", "8", "--python-threads", "8", "--retire-timeout", "0")
    gates, held = [make_gate(f"gate{n}") for n in range(6)], []
    for turn, gate in enumerate(gates):
        held.append(Client(server.port))
        held[-1].send(f"HOLD {gate.path}\n")
        gate.wait_for_handler()
        editions.put("BA"[turn % 2])
        told = outcome_of(reload(server.port)).partition("; note: ")
        assert told[0].endswith(f"generation {turn + 1} -> {turn + 2}")
        assert told[2] == f"generation {turn + 1} is still in use by 1 request"
    # Out of order, so that each is freed by its own request and not by an older one.
    for turn in (3, 0, 5, 1, 4, 2):
        gates[turn].open()
        assert held[turn].read_line() == f"held by version {'AB'[turn % 2]}"
        server.wait_for(f"unloaded versioned generation {turn + 1}$")
        held[turn].socket.close()
    assert ask(server.port, "VERSION") == "version A"
    assert len(mapped_generations(server.pid)) <= 1


def test_generations_leave_nothing_behind(serve: Serve, editions: Editions, probe: Path) -> None:
    editions.put("A")
    server = serve()

    def reload_often(times: int) -> tuple[int, int, int]:
        for turn in range(times):
            editions.put("BA"[turn % 2])
            assert outcome_of(reload(server.port)).startswith("reloaded versioned ")
            assert ask(server.port, "VERSION") == f"version {'BA'[turn % 2]}"
        wait_until(lambda: len(mapped_generations(server.pid)) <= 1, "old ones are unmapped")
        # The connection of the last question may not be closed yet.
        wait_until(lambda: sockets_of(server.pid) == listening, "clients are gone")
        maps = len(Path(f"/proc/{server.pid}/maps").read_text().splitlines())
        return descriptors(server.pid), threads(server.pid), maps

    wait_until(lambda: sockets_of(server.pid) >= 1, "it listens")
    listening = sockets_of(server.pid)
    first = reload_often(20)
    second = reload_often(60)
    assert second[:2] == first[:2]
    # The allocator may take another region or two.
    assert second[2] <= first[2] + 8


def sockets_of(pid: int) -> int:
    links = Path(f"/proc/{pid}/fd").iterdir()
    return sum(_link_of(link).startswith("socket:") for link in links)


def _link_of(path: Path) -> str:
    try:
        return str(path.readlink())
    except FileNotFoundError:
        return ""  # closed since it was listed


# --------------------------------------------------------------------------------- policies


def test_swap_serves_the_old_code_during_a_slow_load(
    start_server: StartServer, editions: Editions, tmp_path: Path, make_gate: MakeGate
) -> None:
    path = str(tmp_path / "gate")
    editions.put("A")
    server = start_server(config={"versioned": {"gate": path}})
    editions.put("B")
    gate = make_gate("gate")
    with Client(server.port) as client:
        client.send("RELOAD\n")
        gate.wait_for_handler()
        assert ask(server.port, "VERSION") == "version A"
        assert get(server.port, "/version").text == "version A\n"
        # Nor does the program wait that asks what is loaded.
        assert [(module.name, module.generation) for module in server.modules] == [("versioned", 1)]
        gate.open()
        assert client.read_line().startswith("reloaded versioned generation 1 -> 2 in ")
    assert ask(server.port, "VERSION") == "version B"


def test_reject_says_503_during_a_slow_load(
    start_server: StartServer, editions: Editions, tmp_path: Path, probe: Path, make_gate: MakeGate
) -> None:
    path = str(tmp_path / "gate")
    editions.put("A")
    server = start_server(config={"versioned": {"gate": path, "on_reload": "reject"}})
    editions.put("B")
    gate = make_gate("gate")
    with Client(server.port) as asker, Client(server.port) as http, Client(server.port) as line:
        assert http.get("/version").text == "version A\n"
        asker.send("RELOAD\n")
        gate.wait_for_handler()
        response = http.get("/version")
        assert response.status == 503
        assert int(response.headers["retry-after"]) >= 1
        assert line.ask("VERSION") == "503 module 'versioned' is being reloaded, try again"
        assert line.ask("POOL x") == "pool x"
        gate.open()
        assert asker.read_line() == "unchanged probe generation 1"
        assert asker.read_line().startswith("reloaded versioned generation 1 -> 2 in ")
        assert line.ask("VERSION") == "version B"
        assert http.get("/version").text == "version B\n"


def test_reject_serves_the_old_code_again_when_the_load_fails(
    start_server: StartServer, editions: Editions
) -> None:
    editions.put("A")
    server = start_server(on_reload="reject")
    editions.path.write_text("1 / 0\n")
    assert outcome_of(reload(server.port)).endswith("(generation 1 serves on)")
    assert ask(server.port, "VERSION") == "version A"


# ------------------------------------------------------------------------------ failed loads

BROKEN_PYTHON = {
    "syntax": ("def broken(:\n", "SyntaxError: .*versioned.py, line 1"),
    "exception": ("import hrmr\n\nraise ValueError('no luck')\n", "ValueError: no luck .*line 3"),
    "exit": ("import sys\nsys.exit(3)\n", "SystemExit: 3 .*line 2"),
    "import": ("import no_such_module\n", "ModuleNotFoundError: .*'no_such_module'"),
    "load": ("def load(config):\n    raise OSError('no disk')\n", "OSError: no disk .*line 2"),
    "route": ("import hrmr\nhrmr.route('X')(3)\n", "a route needs a function"),
    "twice": (
        "import hrmr\nfor _ in 'ab':\n    hrmr.route('X')(lambda r: '')\n",
        "prefix 'X' is registered twice in this module",
    ),
    "nul": ("x = 1\0\n", "null bytes"),
    "empty line feeds": ("raise ValueError('a\\nb\\r\\nc')\n", "ValueError: a b  c"),
}


@pytest.mark.parametrize("fault", BROKEN_PYTHON)
def test_broken_python_keeps_the_old_and_says_why(serve: Serve, modules: Path, fault: str) -> None:
    source, reason = BROKEN_PYTHON[fault]
    editions = PythonEditions(modules)
    editions.put("A")
    server = serve()
    editions.path.write_text(source)
    check_refused(server.port, reason)
    check_refused(server.port, reason)
    assert ask(server.port, "X") == "ERR no route for 'X'"
    editions.put("B")
    assert outcome_of(reload(server.port)) == "reloaded versioned generation 1 -> 2"
    assert ask(server.port, "VERSION") == "version B"


def check_refused(port: int, reason: str) -> None:
    lines = reload(port)
    line = outcome_of(lines)
    assert line.startswith("failed versioned: ")
    assert re.search(reason, line), line
    assert line.endswith(" (generation 1 serves on)")
    assert lines[-1].startswith("ERR 1 failed")
    assert ask(port, "VERSION") == "version A"
    assert get(port, "/version").text == "version A\n"


BROKEN_BUILDS = {
    "wrong ABI": ({"WRONG_ABI": "1"}, "compiled for HRMR ABI 2.0, this host speaks 1.2"),
    "no entry": ({"NO_ENTRY": "1"}, "does not export hrmr_module_v1"),
    "load refuses": ({"REFUSES": "1"}, "refused on purpose"),
    "other name": ({"NAME": '"other"'}, "calls itself 'other', its file calls it 'versioned'"),
    "empty prefix": ({"TAKES_PREFIX": '""'}, "prefix"),
    "own prefix": ({"TAKES_PREFIX": '"VERSION"'}, "prefix 'VERSION' is registered twice"),
    "other's prefix": ({"TAKES_PREFIX": '"POOL "'}, "'POOL '.*already registered by module probe"),
}


@pytest.mark.parametrize("fault", BROKEN_BUILDS)
def test_broken_module_keeps_the_old_and_says_why(
    serve: Serve, native: NativeEditions, build: Compile, probe: Path, fault: str
) -> None:
    macros, reason = BROKEN_BUILDS[fault]
    native.put("A")
    server = serve()
    place(build("versioned", VERSION='"X"', **macros), native.path.parent, "versioned")
    check_refused(server.port, reason)
    check_refused(server.port, reason)
    native.put("B")
    assert outcome_of(reload(server.port)) == "reloaded versioned generation 1 -> 2"
    assert ask(server.port, "VERSION") == "version B"


def test_file_that_is_no_whole_library_keeps_the_old(serve: Serve, native: NativeEditions) -> None:
    native.put("A")
    server = serve()
    whole = native.built("B").read_bytes()
    for size in (0, 1, 16, 63, 64, 65, 500, 4096, len(whole) // 2, len(whole) - 1):
        native.path.write_bytes(whole[:size])
        check_refused(server.port, re.escape(str(native.path)))
    for garbage in (b"hello\n", b"\x7fELF" + b"\xff" * 5000, whole[:64] + b"\xff" * len(whole)):
        native.path.write_bytes(garbage)
        check_refused(server.port, re.escape(str(native.path)))
    native.overwrite("B")
    assert outcome_of(reload(server.port)) == "reloaded versioned generation 1 -> 2"
    assert ask(server.port, "VERSION") == "version B"


def test_module_that_never_loaded_does_not_keep_others_from_serving(
    serve: Serve, editions: Editions, probe: Path
) -> None:
    editions.path.write_text("1 / 0\n")
    server = serve()
    server.wait_for("ERROR.*failed versioned: ")
    assert ask(server.port, "POOL x") == "pool x"
    assert not outcome_of(reload(server.port)).endswith("serves on)")
    editions.put("A")
    assert outcome_of(reload(server.port)) == "loaded versioned generation 1"
    assert ask(server.port, "VERSION") == "version A"


def test_prefixes_can_move_between_modules_in_one_reload(
    start_server: StartServer, modules: Path
) -> None:
    def write(name: str, *prefixes: str) -> None:
        routes = "".join(
            f"hrmr.route({prefix!r})(lambda r: '{name} has it\\n')\n" for prefix in prefixes
        )
        write_module(modules, name, "import hrmr\n" + routes)

    write("one", "X", "Y")
    write("two", "Z")
    server = start_server()
    write("one", "Z")
    write("two", "X", "Y")
    assert server.reload().ok
    assert [ask(server.port, prefix) for prefix in "XYZ"] == [
        *("two has it", "two has it", "one has it")
    ]


def test_twenty_thousand_routes_are_found_one_by_one(
    start_server: StartServer, modules: Path
) -> None:
    write_module(
        modules,
        "many",
        """
        import hrmr

        for number in range(20_000):
            hrmr.route(f"R{number};")(lambda request, n=number: f"{n} {request.text}\\n")
        """,
    )
    server = start_server()
    assert [module.routes for module in server.modules] == [20_000]
    numbers = [*range(0, 20_000, 37), 19_999]
    answers = exchange(server.port, "".join(f"R{n};x\n" for n in numbers)).decode()
    assert answers == "".join(f"{n} x\n" for n in numbers)
    assert ask(server.port, "R20000;") == "ERR no route for 'R20000;'"


def test_files_that_are_no_modules_are_passed_over(
    start_server: StartServer, editions: Editions, modules: Path
) -> None:
    editions.put("A")
    for name in ("_private.py", ".hidden.py", "notes.txt", "versioned.so.part", "README"):
        (modules / name).write_text("1 / 0\n")
    for name in ("folder.py", "folder.so", "__pycache__"):
        (modules / name).mkdir()
    server = start_server()
    assert [outcome.name for outcome in server.reload()] == ["versioned"]
    shutil.rmtree(modules / "folder.so")


def test_bad_file_name_is_refused_with_advice(start_server: StartServer, modules: Path) -> None:
    write_module(modules, "my module", "import hrmr\n")
    [line, _] = reload(start_server().port)
    assert line.startswith("failed my module: ")
    assert "rename the file" in line
