"""State of Python modules, handed from one generation to the next."""

import re
import shutil
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from conftest import Serve, StartServer, write_module
from wire_client import Client, Gate, ask, reload, wait_until

COUNTER = """
    import threading
    import hrmr

    EDITION = {edition!r}
    count = 0
    lock = threading.Lock()

    def load(config, previous):
        global count
        if previous is not None:
            assert previous.schema == 1
            count = int(previous.content)

    def save_state():
        return hrmr.State(1, str(count).encode())

    @hrmr.route("ADD")
    def add(request):
        global count
        with lock:
            count += 1
            return f"{{count}} {{EDITION}}\\n"

    @hrmr.route("COUNT")
    def show(request):
        return f"{{count}} {{EDITION}}\\n"
"""


def write_counter(modules: Path, edition: int) -> None:
    write_module(modules, "counter", COUNTER.format(edition=edition))


def test_a_counter_loses_no_increment_over_reloads_under_load(serve: Serve, modules: Path) -> None:
    write_counter(modules, 0)
    server = serve()
    stops, faults = threading.Event(), []
    seen: list[list[int]] = []

    def run() -> None:
        own: list[int] = []
        seen.append(own)
        edition = 0
        with Client(server.port) as client:
            while not stops.is_set():
                client.send("ADD\n" * 5)
                for _ in range(5):
                    answer = client.read_line()
                    match = re.fullmatch(r"(\d+) (\d+)", answer)
                    if match is None or int(match[2]) < edition:
                        faults.append(answer)
                        return
                    own.append(int(match[1]))
                    edition = int(match[2])

    def counted() -> int:
        return sum(len(own) for own in list(seen))

    clients = [threading.Thread(target=run) for _ in range(4)]
    for client in clients:
        client.start()
    for edition in range(1, 101):
        before = counted()
        write_counter(modules, edition)
        told = reload(server.port)[0]
        assert told.startswith(f"reloaded counter generation {edition} -> {edition + 1}"), told
        wait_until(lambda: counted() > before or faults, "clients count")  # noqa: B023
    stops.set()
    for client in clients:
        client.join()
    assert not faults
    numbers = sorted(number for own in seen for number in own)
    assert numbers == list(range(1, len(numbers) + 1))
    assert all(own == sorted(own) for own in seen)
    assert ask(server.port, "COUNT") == f"{len(numbers)} 100"


def test_a_refusal_keeps_the_old_generation_with_its_state(serve: Serve, modules: Path) -> None:
    write_counter(modules, 0)
    server = serve()
    assert [ask(server.port, "ADD") for _ in range(3)] == ["1 0", "2 0", "3 0"]
    refuses = COUNTER.format(edition=1).replace(
        "assert previous.schema == 1", "raise ValueError(f'schema {previous.schema} is too new')"
    )
    path = write_module(modules, "counter", refuses)
    for number in (4, 5):
        told, last = reload(server.port)
        line = 1 + path.read_text().splitlines().index(
            "        raise ValueError(f'schema {previous.schema} is too new')"
        )
        assert told.startswith(
            f"failed counter: ValueError: schema 1 is too new ({path}, line {line}) "
            "(generation 1 serves on)"
        )
        assert "note" not in told  # nothing of the refused one is left
        assert last.startswith("ERR")
        assert ask(server.port, "ADD") == f"{number} 0"
    write_counter(modules, 2)
    assert reload(server.port)[0].startswith("reloaded counter generation 1 -> 2")
    assert ask(server.port, "ADD") == "6 2"


def test_a_module_that_was_away_begins_anew(start_server: StartServer, modules: Path) -> None:
    write_counter(modules, 0)
    server = start_server()
    assert ask(server.port, "ADD") == "1 0"
    (modules / "counter.py").unlink()
    assert reload(server.port)[0].startswith("removed counter")
    write_counter(modules, 1)
    assert reload(server.port)[0].startswith("loaded counter")
    assert ask(server.port, "ADD") == "1 1"


SAVES = """
    import hrmr
    NOTE = {note!r}
    seen = None

    def load(config, previous=None):
        global seen
        seen = previous

    def save_state():
        {save}

    @hrmr.route("SEEN")
    def show(request):
        return f"{{seen!r}} {{type(seen).__name__}}\\n"
"""


def save_and_reload(start_server: StartServer, modules: Path, save: str) -> tuple[str, str]:
    """What RELOAD says of the module, and what the load of the next generation was handed."""
    write_module(modules, "saves", SAVES.format(note=1, save=save))
    server = start_server()
    assert ask(server.port, "SEEN") == "None NoneType"
    write_module(modules, "saves", SAVES.format(note=2, save=save))
    return reload(server.port)[0], ask(server.port, "SEEN")


@pytest.mark.parametrize(
    ("saved", "handed"),
    [
        ("b'x'", "State(schema=0, content=b'x')"),
        ("b''", "State(schema=0, content=b'')"),
        ("bytearray(b'x')", "State(schema=0, content=b'x')"),
        ("memoryview(b'x')", "State(schema=0, content=b'x')"),
        ("(3, b'x')", "State(schema=3, content=b'x')"),
        (
            "hrmr.State(2**64 - 1, b'\\x00\\xff')",
            rf"State(schema={2**64 - 1}, content=b'\x00\xff')",
        ),
    ],
)
def test_what_save_state_may_return(
    start_server: StartServer, modules: Path, saved: str, handed: str
) -> None:
    told, seen = save_and_reload(start_server, modules, f"return {saved}")
    assert told.startswith("reloaded saves")
    assert seen == f"{handed} State"


@pytest.mark.parametrize(
    ("save", "why"),
    [
        ("return 'text'", "TypeError: save_state must return bytes or hrmr.State(schema, content)"),
        (
            "pass",
            "TypeError: save_state must return bytes or hrmr.State(schema, content) with byte",
        ),
        ("return b'x', 1", "TypeError: a schema number is an int, not bytes"),
        ("return True, b'x'", "TypeError: a schema number is an int, not bool"),
        ("return -1, b'x'", "ValueError: a schema number is 0 to 2**64 - 1, not -1"),
        ("return 2**64, b'x'", "ValueError: a schema number is 0 to 2**64 - 1, not 18446744073709"),
        ("return 1, 2, b'x'", "TypeError: save_state must return bytes"),
        ("1 / 0", "ZeroDivisionError: division by zero ("),
        ("raise SystemExit(3)", "SystemExit: 3 ("),
        ("return bytes(256 * 1024 * 1024 + 1)", "it is larger than 268435456 bytes"),
    ],
)
def test_a_save_state_that_fails_keeps_the_old_generation(
    start_server: StartServer, modules: Path, save: str, why: str
) -> None:
    told, seen = save_and_reload(start_server, modules, save)
    assert told.startswith(f"failed saves: its state could not be saved: {why}")
    assert "(generation 1 serves on)" in told
    assert seen == "None NoneType"


def test_ten_megabytes_are_handed_over(start_server: StartServer, modules: Path) -> None:
    source = """
        import hashlib, random
        import hrmr
        NOTE = {note}
        state = random.Random(7).randbytes(10_000_000)

        def load(config, previous):
            global state
            if previous is not None:
                state = previous.content

        def save_state():
            return state

        @hrmr.route("SUM")
        def show(request):
            return f"{{len(state)}} {{hashlib.sha256(state).hexdigest()}} {{NOTE}}\\n"
        """
    write_module(modules, "large", source.format(note=1))
    server = start_server()
    before = ask(server.port, "SUM")
    write_module(
        modules, "large", source.format(note=2).replace("randbytes(10_000_000)", "random()")
    )
    assert reload(server.port)[0].startswith("reloaded large")
    assert ask(server.port, "SUM") == before[:-1] + "2"


def test_a_load_without_room_for_the_state_is_told_of_in_the_log(
    serve: Serve, modules: Path
) -> None:
    write_counter(modules, 0)
    server = serve()
    write_module(modules, "counter", COUNTER.format(edition=1).replace("config, previous", "config")
                 .replace("previous is not None", "False"))  # fmt: skip
    assert reload(server.port)[0].startswith("reloaded counter")
    server.wait_for("module.counter: the state that was saved is dropped: load takes no second")


def test_nothing_changes_between_save_and_the_next_load(
    serve: Serve, modules: Path, make_gate: Callable[..., Gate], tmp_path: Path
) -> None:
    """While the new one loads, requests are held; none of them reaches the old one."""
    write_counter(modules, 0)
    server, gate = serve(), make_gate()
    assert ask(server.port, "ADD") == "1 0"
    slow = COUNTER.format(edition=1).replace(
        "global count\n        if", f"global count\n        open({gate.path!r}).read()\n        if"
    )
    assert "open(" in slow
    write_module(modules, "counter", slow)
    with Client(server.port) as reloading, Client(server.port) as held:
        reloading.send("RELOAD\n")
        gate.wait_for_handler()
        held.send("ADD\n")
        gate.open()
        assert reloading.read_line().startswith("reloaded counter")
        assert held.read_line() == "2 1"


def test_the_example_counts_on_over_reloads(start_server: StartServer, modules: Path) -> None:
    example = Path(__file__).parents[2] / "examples" / "python" / "visits"
    shutil.copytree(example, modules / "visits", ignore=shutil.ignore_patterns("__pycache__"))
    server = start_server()
    assert [ask(server.port, "VISIT home") for _ in range(2)] == ["home 1", "home 2"]
    counts = modules / "visits" / "counts.py"
    counts.write_text(counts.read_text() + "# changed\n")
    assert reload(server.port)[0].startswith("reloaded visits")
    assert ask(server.port, "VISIT home") == "home 3"
