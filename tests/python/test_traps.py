"""Traps of loading and unloading code that show only where Python is the host (tests/traps.md)."""

import ctypes
import py_compile
import subprocess
import sys
from pathlib import Path
from textwrap import dedent

from conftest import Compile, StartServer, clean_environ, place, write_module
from editions import PythonEditions, same_times
from hrmr import paths
from wire_client import DEADLINE_S, Client, ask, reload


def outputs(source: str, tmp_path: Path) -> str:
    """What that program prints. One that hangs is an error."""
    script = tmp_path / "program.py"
    script.write_text(dedent(source))
    ran = subprocess.run(
        [sys.executable, script],
        env=clean_environ(),
        stdout=subprocess.PIPE,
        text=True,
        timeout=DEADLINE_S,
        check=True,
    )
    return ran.stdout


def test_module_needs_no_symbol_of_the_host() -> None:
    """Python loads the host with RTLD_LOCAL: nothing in it can be linked to."""
    libraries = list(paths.bundled_modules_dir().glob("*.so"))
    assert libraries
    everything_global = ctypes.CDLL(None)
    for library in libraries:
        listed = subprocess.run(
            ["nm", "-D", "--undefined-only", library], capture_output=True, text=True, check=True
        )
        needed = [line.split() for line in listed.stdout.splitlines()]
        # A version says that a shared library of the system has it; w: it may be absent. What has
        # no version must be there for all to see, as the run-time libraries of sanitizers are.
        bare = [name for kind, name in needed if kind != "w" and "@" not in name]
        assert [name for name in bare if not hasattr(everything_global, name)] == []


def test_constructor_that_needs_the_gil_is_let_have_it(
    build: Compile, modules: Path, tmp_path: Path
) -> None:
    place(build("needs_gil"), modules)
    said = outputs(
        f"""
        import hrmr

        with hrmr.Server(port=0, modules=[{str(modules)!r}]) as server:
            print([module.name for module in server.modules])
            print([str(outcome) for outcome in server.reload()])
        """,
        tmp_path,
    )
    assert said == "['needs_gil']\n['unchanged needs_gil']\n"


def test_compiled_file_of_older_source_is_not_run(start_server: StartServer, modules: Path) -> None:
    editions = PythonEditions(modules)
    editions.put("A")
    before = editions.path.stat()
    py_compile.compile(str(editions.path), doraise=True)
    editions.overwrite("B")
    same_times(editions.path, before)  # of the same size, too: Python takes the old one for current
    assert ask(start_server().port, "VERSION") == "version B"


def test_function_that_was_deleted_is_gone(start_server: StartServer, modules: Path) -> None:
    source = """
        import hrmr

        @hrmr.route("NAMES")
        def names(request):
            return " ".join(sorted(each for each in globals() if "function" in each)) + "\\n"
    """
    write_module(modules, "names", source + "\n        def old_function(): pass\n")
    server = start_server()
    assert ask(server.port, "NAMES") == "old_function"
    write_module(modules, "names", source + "\n        def new_function(): pass\n")
    assert server.reload().ok
    assert ask(server.port, "NAMES") == "new_function"


CANARY = """
    import sys
    import weakref
    import hrmr

    @hrmr.route("ANSWER")
    def answer(request):
        return "{version}\\n"

    @hrmr.route("FAIL")
    def fail(request):
        raise ValueError("{version}")

    class Kept:
        answer = answer

    for each in (answer, fail, Kept):
        sys.canaries.append(weakref.ref(each))
    {last}
"""

# A program of its own: pytest keeps records of the log, and with them tracebacks into the module.
COUNT_CANARIES = """
    import gc
    import socket
    import sys
    from pathlib import Path
    import hrmr

    sys.canaries = []
    path = Path({path!r})

    def ask(line):
        with socket.create_connection(("127.0.0.1", server.port)) as client:
            client.sendall(line)
            client.shutdown(socket.SHUT_WR)
            return client.makefile().read()

    def living():
        gc.collect()
        return sum(canary() is not None for canary in sys.canaries)

    with hrmr.Server(port=0, modules=[path.parent]) as server:
        print(living(), end=" ")
        assert ask(b"ANSWER\\nFAIL\\n").startswith("one\\nERR ")
        path.write_text(path.with_suffix(".next").read_text())
        print(server.reload().ok, end=" ")
        ask(b"ANSWER\\n")
        server.reload()  # comes after the unload of what the first one replaced
        print(living(), len(sys.canaries))
"""


def count_canaries(modules: Path, sources: list[str]) -> str:
    path = write_module(modules, "canary", sources[0])
    path.with_suffix(".next").write_text(dedent(sources[1]))
    return outputs(COUNT_CANARIES.format(path=str(path)), modules.parent)


def test_old_generation_is_freed_after_requests_and_a_reload(modules: Path) -> None:
    sources = [CANARY.format(version=version, last="") for version in ("one", "two")]
    assert count_canaries(modules, sources) == "3 True 3 6\n"


def test_refused_generation_is_freed(modules: Path) -> None:
    refused = CANARY.format(version="two", last="raise ValueError('refused on purpose')")
    good = CANARY.format(version="one", last="")
    # Refused twice: the second reload tries again.
    assert count_canaries(modules, [good, refused]) == "3 False 3 9\n"


def test_thread_keeps_its_python_state_from_request_to_request(
    start_server: StartServer, modules: Path
) -> None:
    """What `threading.local` holds lives in Python's thread state: a new one per call loses it."""
    source = """
        import threading
        import hrmr

        local = threading.local()

        @hrmr.route("COUNT")
        def count(request):
            local.count = getattr(local, "count", 0) + 1
            return f"{local.count}\\n"
    """
    write_module(modules, "counts", source)
    with Client(start_server(python_threads=1).port) as client:
        assert [client.ask("COUNT") for _ in range(5)] == ["1", "2", "3", "4", "5"]


def test_python_module_cannot_take_signals(start_server: StartServer, modules: Path) -> None:
    source = """
        import signal
        signal.signal(signal.SIGUSR1, print)
    """
    write_module(modules, "takes", source)
    [line, _] = reload(start_server().port)
    assert line.startswith("failed takes: ValueError: signal only works in main thread")
