"""Packages as modules, without a server: imports within one generation, what others see of it,
refusals, and that an old generation is freed."""

import importlib
import importlib.resources
import inspect
import linecache
import pickle
import sys
import threading
import types
from pathlib import Path
from textwrap import dedent

import hrmr
import pytest
from conftest import SHOP as NAME
from conftest import SHOP_FOLDER as FOLDER
from conftest import LoadShop, answering, call_route
from hrmr.python_module import open_python, report


def refusal(load: LoadShop, **files: str) -> str:
    with pytest.raises(hrmr.ModuleError) as error:
        load(**files)
    return str(error.value)


def late(statement: str, expression: str) -> str:
    """A handler that imports when it is called."""
    return (
        f"import hrmr\n@hrmr.route('A')\ndef answer(r):\n    {statement}\n    return {expression}\n"
    )


# ---------------------------------------------------------------------------------- imports

LEAVES = {"a": "WHO = 'a'", "sub__in____init__": "WHO = 'sub'", "sub__in__b": "WHO = 'b'"}


@pytest.mark.parametrize(
    ("statement", "expression"),
    [
        ("from . import a", "a.WHO"),
        ("from .a import WHO", "WHO"),
        ("from .a import *", "WHO"),
        ("from . import sub", "sub.WHO"),
        ("from .sub import b", "b.WHO"),
        ("from .sub.b import WHO as w", "w"),
        ("import hrmr_modules.shop.sub.b", "hrmr_modules.shop.sub.b.WHO"),
        ("import hrmr_modules.shop.sub.b as it", "it.WHO"),
        ("from hrmr_modules.shop import a, sub", "a.WHO + sub.WHO"),
        ("from hrmr_modules import shop; from . import a", "shop.a.WHO"),
        ("import importlib", "importlib.import_module('.a', __package__).WHO"),
        ("import importlib", "importlib.import_module(__name__ + '.sub.b').WHO"),
        ("import json, os.path; from collections import abc", "json.__name__"),
    ],
)
def test_imports_work_as_in_any_package(load: LoadShop, statement: str, expression: str) -> None:
    answer = call_route(load(__init__=answering(expression, statement), **LEAVES))
    assert answer in ("a", "sub", "b", "asub", "json")


def test_sub_modules_import_from_where_they_are(load: LoadShop) -> None:
    module = load(
        __init__=answering("go()", "from .sub.deep import go"),
        sub__in____init__="WHO = 'sub'",
        sub__in__deep="""
            from . import WHO
            from .. import top
            from ..top import WHO as second
            from .space.leaf import WHO as third
            def go():
                return [WHO, top.WHO, second, third, __name__, __package__]
            """,
        sub__in__space__in__leaf="WHO = 'leaf'",  # a folder without an __init__.py
        top="WHO = 'top'",
    )
    names = [f"{NAME}.sub.deep", f"{NAME}.sub"]
    assert call_route(module) == ["sub", "top", "top", "leaf", *names]


def test_imports_in_a_circle_work(load: LoadShop) -> None:
    module = load(
        __init__=answering("a.both()", "from . import a"),
        a="from . import b\nWHO = 'a'\ndef both(): return WHO + b.other()\n",
        b="from . import a\ndef other(): return a.WHO + 'b'\n",
    )
    assert call_route(module) == "aab"
    shop = importlib.import_module(NAME)
    assert type(shop.a.b.a) is types.ModuleType  # itself, not what stands in sys.modules for it


def test_a_package_wins_over_a_file_of_its_name(load: LoadShop) -> None:
    files = {"a": "WHO = 'file'", "a__in____init__": "WHO = 'package'"}
    assert call_route(load(__init__=answering("a.WHO", "from . import a"), **files)) == "package"


def test_importlib_gives_the_parent_the_module_itself(load: LoadShop) -> None:
    load(__init__="import importlib\nimportlib.import_module('.a', __package__)", **LEAVES)
    assert type(importlib.import_module(NAME).a) is types.ModuleType


def test_what_was_not_there_when_it_was_opened_is_not_imported(
    load: LoadShop, tmp_path: Path
) -> None:
    imports = "importlib.import_module('.later', __package__)"
    module = load(str(tmp_path), __init__=answering(imports, "import importlib"))
    (tmp_path / "later.py").write_text("")
    with pytest.raises(ModuleNotFoundError, match=rf"No module named '{NAME}\.later'"):
        call_route(module)
    with pytest.raises(ModuleNotFoundError):
        importlib.import_module(f"{NAME}.later")


def test_what_a_circle_cannot_give_is_an_import_error(load: LoadShop) -> None:
    files = {"a": "from .b import x\ny = 1", "b": "from .a import y\nx = 1"}
    told = refusal(load, __init__="from . import a", **files)
    assert told.startswith(f"ImportError: cannot import name 'y' from '{NAME}.a'")
    assert told.endswith(f"({FOLDER}/b.py, line 1)")


def test_modules_say_where_they_are_from(load: LoadShop) -> None:
    load(__init__="from .sub import b", **LEAVES)
    shop = importlib.import_module(NAME)
    assert (shop.__file__, shop.__path__) == (f"{FOLDER}/__init__.py", [FOLDER])
    assert (shop.__package__, shop.__spec__.name) == (NAME, NAME)
    assert shop.sub.__path__ == [f"{FOLDER}/sub"]
    b = shop.sub.b
    assert (b.__file__, b.__package__) == (f"{FOLDER}/sub/b.py", f"{NAME}.sub")
    assert (b.__spec__.name, b.__spec__.parent) == (f"{NAME}.sub.b", f"{NAME}.sub")
    assert not hasattr(b, "__path__")
    assert b.__spec__.loader.get_source(b.__name__) == "WHO = 'b'"


def test_other_files_of_a_package_are_found(load: LoadShop, tmp_path: Path) -> None:
    (tmp_path / "page.html").write_text("hello")
    reads = "importlib.resources.files(__package__).joinpath('page.html').read_text()"
    module = load(str(tmp_path), __init__=answering(reads, "import importlib.resources"))
    assert call_route(module) == "hello"


def test_modules_do_not_import_each_other(load: LoadShop) -> None:
    other = open_python("other", "/nowhere/other.py", {"/nowhere/other.py": b""}, 1)
    try:
        told = refusal(load, __init__="from .. import other")
    finally:
        other.close()
    assert told.startswith(
        "ImportError: cannot import name 'other' from 'hrmr_modules': modules do"
    )


@pytest.mark.parametrize(
    ("statement", "expression"),
    [
        ("from .slow import VALUE", "VALUE"),
        ("from . import slow", "slow.VALUE"),
        ("import hrmr_modules.shop.slow as slow", "slow.VALUE"),
        ("import importlib; slow = importlib.import_module('.slow', __package__)", "slow.VALUE"),
    ],
)
def test_a_late_import_runs_once_whatever_number_of_threads_asks(
    load: LoadShop, statement: str, expression: str
) -> None:
    module = load(
        __init__="runs, asking = [], []\n" + late(f"asking.append(1); {statement}", expression),
        slow="""
            import time
            from . import asking, runs
            runs.append(1)
            deadline = time.monotonic() + 60
            while len(asking) < 8 and time.monotonic() < deadline:
                time.sleep(0.001)
            VALUE = 'whole'
            """,
    )
    answers: list[object] = []
    asking = [threading.Thread(target=lambda: answers.append(call_route(module))) for _ in range(8)]
    for thread in asking:
        thread.start()
    for thread in asking:
        thread.join()
    assert answers == ["whole"] * 8
    assert importlib.import_module(NAME).runs == [1]


# ---------------------------------------------------------------------------------- routes


def test_routes_of_sub_modules_are_registered(load: LoadShop) -> None:
    module = load(
        __init__="from . import a, b", a=answering("'a'"), b=answering("'b'").replace("'A'", "'B'")
    )
    assert [prefix for prefix, _, _ in module.routes] == [b"A", b"B"]
    assert [call_route(module, number) for number in (0, 1)] == ["a", "b"]


def test_a_route_of_a_late_import_is_an_error(load: LoadShop) -> None:
    module = load(__init__=late("from . import a", "a"), a=answering("'a'").replace("'A'", "'B'"))
    with pytest.raises(hrmr.RouteError, match=rf"a route of {NAME}\.a comes too late"):
        call_route(module)


def test_load_and_its_like_may_be_in_a_sub_module(load: LoadShop) -> None:
    module = load(
        __init__="from .life import load, save_state",
        life="def load(config): pass\ndef save_state(): return b'x'",
    )
    assert module.saves_state


# ------------------------------------------------------------------------- two generations


@pytest.mark.parametrize(
    "statement",
    [
        "from . import x",
        "from .x import WHO; x = None",
        "import hrmr_modules.shop.x; x = hrmr_modules.shop.x",
        "import importlib; x = importlib.import_module('.x', __package__)",
        "x = __import__(__name__ + '.x', fromlist=['x'])",
        "x = {}; exec('from hrmr_modules.shop import x', x); x = x['x']",
        "import sys; from . import x; x = sys.modules[__name__ + '.x']",
    ],
)
@pytest.mark.parametrize("first", ["old", "new"])
def test_a_late_import_is_from_the_generation_that_imports(
    load: LoadShop, statement: str, first: str
) -> None:
    expression = "WHO" if "WHO" in statement else "x.WHO"
    old = load(__init__=late(statement, expression), x="WHO = 'old'")
    new = load(__init__=late(statement, expression), x="WHO = 'new'")
    order = [old, new] if first == "old" else [new, old]
    expected = ["old", "new"] if first == "old" else ["new", "old"]
    assert [call_route(each) for each in order + order] == expected + expected
    assert importlib.import_module(f"{NAME}.x").WHO == "new"  # for everybody else


def test_a_sub_module_that_was_deleted_cannot_be_imported(load: LoadShop) -> None:
    load(__init__="from . import gone\nfrom .gone import x", gone="x = 1")
    told = refusal(load, __init__="from . import gone")
    assert told == (
        f"ImportError: cannot import name 'gone' from '{NAME}' ({FOLDER}/__init__.py, line 1)"
    )
    assert refusal(load, __init__="import hrmr_modules.shop.gone") == (
        f"ModuleNotFoundError: No module named '{NAME}.gone' ({FOLDER}/__init__.py, line 1)"
    )


def test_modules_found_with_pkgutil_are_imported_anew(load: LoadShop, tmp_path: Path) -> None:
    source = """
        import importlib, pkgutil
        for each in pkgutil.iter_modules(__path__):
            importlib.import_module(f"{__name__}.{each.name}")
        """
    (tmp_path / "a.py").write_text("")
    for who in ("old", "new"):
        module = load(str(tmp_path), __init__=source, a=answering(f"'{who}'"))
        assert call_route(module) == who


def test_dataclasses_are_of_the_generation_that_makes_them(load: LoadShop) -> None:
    source = """
        from __future__ import annotations
        import dataclasses, enum, typing
        WHO = {who!r}

        @dataclasses.dataclass
        class User:
            name: str = WHO
            kind: Kind | None = None

        class Kind(enum.Enum):
            A = WHO

        class Row(typing.NamedTuple):
            kind: Kind

        def answer():
            return typing.get_type_hints(User)["kind"], typing.get_type_hints(Row)["kind"]
        """
    for who in ("old", "new"):
        load(__init__=answering("a.answer(), a.User, a.Kind", "from . import a"),
             a=source.format(who=who))  # fmt: skip
        (hint, row), user, kind = importlib.import_module(NAME).answer(None)
        assert user.__init__.__globals__["WHO"] == who
        assert hint == kind | None
        assert row is kind


PICKLES = """
    import pickle
    import hrmr

    class User:
        pass

    @hrmr.route("A")
    def answer(request):
        return type(pickle.loads(pickle.dumps(User()))) is User
"""


@pytest.mark.parametrize("pickler", ["pickle", "pickle._Pickler"])
def test_each_generation_pickles_its_own_classes(load: LoadShop, pickler: str) -> None:
    source = PICKLES
    if pickler != "pickle":
        source = PICKLES.replace("pickle.loads(pickle.dumps(", "pickle._loads(pickle._dumps(")
    both = [load(__init__="from .a import *", a=source) for _ in range(2)]
    assert [call_route(each) for each in both] == [True, True]


def test_a_generation_that_is_being_opened_does_not_disturb_the_one_that_serves(
    load: LoadShop,
) -> None:
    old = load(__init__=PICKLES)
    holder = types.ModuleType("shop_test_holder")
    seen: list[object] = []

    def look() -> None:
        # As a handler does on its own thread, while the reload thread executes the new one.
        def run() -> None:
            seen.append(call_route(old))
            seen.append(importlib.import_module(NAME).answer is old.routes[0][2])

        thread = threading.Thread(target=run)
        thread.start()
        thread.join()

    holder.look = look  # type: ignore[attr-defined]
    sys.modules[holder.__name__] = holder
    try:
        new = "import shop_test_holder\nshop_test_holder.look()\n" + dedent(PICKLES)
        refusal(load, __init__=new + "raise ValueError")
        module = load(__init__=new + "def load(config):\n    shop_test_holder.look()\n")
    finally:
        del sys.modules[holder.__name__]
    assert seen == [True] * 6
    assert importlib.import_module(NAME).answer is module.routes[0][2]


def test_pickled_state_can_be_loaded_by_the_next_generation(load: LoadShop) -> None:
    source = """
        import pickle
        import hrmr
        from .rows import Row
        rows = [Row(1)]

        def save_state():
            return hrmr.State(2, pickle.dumps(rows))

        def load(config, previous):
            if previous is not None:
                rows[:] = pickle.loads(previous.content)

        @hrmr.route("A")
        def answer(request):
            return all(type(row) is Row for row in rows), rows[0].value
        """
    row = "class Row:\n    def __init__(self, value): self.value = value\n"
    old = load(__init__=source, rows=row)
    old.routes[0][2].__globals__["rows"][0].value = 7  # type: ignore[attr-defined]
    new = load(__init__=source, rows=row, previous=tuple(old.save_state()))
    assert call_route(new) == (True, 7)


def test_pickle_is_for_importers_too(load: LoadShop) -> None:
    load(__init__=PICKLES)
    user = importlib.import_module(NAME).User()
    assert type(pickle.loads(pickle.dumps(user))) is type(user)


def test_a_generation_that_gives_way_again_leaves_the_lines_of_the_one_before(
    load: LoadShop,
) -> None:
    load(__init__="def f():\n    return 'first'\n")
    load(__init__="def f():\n    return 'second'\n").close()  # its prefix belongs to another
    shop = importlib.import_module(NAME)
    assert shop.f() == "first"
    assert inspect.getsource(shop.f).endswith("'first'\n")


def test_what_outlives_its_generation_can_still_import(load: LoadShop) -> None:
    source = late("import hrmr_modules.shop.x; from . import y", "hrmr_modules.shop.x.WHO + y.WHO")
    old = load(__init__=source, x="WHO = 'old x'", y="WHO = 'y'")
    kept = old.routes[0][2]
    new = load(__init__="", x="WHO = 'new x'")
    old.close()
    assert kept(None) == "old xy"  # type: ignore[arg-type, comparison-overlap]
    new.close()
    assert kept(None) == "old xy"  # type: ignore[arg-type, comparison-overlap]
    assert f"{NAME}.y" not in sys.modules


def test_inspect_shows_the_source_of_each_generation(load: LoadShop) -> None:
    load(__init__="from . import a", a="def f():\n    return 'old'\n")
    assert inspect.getsource(importlib.import_module(f"{NAME}.a").f).endswith("'old'\n")
    load(__init__="from . import a", a="def f():\n    return 'new'\n")
    assert inspect.getsource(importlib.import_module(f"{NAME}.a").f).endswith("'new'\n")


def test_a_traceback_shows_the_lines_of_the_generation_that_failed(
    load: LoadShop, caplog: pytest.LogCaptureFixture
) -> None:
    old = load(__init__=answering("1 / 0  # old"))
    load(__init__=answering("1 / 0  # new"))
    for module, shown in [(old, "# old"), (sys.modules[NAME], "# new")]:
        caplog.clear()
        function = module.routes[0][2] if module is old else module.answer
        with pytest.raises(ZeroDivisionError) as error:
            function(None)
        report("shop", "prefix 'A'", error.value)
        assert f"return 1 / 0  {shown}" in caplog.text
        assert caplog.text.count("# ") == 1


# ---------------------------------------------------------------------------------- refusals


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("x = 1\ny = nothing", "NameError: name 'nothing' is not defined"),
        ("import json\nfrom json import nothing", "ImportError: cannot import name 'nothing' from"),
        ("x = 1\nimport not_there_at_all", "ModuleNotFoundError: No module named 'not_there_at_a"),
        ("x = 1\nfrom .nothing import x", f"ModuleNotFoundError: No module named '{NAME}.sub.not"),
        ("x = 1\nfrom ..... import x", "ImportError: attempted relative import beyond top-level"),
        ("x = 1\ndef f(:", "SyntaxError: invalid syntax"),
    ],
)
def test_an_error_in_a_sub_module_refuses_the_load(
    load: LoadShop, text: str, message: str, caplog: pytest.LogCaptureFixture
) -> None:
    told = refusal(load, __init__="import json\nfrom .sub import bad", sub__in__bad=text)
    assert told.startswith(message)
    assert told.endswith(f"({FOLDER}/sub/bad.py, line 2)")
    assert f'File "{FOLDER}/__init__.py", line 2' in caplog.text
    assert "generation.py" not in caplog.text  # no line of ours


def test_a_sub_module_that_fails_may_be_done_without(load: LoadShop) -> None:
    source = """
        try:
            from . import bad
        except ZeroDivisionError:
            bad = None
        """
    load(__init__=source + "assert bad is None", bad="1 / 0")
    assert f"{NAME}.bad" not in sys.modules


def test_a_refused_generation_leaves_everything_as_it_was(load: LoadShop) -> None:
    old = load(
        __init__="from . import a\n" + late("from . import b", "a.WHO + b.WHO"),
        a="WHO = 'a'",
        b="WHO = 'b'",
    )

    def state() -> object:
        names = {name: module for name, module in sys.modules.items() if name.startswith(NAME)}
        lines = {path: lines for path, lines in linecache.cache.items() if FOLDER in path}
        return names, lines, importlib.import_module(NAME).a.WHO

    before = state()
    refusal(load, __init__="from . import a, other\nraise ValueError", a="WHO = 'c'", other="")
    with pytest.raises(hrmr.ModuleError):
        load(__init__="from . import a, other\ndef load(config): 1 / 0", a="", other="")
    assert state() == before
    assert call_route(old) == "ab"
