"""Loading Python modules, without a server: namespaces, generations, refusals, tracebacks."""

import gc
import linecache
import logging
import sys
import types
import weakref
from collections.abc import Callable, Iterator
from pathlib import Path
from textwrap import dedent

import hrmr
import pytest
from hrmr.python_module import PythonModule, open_python, report
from hrmr.route import make_route

PATH = "/nowhere/users.py"
GOOD = """
import hrmr

@hrmr.route("GREET ")
def greet(request):
    return "one"
"""

Load = Callable[..., PythonModule]


@pytest.fixture
def load() -> Iterator[Load]:
    """Loads source text as a generation of the module "users"; unloads all at the end."""
    loaded: list[PythonModule] = []

    def load_text(text: str, config: dict[str, str] | None = None) -> PythonModule:
        source = {PATH: dedent(text).encode()}
        loaded.append(open_python("users", PATH, source, len(loaded) + 1))
        loaded[-1].load(config or {}, None)
        return loaded[-1]

    yield load_text
    for module in reversed(loaded):
        module.unload()
        module.close()
    assert "hrmr_modules.users" not in sys.modules
    assert PATH not in linecache.cache


def refusal(load: Load, text: str) -> str:
    with pytest.raises(hrmr.ModuleError) as error:
        load(text)
    return str(error.value)


def test_collects_routes_in_order(load: Load) -> None:
    module = load(
        """
        import hrmr

        @hrmr.route("GREET ")
        @hrmr.route(b"\\x00\\xff", framing="raw")
        def greet(request):
            return "one"

        @hrmr.route("POST /greet", framing="http")
        def post(request):
            return "two"

        __version__ = "1.2"
        """
    )
    listed = [(prefix, framing, call(None)) for prefix, framing, call in module.routes]
    assert listed == [
        (b"\x00\xff", "raw", "one"),
        (b"GREET ", "auto", "one"),
        (b"POST /greet", "http", "two"),
    ]
    assert module.version == "1.2"


def test_generations_do_not_share_a_namespace(load: Load) -> None:
    first = load("""
        import hrmr
        LEFT_OVER = 1
        @hrmr.route("A")
        def answer(request):
            return "first"
        """)
    second = load("""
        import hrmr
        @hrmr.route("A")
        def answer(request):
            return "second " + str("LEFT_OVER" in globals())
        """)
    assert first.routes[0][2](None) == "first"  # type: ignore[arg-type]
    assert second.routes[0][2](None) == "second False"  # type: ignore[arg-type]


def test_an_old_generation_is_freed(load: Load) -> None:
    old = load(GOOD)
    canary = weakref.ref(old.routes[0][2])
    load(GOOD)
    old.unload()
    old.close()
    gc.collect()
    assert canary() is None
    assert "hrmr_modules.users" in sys.modules  # the new one's


def test_load_gets_the_configuration_and_unload_is_called_once(load: Load) -> None:
    module = load(
        GOOD
        + """
seen = []
def load(config):
    seen.append(config)
def unload():
    seen.append("gone")
""",
        {"db.path": "x.db"},
    )
    seen = sys.modules["hrmr_modules.users"].seen
    module.unload()
    module.unload()
    assert seen == [{"db.path": "x.db"}, "gone"]


def test_an_imported_function_named_load_is_left_alone(load: Load) -> None:
    load(GOOD + "from json import load\nfrom os import close as unload\n")


def test_an_error_in_unload_goes_to_the_log(load: Load, caplog: pytest.LogCaptureFixture) -> None:
    module = load(GOOD + "def unload():\n    1 / 0\n")
    module.unload()
    assert [(r.name, r.getMessage()) for r in caplog.records] == [
        ("hrmr.module.users", "unload failed")
    ]


def test_dataclasses_with_postponed_annotations_work(load: Load) -> None:
    module = load("""
        from __future__ import annotations
        import dataclasses, hrmr, pickle

        @dataclasses.dataclass
        class User:
            name: str

        @hrmr.route("A")
        def answer(request):
            return pickle.loads(pickle.dumps(User("ada"))).name
        """)
    assert module.routes[0][2](None) == "ada"  # type: ignore[arg-type]


def test_our_own_future_imports_do_not_leak_into_modules(load: Load) -> None:
    load(GOOD + "def f(x: int): pass\nassert f.__annotations__ == {'x': int}\n")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("x = 1\ny = nothing\n", f"NameError: name 'nothing' is not defined ({PATH}, line 2)"),
        ("def f(:\n", f"SyntaxError: invalid syntax ({PATH}, line 1)"),
        ("import sys\nsys.exit(3)\n", f"SystemExit: 3 ({PATH}, line 2)"),
        ("def load(config):\n    raise OSError('no db')\n", f"OSError: no db ({PATH}, line 2)"),
        ("def load(config):\n    config['a']\n", f"KeyError: 'a' ({PATH}, line 2)"),
        ("raise ValueError\n", f"ValueError: no reason given ({PATH}, line 1)"),
    ],
)
def test_a_refusal_says_what_and_where(load: Load, text: str, message: str) -> None:
    assert refusal(load, text) == message


def test_a_refused_load_leaves_the_old_generation_as_it_was(load: Load) -> None:
    load(GOOD)
    before = (sys.modules["hrmr_modules.users"], linecache.cache[PATH])
    refusal(load, "raise ValueError")
    assert (sys.modules["hrmr_modules.users"], linecache.cache[PATH]) == before


def test_a_refusal_is_logged_with_its_traceback(
    load: Load, caplog: pytest.LogCaptureFixture
) -> None:
    refusal(load, "def fail():\n    raise ValueError('deep')\nfail()\n")
    assert f'File "{PATH}", line 2, in fail\n    raise ValueError' in caplog.text
    assert caplog.text.count("File ") == 2  # no line of ours


def test_a_module_without_a_route_is_loaded_with_a_warning(
    load: Load, caplog: pytest.LogCaptureFixture
) -> None:
    assert load("x = 1\n").routes == []
    assert "has no route" in caplog.text


@pytest.mark.parametrize(
    ("handler", "message"),
    [
        ("async def f(r): return ''", "`async def` handlers are not supported"),
        ("async def f(r): yield ''", "`async def` handlers are not supported"),
        ("def f(): return ''", "a handler takes one argument"),
        ("def f(a, b): return ''", "a handler takes one argument"),
        ("def f(a, *, b): return ''", "a handler takes one argument"),
    ],
)
def test_what_cannot_be_a_handler_is_refused_at_load(
    load: Load, handler: str, message: str
) -> None:
    told = refusal(load, f"import hrmr\n@hrmr.route('A')\n{handler}\n")
    assert told.startswith("f: ")
    assert message in told
    assert told.endswith(f"({PATH}, line 2)")


@pytest.mark.parametrize("handler", ["def f(a, b=1): ...", "def f(*a): ...", "f = str"])
def test_what_takes_one_argument_can_be_a_handler(handler: str) -> None:
    namespace: dict[str, hrmr.route.Handler] = {}  # type: ignore[name-defined]
    exec(handler, namespace)
    assert make_route("A", "auto", namespace["f"]).prefix == b"A"


@pytest.mark.parametrize(
    ("prefix", "framing", "message"),
    [
        ("", "auto", "a prefix has 1 to 1024 bytes, this one 0"),
        ("é" * 513, "auto", "a prefix has 1 to 1024 bytes, this one 1026"),
        (5, "auto", "a prefix is str or bytes, not int"),
        ("A", "resp", "framing is one of auto, line, http, raw, not 'resp'"),
    ],
)
def test_a_wrong_prefix_or_framing_is_refused(prefix: str, framing: str, message: str) -> None:
    with pytest.raises(hrmr.RouteError, match=message):
        hrmr.route(prefix, framing)(str)  # type: ignore[arg-type]


def test_a_decorator_without_its_prefix_is_refused(load: Load) -> None:
    told = refusal(load, "import hrmr\n@hrmr.route\ndef greet(request): return ''\n")
    assert told.startswith('@hrmr.route needs a prefix: @hrmr.route("GREET ")')
    with pytest.raises(hrmr.RouteError, match=r"@server\.route needs a prefix"):
        hrmr.Server(port=0).route(str)  # type: ignore[arg-type]


def test_the_longest_allowed_prefix_is_allowed() -> None:
    assert len(make_route("x" * 1024, "auto", str).prefix) == 1024  # type: ignore[arg-type]


def test_the_decorator_leaves_the_function_as_it_is_outside_of_a_load() -> None:
    def answer(request: hrmr.Request) -> str:
        return "plain"

    assert hrmr.route("A")(answer) is answer


def test_report_logs_the_source_line_that_was_loaded_not_the_one_on_disk(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "users.py"
    source = b"import hrmr\n@hrmr.route('A')\ndef f(r):\n    return 1 / 0  # loaded\n"
    path.write_text("something newer\n" * 9)
    module = open_python("users", str(path), {str(path): source}, 1)
    module.load({}, None)
    with pytest.raises(ZeroDivisionError) as error:
        module.routes[0][2](None)  # type: ignore[arg-type]
    report("users", "prefix 'A'", error.value)
    module.close()
    assert [(r.name, r.levelno) for r in caplog.records] == [("hrmr.module.users", logging.ERROR)]
    assert f'File "{path}", line 4, in f\n    return 1 / 0  # loaded' in caplog.text


def test_a_response_keeps_what_a_handler_said() -> None:
    response = hrmr.Response("ä", 201, {"X-One": "1"}, close=True)
    assert (response.body, response.status) == ("ä".encode(), 201)
    assert (response.headers, response.close) == ([("X-One", "1")], True)
    assert hrmr.Response(memoryview(b"x"), headers=[("A", "1"), ("A", "2")]).headers == [
        ("A", "1"),
        ("A", "2"),
    ]


@pytest.mark.parametrize("status", [199, 600])
def test_a_response_refuses_a_status_that_is_none(status: int) -> None:
    with pytest.raises(hrmr.ResponseError):
        hrmr.Response(status=status)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((5,), "body must be str, bytes or an iterator of them, not int"),
        (([1, 2],), "body must be str, bytes or an iterator of them, not list"),
        ((None,), "body must be str, bytes or an iterator of them, not NoneType"),
        (("", "200"), "status must be an int, not str"),
        (("", True), "status must be an int, not bool"),
        (("", 200, "X-One: 1"), "headers must be a mapping or pairs of str, not str"),
        (("", 200, None), "headers must be a mapping or pairs of str, not NoneType"),
        (("", 200, ["X"]), "headers must be a mapping or pairs of str, not 'X'"),
        (("", 200, {"Age": 1}), "header 'Age': name and value must be str, not int"),
        (("", 200, {b"Age": "1"}), "header b'Age': name and value must be str, not bytes"),
    ],
)
def test_a_response_refuses_arguments_of_other_types(
    arguments: tuple[object, ...], message: str
) -> None:
    with pytest.raises(hrmr.ResponseError) as error:
        hrmr.Response(*arguments)  # type: ignore[arg-type]
    assert str(error.value) == message


def test_outcomes_tell_whether_all_went_well() -> None:
    good = hrmr.Outcome("a", "loaded", 1, 0, "", 0.1)
    bad = hrmr.Outcome("b", "failed", 1, 1, "no", 0.1)
    assert hrmr.ReloadReport([good]).ok
    assert not hrmr.ReloadReport([good, bad]).ok
    assert hrmr.ReloadReport([good, bad]).failures == [bad]
    assert str(hrmr.ReloadReport([good, bad])) == "loaded a\nfailed b: no"


def test_the_package_of_modules_is_a_package() -> None:
    open_python("other", "/nowhere/other.py", {"/nowhere/other.py": b"x = 1"}, 1).close()
    assert isinstance(sys.modules["hrmr_modules"], types.ModuleType)
