"""Crashes of modules: one report that says where, then the end that would have come anyway."""

import os
import re
import signal
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from conftest import HrmrProcess, place, write_module
from hrmr import paths
from wire_client import Client

GALLERY = Path(__file__).parents[1] / "modules"
_COMPILE = ("-O1", "-g", "-fPIC", "-shared", "-fvisibility=hidden", "-pthread", "-Werror")

# Sanitizers report crashes themselves, and exit with a code of their own after it. Here the end
# shall be the one that users see.
_NOT_THEIRS = "handle_segv=0:handle_sigbus=0:handle_sigfpe=0:handle_sigill=0:handle_abort=0"
_SANITIZERS = {
    name: f"{os.environ.get(name, '')}:{_NOT_THEIRS}".lstrip(":")
    for name in ("ASAN_OPTIONS", "UBSAN_OPTIONS", "TSAN_OPTIONS")
}

Crashing = Callable[..., Path]
StartHrmr = Callable[..., HrmrProcess]


@dataclass
class Report:
    """What a process left behind that crashed."""

    signal: int
    head: str
    frames: list[str]
    log: str

    def functions(self) -> list[str]:
        """Names of the functions in modules, innermost first."""
        named = (
            re.search(r"\.so \(generation \d+\) \+ 0x\w+  (.*)$", each) for each in self.frames
        )
        return [each[1] for each in named if each]


def report_of(server: HrmrProcess) -> Report:
    """Waits for the death of the server. There must be exactly one report."""
    code = server.wait()
    heads = [line for line in server.lines if line.startswith("hrmr: fatal: ")]
    assert len(heads) == 1, server.log
    assert [line for line in server.lines if line.startswith("hrmr: the process ends")], server.log
    frames = [line for line in server.lines if re.match(r"  #\d+ ", line)]
    assert [int(line.split()[0][1:]) for line in frames] == list(range(len(frames)))
    return Report(-code, heads[0], frames, server.log)


@pytest.fixture(scope="session")
def compile_gallery(tmp_path_factory: pytest.TempPathFactory) -> Crashing:
    """Compiles a module of tests/modules; each edition once per session."""
    folder = tmp_path_factory.mktemp("gallery")
    built: dict[tuple[str, ...], Path] = {}

    def compile_one(source: str, *flags: str) -> Path:
        edition = (source, *flags)
        if edition not in built:
            target = folder / f"{Path(source).stem}.{len(built)}.so"
            compiler = ["gcc", "-std=c11"] if source.endswith(".c") else ["g++", "-std=c++20"]
            include = f"-I{paths.include_dir()}"
            command = [*compiler, *_COMPILE, include, *flags, str(GALLERY / source)]
            subprocess.run([*command, "-o", str(target)], check=True)
            built[edition] = target
        return built[edition]

    return compile_one


@pytest.fixture
def gallery(compile_gallery: Crashing, modules: Path) -> Crashing:
    """Compiles a module of tests/modules and puts it into the folder of modules."""

    def put(source: str, *flags: str) -> Path:
        return place(compile_gallery(source, *flags), modules, Path(source).stem)

    return put


@pytest.fixture
def serve_fragile(start_hrmr: StartHrmr, modules: Path) -> Iterator[StartHrmr]:
    """Starts `hrmr` on the folder of modules; it may crash."""

    def start(*flags: str, **variables: str) -> HrmrProcess:
        words = ("--no-bundled", "--modules", str(modules), *flags)
        return start_hrmr(*words, variables={**_SANITIZERS, **variables})

    return start


def send(server: HrmrProcess, request: str) -> None:
    with Client(server.port) as client:
        client.send(request)
        server.wait()


@dataclass
class Fault:
    """A module of the gallery, the line that makes it crash, and what the report is to say."""

    source: str
    line: str
    signal: signal.Signals
    address: str  # a regular expression
    thread: str
    function: str


FAULTS = [
    Fault("crash_segv.c", "SEGV", signal.SIGSEGV, "0x10", "loop", "write_nowhere"),
    Fault("crash_segv.c", "POOLSEGV ab", signal.SIGSEGV, "0x10", "pool", "write_nowhere"),
    Fault("crash_bus.c", "BUS", signal.SIGBUS, r"0x\w+", "loop", "read_past_the_end"),
    Fault("crash_fpe.c", "FPE", signal.SIGFPE, "", "loop", "divide"),
    Fault("crash_stack_overflow.c", "DIG", signal.SIGSEGV, r"0x\w+", "loop", "dig"),
    Fault("crash_stack_overflow.c", "POOLDIG", signal.SIGSEGV, r"0x\w+", "pool", "dig"),
    Fault(
        "crash_abort.cpp",
        "ABORT",
        signal.SIGABRT,
        "",
        "pool",
        "stock::(anonymous namespace)::give_up(...)",
    ),
]


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.line)
def test_report_names_signal_module_generation_route_size_and_function(
    gallery: Crashing, serve_fragile: StartHrmr, fault: Fault
) -> None:
    gallery(fault.source)
    server = serve_fragile()
    send(server, fault.line + "\n")
    report = report_of(server)
    assert report.signal == fault.signal
    address = rf" \(address {fault.address}\)" if fault.address else ""
    expected = (
        f"hrmr: fatal: {fault.signal.name}{address} in module '{Path(fault.source).stem}', "
        f"generation 1, route '{fault.line.split()[0]}', request of {len(fault.line)} bytes, "
        rf"thread hrmr-{fault.thread}-\d"
    )
    assert re.fullmatch(expected, report.head), report.head
    assert fault.function in report.functions(), report.log


def test_request_size_is_that_of_the_whole_http_request(
    gallery: Crashing, serve_fragile: StartHrmr
) -> None:
    gallery("crash_segv.c")
    server = serve_fragile()
    request = f"GET /segv HTTP/1.1\r\nHost: x\r\nX-Fill: {'x' * 1000}\r\n\r\n"
    send(server, request)
    assert f"route 'GET /segv', request of {len(request)} bytes, " in report_of(server).head


def test_frames_are_those_of_the_crash_innermost_first(
    gallery: Crashing, serve_fragile: StartHrmr
) -> None:
    gallery("crash_segv.c")
    server = serve_fragile()
    send(server, "SEGV\n")
    report = report_of(server)
    assert report.functions() == ["write_nowhere", "crash"]
    assert report.frames[0].startswith("  #0 crash_segv.so (generation 1) + 0x")


@pytest.mark.parametrize("line", ["CALL", "THREAD"])
def test_call_into_nothing_shows_the_caller(
    gallery: Crashing, serve_fragile: StartHrmr, line: str
) -> None:
    gallery("crash_stale_call.c")
    server = serve_fragile()
    send(server, line + "\n")
    report = report_of(server)
    assert report.signal == signal.SIGSEGV
    assert "module 'crash_stale_call', generation 1, " in report.head
    assert re.fullmatch(r"  #0 0x\w+  \(no code is there\)", report.frames[0])
    assert report.functions()[0] == "call_what_is_gone"


def test_offsets_are_those_that_addr2line_takes(
    gallery: Crashing, serve_fragile: StartHrmr
) -> None:
    library = gallery("crash_segv.c")
    server = serve_fragile()
    send(server, "SEGV\n")
    offset = report_of(server).frames[0].split()[5]
    command = ["addr2line", "-e", str(library), offset]
    shown = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    file, line = shown.split()[0].split(":")
    assert Path(file).name == "crash_segv.c"
    assert (
        "*(volatile size_t*)0x10"
        in (GALLERY / "crash_segv.c").read_text().split("\n")[int(line) - 1]
    )


def test_report_names_the_generation_that_crashed(
    gallery: Crashing, serve_fragile: StartHrmr
) -> None:
    gallery("crash_segv.c")
    server = serve_fragile()
    for edition in ("2", "3"):
        gallery("crash_segv.c", f"-DEDITION={edition}", f"-O{edition}")
        with Client(server.port) as client:
            client.send("RELOAD\n")
            server.wait_for(rf"reloaded crash_segv generation \d -> {edition}")
    send(server, "SEGV\n")
    report = report_of(server)
    assert "in module 'crash_segv', generation 3, route" in report.head
    assert "crash_segv.so (generation 3)" in report.frames[0]


def test_exception_in_a_thread_of_the_module_is_named_with_its_text(
    gallery: Crashing, serve_fragile: StartHrmr
) -> None:
    gallery("crash_own_thread.cpp")
    server = serve_fragile()
    send(server, "THROW\n")
    report = report_of(server)
    assert report.signal == signal.SIGABRT
    assert (
        "SIGABRT in module 'crash_own_thread', generation 1, in a thread of its own, "
        in report.head
    )
    # One line, whatever is in the text.
    assert "\nuncaught exception std::runtime_error: no\\x0astock left\n" in report.log
    assert "(anonymous namespace)::throw_out(...)" in report.functions()


def test_fault_in_a_thread_of_the_module_is_named(
    gallery: Crashing, serve_fragile: StartHrmr
) -> None:
    gallery("crash_own_thread.cpp")
    server = serve_fragile()
    send(server, "WRITE\n")
    report = report_of(server)
    assert report.signal == signal.SIGSEGV
    assert "module 'crash_own_thread', generation 1, in a thread of its own, " in report.head
    assert report.functions()[0] == "(anonymous namespace)::write_nowhere(...)"


@pytest.mark.parametrize("flags", [(), ("-DIN_CONSTRUCTOR",)], ids=["load", "constructor"])
def test_crash_in_load_is_named(
    gallery: Crashing, serve_fragile: StartHrmr, flags: tuple[str, ...]
) -> None:
    server = serve_fragile()
    gallery("crash_load.c", *flags)
    send(server, "RELOAD\n")
    report = report_of(server)
    assert report.signal == signal.SIGSEGV
    expected = "in module 'crash_load', generation 1, in its load, thread hrmr-reload"
    assert report.head.endswith(expected), report.head
    assert report.functions()[0] == "write_nowhere"


def test_exception_of_a_static_constructor_ends_the_process(
    gallery: Crashing, serve_fragile: StartHrmr
) -> None:
    """Let past dlopen, it would keep the dynamic linker's lock, and the process from ending."""
    server = serve_fragile()
    gallery("constructor_throws.cpp")
    send(server, "RELOAD\n")
    report = report_of(server)
    assert report.signal == signal.SIGABRT
    expected = "in module 'constructor_throws', generation 1, in its load, thread hrmr-reload"
    assert report.head.endswith(expected), report.head
    assert "uncaught exception std::runtime_error: no table" in report.log


def test_crash_in_unload_is_named(gallery: Crashing, serve_fragile: StartHrmr) -> None:
    library = gallery("crash_load.c", "-DIN_UNLOAD")
    server = serve_fragile()
    library.unlink()
    send(server, "RELOAD\n")
    report = report_of(server)
    assert report.signal == signal.SIGSEGV
    expected = "in module 'crash_load', generation 1, in its unload, thread hrmr-reload"
    assert report.head.endswith(expected), report.head
    assert report.functions()[0] == "write_nowhere"


def test_crash_in_a_timer_is_named(gallery: Crashing, serve_fragile: StartHrmr) -> None:
    server = serve_fragile()
    gallery("crash_load.c", "-DIN_TIMER")
    send(server, "RELOAD\n")
    report = report_of(server)
    assert report.signal == signal.SIGSEGV
    expected = "in module 'crash_load', generation 1, in its timer, thread hrmr-loop-0"
    assert report.head.endswith(expected), report.head
    assert report.functions()[0] == "write_nowhere"


def test_threads_that_crash_together_give_one_report(
    gallery: Crashing, serve_fragile: StartHrmr
) -> None:
    gallery("crash_together.c")
    server = serve_fragile()
    send(server, "TOGETHER\n")
    report = report_of(server)
    assert report.signal == signal.SIGSEGV
    assert report.functions() == ["write_nowhere", "crash_with_the_others"]


def test_crash_in_a_python_module_names_it(modules: Path, serve_fragile: StartHrmr) -> None:
    write_module(
        modules,
        "careless",
        """
        import ctypes

        import hrmr

        @hrmr.route("READ ")
        def read(request: hrmr.Request) -> bytes:
            return ctypes.string_at(0)
        """,
    )
    server = serve_fragile()
    send(server, "READ it\n")
    report = report_of(server)
    assert report.signal == signal.SIGSEGV
    expected = (
        "hrmr: fatal: SIGSEGV (address 0x0) in module 'careless', generation 1, "
        r"route 'READ ', request of 7 bytes, thread hrmr-py-"
    )
    assert report.head.startswith(expected)


def test_faulthandler_gets_its_turn_after_the_report(
    modules: Path, serve_fragile: StartHrmr
) -> None:
    write_module(
        modules,
        "careless",
        """
        import ctypes

        import hrmr

        @hrmr.route("READ ")
        def read_nothing(request: hrmr.Request) -> bytes:
            return ctypes.string_at(0)
        """,
    )
    server = serve_fragile(PYTHONFAULTHANDLER="1")
    send(server, "READ it\n")
    report = report_of(server)
    assert report.signal == signal.SIGSEGV
    own, _, rest = report.log.partition("hrmr: the process ends")
    assert "Fatal Python error" not in own
    assert "Fatal Python error: Segmentation fault" in rest
    assert re.search(r"File .*careless\.py.*, line \d+ in read_nothing", rest), rest


def test_a_server_that_reports_no_crashes_just_dies(
    gallery: Crashing, serve_fragile: StartHrmr
) -> None:
    gallery("crash_segv.c")
    server = serve_fragile("--no-crash-report")
    send(server, "SEGV\n")
    assert server.wait() == -signal.SIGSEGV
    assert "hrmr: fatal" not in server.log


def test_signal_of_another_process_is_blamed_on_that(
    gallery: Crashing, serve_fragile: StartHrmr
) -> None:
    gallery("crash_segv.c")
    server = serve_fragile()
    server.signal(signal.SIGABRT)
    report = report_of(server)
    assert report.signal == signal.SIGABRT
    assert re.fullmatch(r"hrmr: fatal: SIGABRT sent by process \d+, thread .*", report.head)
