"""Old generations of Python modules are freed, and leave nothing behind."""

import gc
import linecache
import logging
import sys
import threading
import types
import typing
import weakref

import hrmr
import pytest
from conftest import SHOP as NAME
from conftest import LoadShop, answering, call_route
from hrmr import python_module
from hrmr.python_module import PythonModule, report

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
        report("shop", error)
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

    def collect() -> None:
        collections.append(now[0])
        now[0] += 0.5

    monkeypatch.setattr(python_module.time, "monotonic", lambda: now[0])
    monkeypatch.setattr(python_module.gc, "collect", collect)
    monkeypatch.setattr(typing, "_cleanups", [])
    sweeper = python_module._Sweeper()
    canary = weakref.ref(held := types.ModuleType("held"))
    assert not sweeper.sweep(canary)  # type: ignore[arg-type]
    assert collections == [1000.0, 1000.5]
    for _ in range(8):
        now[0] += 6
        assert sweeper.sweep(canary)  # type: ignore[arg-type]
    assert len(collections) == 2
    now[0] += 6
    assert not sweeper.sweep(canary)  # type: ignore[arg-type]
    assert collections[2:] == [1055.0, 1055.5]
    del held


def test_a_collector_that_is_switched_off_stays_off(load: LoadShop) -> None:
    old = load(__init__=answering("1"))
    canary = weakref.ref(old.routes[0][2])
    gc.disable()
    try:
        assert old.close() == ""
        assert canary() is not None
    finally:
        gc.enable()
