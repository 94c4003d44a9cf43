"""The command line: what it says, how it exits, where its options come from, and its signals."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from pathlib import Path

import hrmr
import pytest
from conftest import DEADLINE_S, HrmrProcess, clean_environ
from hrmr.client import Place, ask
from hrmr.options import TABLE

StartHrmr = Callable[..., HrmrProcess]

GREET_PY = """
import hrmr

@hrmr.route("GREET ")
def greet(request: hrmr.Request) -> str:
    return f"hello {request.text}\\n"
"""

SLOW_PY = """
import hrmr, time
from pathlib import Path

@hrmr.route("SLOW ")
def slow(request: hrmr.Request) -> str:
    Path("begun").touch()
    while not Path(request.text).exists():
        time.sleep(0.01)
    return "done\\n"
"""


def run(
    *arguments: str, folder: Path, variables: dict[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "hrmr", *arguments],
        cwd=folder,
        env=clean_environ(variables),
        capture_output=True,
        text=True,
        timeout=DEADLINE_S,
        check=False,
    )


def write_module(folder: Path, name: str, text: str) -> Path:
    (folder / "modules").mkdir(exist_ok=True)
    path = folder / "modules" / name
    path.write_text(text)
    return path


def talk(port: int, text: str) -> str:
    return ask(Place("127.0.0.1", port), text, DEADLINE_S)


def wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + DEADLINE_S
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


@pytest.fixture
def taken_port() -> Iterator[int]:
    with closing(socket.create_server(("127.0.0.1", 0))) as listener:
        yield listener.getsockname()[1]


# ------------------------------------------------------------------------------- words and codes


def test_help_shows_every_option_and_command(tmp_path: Path) -> None:
    for arguments in (["--help"], ["-h"], ["serve", "--help"]):
        ran = run(*arguments, folder=tmp_path)
        assert ran.returncode == 0
        for option in TABLE.values():
            assert f"  {option.flag}" in ran.stdout
        assert "Examples:" in ran.stdout
        assert "  --version" in ran.stdout
    assert all(f"\n  {name} " in run("--help", folder=tmp_path).stdout for name in ("build", "sdk"))


@pytest.mark.parametrize("command", ["build", "reload", "sdk"])
def test_every_command_has_help_with_examples(tmp_path: Path, command: str) -> None:
    ran = run(command, "--help", folder=tmp_path)
    assert ran.returncode == 0
    assert "Examples:" in ran.stdout


def test_version_names_all_that_matters(tmp_path: Path) -> None:
    ran = run("--version", folder=tmp_path)
    assert ran.returncode == 0
    assert ran.stdout.startswith(f"hrmr {hrmr.__version__} (module ABI {hrmr.ABI[0]}.")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--prot", "1"], "hrmr: No such option '--prot'"),
        (["--port"], "hrmr: Option '--port' requires an argument"),
        (["--port", "eighty"], "hrmr: --port: 'eighty' is not a whole number from 0 to 65535"),
        (["-port", "99999"], "hrmr: --port: 99999 is not a whole number from 0 to 65535"),
        (["--modules", "nowhere"], "hrmr: --modules: there is no folder or file 'nowhere'"),
        (["--static", "nowhere"], "hrmr: --static: there is no folder 'nowhere'"),
        (["--config", "nowhere"], "hrmr: --config: there is no file 'nowhere'"),
        (["--on-reload", "no"], "hrmr: --on-reload: 'no' is not one of auto, swap, hold, reject"),
        (["serve", "extra"], "hrmr: Got unexpected extra argument (extra)"),
        (["sreve"], "hrmr: No such command 'sreve'"),
        (["--port", "1", "reload"], "hrmr: put the command first: hrmr reload --port 1;"),
        (
            ["-port=1", "reload", "--timeout", "1"],
            "hrmr: put the command first: hrmr reload --port=1",
        ),
        (["reload", "-port", "99999"], "hrmr: --port: 99999 is not a whole number"),
        (["build", "nowhere"], "hrmr: there is no folder 'nowhere'"),
        (["reload", "a b"], "hrmr: 'a b' is not the name of a module"),
        (["reload", "--timeout", "x"], "hrmr: --timeout: 'x' is not a number of seconds"),
        (["sdk"], "hrmr: say --cmake-dir or --include-dir"),
        (["sdk", "--cmake-dir", "--include-dir"], "hrmr: say --cmake-dir or --include-dir"),
    ],
)
def test_a_wrong_call_exits_2_with_one_line(
    tmp_path: Path, arguments: list[str], message: str
) -> None:
    ran = run(*arguments, folder=tmp_path)
    assert (ran.returncode, ran.stdout) == (2, "")
    assert ran.stderr.startswith(message)
    assert ran.stderr.count("\n") == 1


def test_a_wrong_variable_exits_2_and_is_named(tmp_path: Path) -> None:
    ran = run(folder=tmp_path, variables={"HRMR_PORT": "eighty"})
    assert ran.returncode == 2
    assert ran.stderr == "hrmr: HRMR_PORT: 'eighty' is not a whole number from 0 to 65535\n"
    ran = run(folder=tmp_path, variables={"HRMR_CONFIG": "nowhere"})
    assert (ran.returncode, ran.stderr) == (2, "hrmr: HRMR_CONFIG: there is no file 'nowhere'\n")


def test_a_bad_file_exits_2_and_is_named(tmp_path: Path) -> None:
    (tmp_path / "hrmr.toml").write_text("[server]\nport = \n")
    ran = run(folder=tmp_path)
    assert ran.returncode == 2
    assert ran.stderr.startswith("hrmr: hrmr.toml: is not valid TOML: ")
    assert ran.stderr.count("\n") == 1


def test_a_taken_port_exits_1_and_says_how_to_mend_it(tmp_path: Path, taken_port: int) -> None:
    ran = run("--port", str(taken_port), folder=tmp_path)
    assert ran.returncode == 1
    last = ran.stderr.splitlines()[-1]
    assert last.startswith(f"hrmr: port {taken_port} on 127.0.0.1 is already in use")
    assert "--port" in last
    assert "Traceback" not in ran.stderr


def test_an_address_of_another_machine_exits_1(tmp_path: Path) -> None:
    ran = run("--host", "192.0.2.1", "--port", "0", folder=tmp_path)
    assert ran.returncode == 1
    assert ran.stderr.startswith("hrmr: ")
    assert "192.0.2.1" in ran.stderr


def test_sdk_prints_folders_that_hold_what_they_promise(tmp_path: Path) -> None:
    include = run("sdk", "--include-dir", folder=tmp_path).stdout.rstrip("\n")
    assert (Path(include) / "hrmr/abi.h").is_file()
    assert (Path(include) / "hrmr/module.hpp").is_file()
    cmake = run("sdk", "--cmake-dir", folder=tmp_path).stdout.rstrip("\n")
    assert (Path(cmake) / "hrmrConfig.cmake").is_file()


def test_sdk_shows_the_flags_of_a_build(tmp_path: Path) -> None:
    (tmp_path / "module_src").mkdir()
    (tmp_path / "module_src/one.cpp").write_text("")
    built = run("build", "--verbose", folder=tmp_path, variables={"CXX": "g++"}).stdout
    flags = [
        word for word in built.splitlines()[0].split() if word.startswith(("-f", "-W", "-std"))
    ]
    told = run("sdk", "--help", folder=tmp_path).stdout.split()
    assert "-fno-gnu-unique" in flags
    assert set(flags) <= set(told)


def test_a_reader_that_leaves_causes_no_traceback(tmp_path: Path) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    with open(writer, "wb") as output:  # noqa: PTH123 - a descriptor
        ran = subprocess.run(
            [sys.executable, "-m", "hrmr", "--help"],
            stdout=output,
            stderr=subprocess.PIPE,
            cwd=tmp_path,
            env=clean_environ(),
            text=True,
            check=False,
        )
    assert "Traceback" not in ran.stderr
    assert "Exception ignored" not in ran.stderr


# ------------------------------------------------------------------------------------------ serve


def test_says_where_it_listens_and_what_it_serves(start_hrmr: StartHrmr, tmp_path: Path) -> None:
    write_module(tmp_path, "greet.py", GREET_PY)
    process = start_hrmr("--threads", "3", "--loops", "2")
    process.wait_for(rf"listening on http://127.0.0.1:{process.port} \(3 pool threads, 2 loops\)$")
    process.wait_for(r"modules: .*greet \(1 route\)")
    process.wait_for(r"modules: .*http \d")
    assert talk(process.port, "GREET ada") == "hello ada\n"


@pytest.mark.parametrize(
    "arguments",
    [["-port", "0", "-threads", "2"], ["serve", "--port", "0", "--threads=2"], ["-port=0"]],
)
def test_old_and_new_spellings_start_it(start_hrmr: StartHrmr, arguments: list[str]) -> None:
    process = start_hrmr(*arguments)
    assert process.port > 0


def test_no_bundled_leaves_the_bundled_modules_out(start_hrmr: StartHrmr) -> None:
    process = start_hrmr("--no-bundled")
    process.wait_for(r"modules: none$")


def test_a_flag_wins_over_a_variable_and_that_over_the_file(
    start_hrmr: StartHrmr, tmp_path: Path
) -> None:
    (tmp_path / "hrmr.toml").write_text("[server]\nthreads = 7\npython_threads = 7\nloops = 3\n")
    process = start_hrmr("--threads", "5", variables={"HRMR_THREADS": "6", "HRMR_LOOPS": "2"})
    process.wait_for(r"\(5 pool threads, 2 loops\)$")


def test_the_configuration_file_can_be_anywhere(start_hrmr: StartHrmr, tmp_path: Path) -> None:
    folder = tmp_path / "etc"
    folder.mkdir()
    write_module(folder, "greet.py", GREET_PY)
    config = folder / "server.toml"
    config.write_text('[server]\nmodules = ["modules"]\n')
    for arguments, variables in (
        (["--config", str(config)], {}),
        ([], {"HRMR_CONFIG": str(config)}),
    ):
        process = start_hrmr(*arguments, variables=variables)
        assert talk(process.port, "GREET ada") == "hello ada\n"


def test_a_module_reads_its_table_of_the_file(start_hrmr: StartHrmr, tmp_path: Path) -> None:
    write_module(
        tmp_path,
        "shop.py",
        "import hrmr\nseen = {}\ndef load(config): seen.update(config)\n"
        "@hrmr.route('SEEN')\ndef show(request): return str(sorted(seen.items())) + '\\n'\n",
    )
    (tmp_path / "hrmr.toml").write_text('[modules.shop]\ndb.path = "x.db"\nlimit = 5\n')
    process = start_hrmr()
    assert talk(process.port, "SEEN") == "[('db.path', 'x.db'), ('limit', '5')]\n"


def test_settings_that_nothing_reads_are_warned_of(start_hrmr: StartHrmr, tmp_path: Path) -> None:
    write_module(tmp_path, "greet.py", GREET_PY)
    (tmp_path / "hrmr.toml").write_text("[modules.gret]\nx = 1\n[modules.greet]\nx = 1\n")
    process = start_hrmr(variables={"HRMR_PROT": "1"})
    process.wait_for(r'WARNING server: HRMR_PROT: .*; did you mean "HRMR_PORT"\?$')
    process.wait_for(r'WARNING server: \[modules\.gret\]: no .* is loaded; did you mean "greet"\?$')
    assert process.log.count("is loaded") == 1


def test_the_static_folder_is_served(start_hrmr: StartHrmr, tmp_path: Path) -> None:
    (tmp_path / "site").mkdir()
    (tmp_path / "site/index.html").write_text("<p>mine</p>")
    process = start_hrmr("--static", "site")
    assert "<p>mine</p>" in talk(process.port, "GET / HTTP/1.0\r\n\r")


def test_a_broken_module_does_not_keep_the_others_from_serving(
    start_hrmr: StartHrmr, tmp_path: Path
) -> None:
    write_module(tmp_path, "greet.py", GREET_PY)
    write_module(tmp_path, "broken.py", "1 / 0\n")
    process = start_hrmr()
    process.wait_for(r"ERROR .*broken.*ZeroDivisionError")
    assert talk(process.port, "GREET ada") == "hello ada\n"


def test_an_exception_in_a_handler_is_logged_with_module_file_and_line(
    start_hrmr: StartHrmr, tmp_path: Path
) -> None:
    write_module(tmp_path, "greet.py", GREET_PY.replace("return", "return 1 / 0,"))
    process = start_hrmr()
    assert talk(process.port, "GREET ada").startswith("ERR ")
    process.wait_for(r"ERROR +module\.greet: the handler of prefix 'GREET ' failed$")
    process.wait_for(r'File ".*modules/greet\.py", line 6, in greet$')
    process.wait_for("ZeroDivisionError: division by zero$")


def test_logs_can_be_json(start_hrmr: StartHrmr) -> None:
    process = start_hrmr("--log-format", "json")
    process.process.send_signal(signal.SIGTERM)
    assert process.wait() == 0
    records = [json.loads(line) for line in process.lines]
    assert {"time", "level", "source", "message"} == set(records[0])
    assert records[-1]["message"] == "stopped"


def test_modules_that_are_built_while_it_serves_are_found(
    start_hrmr: StartHrmr, tmp_path: Path
) -> None:
    process = start_hrmr()
    write_module(tmp_path, "greet.py", GREET_PY)
    assert run("reload", "--port", str(process.port), folder=tmp_path).returncode == 0
    assert talk(process.port, "GREET ada") == "hello ada\n"


# ----------------------------------------------------------------------------------- its endings


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_shuts_it_down(start_hrmr: StartHrmr, number: signal.Signals) -> None:
    process = start_hrmr()
    process.process.send_signal(number)
    assert process.wait() == 0
    process.wait_for(f"{number.name}: shutting down")


def test_shutdown_from_a_client_ends_it_with_0(start_hrmr: StartHrmr) -> None:
    process = start_hrmr()
    talk(process.port, "SHUTDOWN")
    assert process.wait() == 0


def test_requests_in_flight_are_answered_before_it_ends(
    start_hrmr: StartHrmr, tmp_path: Path
) -> None:
    write_module(tmp_path, "slow.py", SLOW_PY)
    process = start_hrmr()
    with socket.create_connection(("127.0.0.1", process.port), DEADLINE_S) as client:
        client.sendall(b"SLOW go\n")
        wait_until((tmp_path / "begun").exists)
        process.process.send_signal(signal.SIGTERM)
        process.wait_for("shutting down")
        (tmp_path / "go").touch()
        assert client.makefile("rb").read() == b"done\n"
    assert process.wait() == 0


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_second_signal_ends_it_at_once(
    start_hrmr: StartHrmr, tmp_path: Path, number: signal.Signals, code: int
) -> None:
    write_module(tmp_path, "slow.py", SLOW_PY)
    process = start_hrmr("--drain-timeout", "3600")
    with socket.create_connection(("127.0.0.1", process.port), DEADLINE_S) as client:
        client.sendall(b"SLOW never\n")
        wait_until((tmp_path / "begun").exists)
        process.process.send_signal(number)
        process.wait_for("shutting down")
        process.process.send_signal(number)
        assert process.wait() == code


def test_a_handler_that_never_ends_is_left_behind_after_the_drain_timeout(
    start_hrmr: StartHrmr, tmp_path: Path
) -> None:
    write_module(tmp_path, "slow.py", SLOW_PY)
    process = start_hrmr("--drain-timeout", "0.1")
    with socket.create_connection(("127.0.0.1", process.port), DEADLINE_S) as client:
        client.sendall(b"SLOW never\n")
        wait_until((tmp_path / "begun").exists)
        process.process.send_signal(signal.SIGTERM)
        assert process.wait() == 1
    process.wait_for("a handler still runs after the drain timeout")


# ----------------------------------------------------------------------------------------- reload


def test_reload_swaps_the_new_code_in(start_hrmr: StartHrmr, tmp_path: Path) -> None:
    write_module(tmp_path, "greet.py", GREET_PY)
    process = start_hrmr()
    write_module(tmp_path, "greet.py", GREET_PY.replace("hello", "good day"))
    ran = run("reload", "--port", str(process.port), folder=tmp_path)
    assert (ran.returncode, ran.stderr) == (0, "")
    head, *rows, total = ran.stdout.splitlines()
    assert head.split() == ["MODULE", "RESULT", "GENERATION", "MS"]
    assert re.fullmatch(r"greet +reloaded +1 -> 2 +[\d.]+", rows[2])
    assert re.fullmatch(r"http +unchanged +1", rows[-1])
    assert re.fullmatch(r"1 reloaded, \d unchanged in [\d.]+ ms", total)
    assert talk(process.port, "GREET ada") == "good day ada\n"


def test_reload_of_named_modules_leaves_the_others(start_hrmr: StartHrmr, tmp_path: Path) -> None:
    write_module(tmp_path, "one.py", GREET_PY.replace("GREET", "ONE"))
    write_module(tmp_path, "two.py", GREET_PY.replace("GREET", "TWO"))
    process = start_hrmr()
    for name in ("one", "two"):
        path = tmp_path / f"modules/{name}.py"
        path.write_text(path.read_text().replace("hello", "bye"))
    ran = run("reload", "two", folder=tmp_path, variables={"HRMR_PORT": str(process.port)})
    assert ran.returncode == 0
    assert talk(process.port, "ONE x") == "hello x\n"
    assert talk(process.port, "TWO x") == "bye x\n"


def test_a_failed_reload_exits_1_and_the_old_code_serves(
    start_hrmr: StartHrmr, tmp_path: Path
) -> None:
    write_module(tmp_path, "greet.py", GREET_PY)
    process = start_hrmr()
    write_module(tmp_path, "greet.py", GREET_PY + "\n1 / 0\n")
    (tmp_path / "hrmr.toml").write_text(f'[server]\nport = {process.port}\nhost = "0.0.0.0"\n')
    ran = run("reload", folder=tmp_path)
    assert ran.returncode == 1
    assert "greet" in ran.stdout
    assert "ZeroDivisionError: division by zero" in ran.stdout
    assert "modules/greet.py, line 8)" in ran.stdout
    assert talk(process.port, "GREET ada") == "hello ada\n"


def test_reload_of_an_unknown_module_exits_1(start_hrmr: StartHrmr, tmp_path: Path) -> None:
    process = start_hrmr()
    ran = run("reload", "nothing", "--port", str(process.port), folder=tmp_path)
    assert ran.returncode == 1
    assert "nothing" in ran.stdout


def test_reload_without_a_server_exits_1_and_says_so(tmp_path: Path, taken_port: int) -> None:
    with closing(socket.create_server(("127.0.0.1", 0))) as listener:
        free_port = listener.getsockname()[1]
    ran = run("reload", "--port", str(free_port), folder=tmp_path)
    assert (ran.returncode, ran.stdout) == (1, "")
    assert ran.stderr.startswith(f"hrmr: no server answers at 127.0.0.1 port {free_port}")
    ran = run("reload", "--port", str(taken_port), "--timeout", "0.1", folder=tmp_path)
    assert (ran.returncode, ran.stdout) == (1, "")
    assert "gave no answer within 0.1 seconds; what was asked goes on in the server" in ran.stderr


def test_reload_of_something_else_exits_1_and_says_so(tmp_path: Path) -> None:
    with closing(socket.create_server(("127.0.0.1", 0))) as listener:

        def answer() -> None:
            with listener.accept()[0] as client:
                while client.recv(100):
                    pass
                client.sendall(b"<!DOCTYPE HTML>\n<title>Error</title>\n")

        threading.Thread(target=answer, daemon=True).start()
        port = listener.getsockname()[1]
        ran = run("reload", "-port", str(port), folder=tmp_path)
    assert (ran.returncode, ran.stdout) == (1, "")
    place = f"127.0.0.1 port {port}"
    assert ran.stderr == f"hrmr: {place} answered, but not as HRMR does: '<!DOCTYPE HTML>'\n"


def test_reload_gives_up_on_an_answer_that_drips_for_ever(tmp_path: Path) -> None:
    is_over = threading.Event()
    with closing(socket.create_server(("127.0.0.1", 0))) as listener:

        def drip() -> None:
            # The client leaves in the middle.
            with listener.accept()[0] as client, suppress(OSError):
                while not is_over.wait(0.1):
                    client.sendall(b".")

        threading.Thread(target=drip, daemon=True).start()
        port = listener.getsockname()[1]
        ran = run("reload", "--port", str(port), "--timeout", "0.5", folder=tmp_path)
        is_over.set()
    assert ran.returncode == 1
    assert "gave no answer within 0.5 seconds" in ran.stderr


def test_hangup_reloads(start_hrmr: StartHrmr, tmp_path: Path) -> None:
    process = start_hrmr()
    write_module(tmp_path, "greet.py", GREET_PY)
    process.process.send_signal(signal.SIGHUP)
    process.wait_for("loaded greet")
    assert talk(process.port, "GREET ada") == "hello ada\n"
