"""Old generations of Python modules are freed, and leave nothing behind."""

import gc
import linecache
import logging
import sys
import threading
import types
import typing
import weakref
from collections.abc import Iterator
from pathlib import Path

import hrmr
import pytest
from conftest import SHOP as NAME
from conftest import LoadShop, Serve, StartServer, answering, call_route, write_module
from hrmr import python_module
from hrmr.generation import Generation
from hrmr.python_module import PythonModule, report
from wire_client import DEADLINE_S, ask, reload

HELD = """
    import dataclasses, enum, functools, logging, typing
    import hrmr
    from . import sub
    from .sub import Thing

    @dataclasses.dataclass
    class User:
        thing: Thing
        other: typing.Optional["User"] = None

    class Kind(enum.Enum):
        A = 1

    Listed = typing.Optional[typing.List[User]]

    @functools.singledispatch
    def show(value): ...

    @show.register
    def _(value: User): ...

    @functools.lru_cache
    def cached(value): return User(Thing())

    cached(1)
    user = User(Thing())
    typing.get_type_hints(User)

    @hrmr.route("A")
    def answer(request):
        return f"{show(user)} {Kind.A}"

    @hrmr.route("B")
    def fails(request):
        raise ValueError(user)
"""


@pytest.fixture(autouse=True)
def quick_collections(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """What all tests together have left in this process is not searched: where that takes too long,
    a close puts its collection off."""
    gc.collect()
    gc.freeze()
    monkeypatch.setattr(python_module, "_sweeper", python_module._Sweeper())
    yield
    gc.unfreeze()


@pytest.fixture
def no_log(monkeypatch: pytest.MonkeyPatch) -> None:
    """pytest would keep the records, and with them the tracebacks of what failed."""
    monkeypatch.setattr(logging.getLogger("hrmr.module.shop"), "disabled", True)


def load_held(load: LoadShop) -> PythonModule:
    module = load(__init__=HELD, sub="class Thing: pass\n")
    call_route(module)
    try:
        call_route(module, 1)
    except ValueError as error:
        report("shop", "prefix 'B'", error)
    return module


@pytest.mark.usefixtures("no_log")
def test_an_old_generation_is_freed_when_it_is_closed(load: LoadShop) -> None:
    old = load_held(load)
    namespace = old.routes[0][2].__globals__  # type: ignore[attr-defined]
    generation = namespace["__builtins__"]["__hrmr_generation__"]
    canaries = {
        "module": weakref.ref(generation.modules[NAME]),
        "sub-module": weakref.ref(namespace["sub"]),
        "function": weakref.ref(old.routes[0][2]),
        "class": weakref.ref(namespace["User"]),
        "instance": weakref.ref(namespace["user"]),
    }
    del namespace, generation
    load_held(load)
    old.unload()
    assert all(canary() is not None for canary in canaries.values())
    assert old.close() == ""
    assert [what for what, canary in canaries.items() if canary() is not None] == []
    assert NAME in sys.modules  # the new one's


def test_what_holds_an_old_generation_is_told(load: LoadShop) -> None:
    old = load(__init__=answering("1"))
    kept = old.routes[0][2]
    load(__init__=answering("2"))
    assert old.close().startswith("still in memory: something outside of it holds")
    assert kept(None) == 1  # type: ignore[arg-type, comparison-overlap]


@pytest.mark.usefixtures("no_log")
def test_two_hundred_generations_leave_nothing_behind(load: LoadShop) -> None:
    def turn() -> None:
        new = load_held(load)
        with pytest.raises(hrmr.ModuleError):
            load(__init__="from . import sub\nraise ValueError", sub="x = 1")
        assert turn.last.close() == ""  # type: ignore[attr-defined]
        turn.last = new  # type: ignore[attr-defined]

    def count() -> tuple[int, int, int, int]:
        gc.collect()
        return (
            len(gc.get_objects()),
            len(sys.modules),
            len(linecache.cache),
            threading.active_count(),
        )

    turn.last = load_held(load)  # type: ignore[attr-defined]
    for _ in range(5):
        turn()
    objects, *before = count()
    for _ in range(200):
        turn()
    objects_after, *after = count()
    assert after == before
    # The list of this test has 200 more; one leaked function per turn would be far more.
    assert objects_after - objects < 200 * 4


def test_a_slow_collector_is_not_called_at_each_close(monkeypatch: pytest.MonkeyPatch) -> None:
    now, collections = [1000.0], []
    collect_now = gc.collect

    def collect() -> None:
        collections.append(now[0])
        now[0] += 0.5
        collect_now()

    monkeypatch.setattr(python_module.time, "monotonic", lambda: now[0])
    monkeypatch.setattr(python_module.gc, "collect", collect)
    monkeypatch.setattr(typing, "_cleanups", [])
    sweeper = python_module._Sweeper()
    canary = weakref.ref(held := types.ModuleType("held"))
    assert not sweeper.sweep(canary, sweeper.begun)  # type: ignore[arg-type]
    assert collections == [1000.0, 1000.5]
    for _ in range(8):
        now[0] += 6
        assert sweeper.sweep(canary, sweeper.begun)  # type: ignore[arg-type]
    assert len(collections) == 2
    now[0] += 6
    assert not sweeper.sweep(canary, sweeper.begun)  # type: ignore[arg-type]
    assert collections[2:] == [1055.0, 1055.5]
    del held


def test_a_collection_that_did_not_run_is_no_proof_that_something_is_held(load: LoadShop) -> None:
    has_begun, may_end = threading.Event(), threading.Event()

    class Slow:
        def __init__(self) -> None:
            self.itself = self

        def __del__(self) -> None:
            has_begun.set()
            may_end.wait(DEADLINE_S)

    old = load(__init__=answering("1"))
    load(__init__=answering("2"))
    collecting = threading.Thread(target=gc.collect)
    gc.disable()  # nobody else finds it
    try:
        Slow()
        collecting.start()
        assert has_begun.wait(DEADLINE_S)
    finally:
        gc.enable()
    try:
        assert old.close() == ""
    finally:
        may_end.set()
        collecting.join()


@pytest.fixture
def sweeps(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Grows by one at each collection of the package's own; none is put off for being slow."""
    counted: list[str] = []
    collect = python_module._Sweeper._collect

    def count(self: python_module._Sweeper) -> bool:
        counted.append("collection")
        return collect(self)

    monkeypatch.setattr(python_module._Sweeper, "_collect", count)
    monkeypatch.setattr(python_module._Sweeper, "QUICK_S", 1e9)
    return counted


def generations_of(folder: Path) -> list["weakref.ref[Generation]"]:
    """Those in memory, of the modules in the folder."""
    return [
        weakref.ref(each)
        for each in gc.get_objects()
        if isinstance(each, Generation) and Path(each.path).parent == folder
    ]


def test_one_collection_frees_all_that_a_reload_or_a_stop_ends(
    start_server: StartServer, modules: Path, sweeps: list[str]
) -> None:
    def write(answer: str) -> None:
        for number in range(10):
            write_module(
                modules,
                f"m{number}",
                f"""
                import hrmr
                @hrmr.route("R{number}")
                def handle(request): return "{answer}"
                """,
            )

    write("one")
    server = start_server()
    first = generations_of(modules)
    assert len(first) == 10
    write("another")
    report = server.reload()
    assert [outcome.note for outcome in report] == [""] * 10
    assert [canary() for canary in first] == [None] * 10
    assert len(sweeps) <= 1
    second = generations_of(modules)
    assert len(second) == 10
    assert server.stop()
    assert [canary() for canary in second] == [None] * 10
    assert len(sweeps) <= 2


def test_what_holds_one_of_several_generations_is_told_of_that_one(
    load: LoadShop, sweeps: list[str]
) -> None:
    remembered = "import typing\nclass User: pass\nListed = typing.Optional[User]\n"
    freed = [load(__init__=answering("1"))]
    held = [load(__init__=answering("2"))]
    freed.append(load(__init__=remembered + answering("3")))
    held.append(load(__init__=answering("4")))
    kept = [module.routes[0][2] for module in held]
    load(__init__=answering("5"))
    for module in freed + held:
        module.release()
    assert [module.close() for module in freed] == ["", ""]
    assert all(module.close().startswith("still in memory") for module in held)
    # What typing remembered, and what is kept, outlived the first one; the second is for all.
    assert len(sweeps) <= 3
    assert [handler(None) for handler in kept] == [2, 4]  # type: ignore[operator]


def test_a_reload_does_not_search_what_hrmr_itself_has_imported(
    serve: Serve, modules: Path
) -> None:
    source = """
        import gc
        import hrmr
        @hrmr.route("COUNTS")
        def handle(request): return f"{gc.get_freeze_count()} {len(gc.get_objects())}\\n"
        """
    write_module(modules, "counts", source)
    server = serve()
    frozen, searched = (int(count) for count in ask(server.port, "COUNTS").split())
    assert frozen > searched
    write_module(modules, "counts", source + "# another\n")
    assert "still in memory" not in "".join(reload(server.port))
    server.wait_for(r"unloaded counts generation 1$")


def test_a_collector_that_is_switched_off_stays_off(load: LoadShop) -> None:
    old = load(__init__=answering("1"))
    canary = weakref.ref(old.routes[0][2])
    gc.disable()
    try:
        assert old.close() == ""
        assert canary() is not None
    finally:
        gc.enable()
