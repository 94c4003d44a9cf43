"""Commands over sockets: the RESP cases of tests/wire, Python commands, Redis' own programs."""

import json
import re
import resource
import subprocess
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import hrmr
import pytest
from conftest import Compile, Serve, StartServer, place, write_module
from hrmr import paths
from test_wire_cases import CASES, Case, cuts, read_case, unescape
from wire_client import DEADLINE_S, Client, exchange, get

EXAMPLES = Path(__file__).parents[2] / "examples" / "commands"

RESP_CASES = [read_case(path) for path in sorted(CASES.glob("resp/*.case"))]
# The options that set the bounds of a case.
OPTIONS = {"elements": "max_arguments", "bulk": "bulk_max", "command": "command_max"}


def call(*words: str | bytes) -> bytes:
    """The call of a command, as a Redis client sends it."""
    parts = [word.encode() if isinstance(word, str) else word for word in words]
    return b"*%d\r\n" % len(parts) + b"".join(b"$%d\r\n%s\r\n" % (len(p), p) for p in parts)


def read_reply(client: Client) -> Any:
    """One RESP2 or RESP3 reply. An error is an exception in it, a set a list in a tuple."""
    line = client.read_line().removesuffix("\r")
    kind, rest = line[0], line[1:]
    if kind in "+-":
        return rest if kind == "+" else RuntimeError(rest)
    if kind in "$=":
        return None if rest == "-1" else client.read_exactly(int(rest) + 2)[:-2]
    if kind in "*~":
        elements = [read_reply(client) for _ in range(int(rest))]
        return elements if kind == "*" else (elements,)
    if kind == "%":
        return {read_reply(client): read_reply(client) for _ in range(int(rest))}
    return {"_": lambda: None, "#": lambda: rest == "t", ",": lambda: float(rest)}.get(
        kind, lambda: int(rest)
    )()


def run_commands(port: int, *calls: bytes) -> list[Any]:
    with Client(port) as client:
        client.send(b"".join(calls))
        return [read_reply(client) for _ in calls]


# ------------------------------------------------------------------------------ tests/wire/resp


@pytest.fixture(scope="module")
def start_seen() -> Iterator[Callable[..., int]]:
    """The port of a server with such options, whose command SEEN answers with its arguments."""
    servers: dict[str, hrmr.Server] = {}

    def start(**options: Any) -> int:
        key = repr(options)
        if key not in servers:
            servers[key] = hrmr.Server(port=0, **options)
            servers[key].command("SEEN")(list)
            servers[key].start()
        return servers[key].port

    yield start
    for server in servers.values():
        assert server.stop()


@pytest.fixture
def seen_port(start_seen: Callable[..., int]) -> int:
    return start_seen()


@pytest.mark.parametrize("case", RESP_CASES, ids=lambda case: case.name)
def test_resp_case_has_its_outcome_however_it_is_cut(
    start_seen: Callable[..., int], case: Case
) -> None:
    port = start_seen(**{OPTIONS[name]: bound for name, bound in case.limits.items()})
    for parts in cuts(case.sent).values():
        with Client(port) as client:
            client.send_parts(parts)
            if case.expected[-1] == "more":
                client.half_close()
            for expected in case.expected:
                check_outcome(client, expected)
            if case.expected[-1] == "more":
                assert client.read_to_end() == b""


def check_outcome(client: Client, expected: str) -> None:
    if expected.startswith("refused "):
        refusal = expected.removeprefix("refused ").encode() + b"\r\n"
        assert client.read_to_end() == refusal
    elif expected != "more":
        check_seen(read_reply(client), expected)


def check_seen(reply: list[bytes], expected: str) -> None:
    arguments = re.search(r"arguments=(\S*)", expected)
    assert isinstance(reply, list)
    if arguments:
        assert b",".join(reply) == unescape(arguments[1]).partition(b",")[2]


# ------------------------------------------------------------------------------ Python commands

TYPES = {
    "None": (None, None, None),
    "True": (1, True, True),
    "False": (0, False, False),
    "-7": (-7, -7, -7),
    "2**63 - 1": (2**63 - 1, 2**63 - 1, 2**63 - 1),
    "1.5": (b"1.5", 1.5, 1.5),
    "'é'": ("é".encode(), "é".encode(), "é"),
    r"b'\xff\0'": (b"\xff\0", b"\xff\0", {"base64": "/wA="}),
    "bytearray(b'x')": (b"x", b"x", "x"),
    "[1, ('two', []), None]": ([1, [b"two", []], None],) * 2 + ([1, ["two", []], None],),
    "{'k': {1: 2.5}}": ([b"k", [1, b"2.5"]], {b"k": {1: 2.5}}, {"k": {"1": 2.5}}),
    "{3}": ([3], ([3],), [3]),
    "frozenset()": ([], ([],), []),
}


@pytest.mark.parametrize("expression", TYPES)
def test_python_value_is_what_its_client_understands(
    start_server: StartServer, modules: Path, expression: str
) -> None:
    write_module(
        modules,
        "typed",
        f"""
        import hrmr

        @hrmr.command("typed.value")
        def value(arguments):
            return {expression}
        """,
    )
    port = start_server().port
    resp2, resp3, as_json = TYPES[expression]
    assert run_commands(port, call("TYPED.VALUE")) == [resp2]
    assert run_commands(port, call("HELLO", "3"), call("TYPED.VALUE"))[1] == resp3
    response = get(port, "/call/typed.value", "POST", b"[]")
    assert (response.status, response.headers["content-type"]) == (200, "application/json")
    assert json.loads(response.text) == as_json


BAD_VALUES = {
    "object()": "TypeError: a command returns None, bool, int, float, str, bytes, list, tuple, "
    "dict or set, not object (the handler of command 'BAD')",
    "2**63": "ValueError: an int of a command's value has at most 64 bits",
    "{(): 1}": "ValueError: not a value of a command here: a key of a dict is str, bytes, int, "
    "float or bool, and UTF-8 for HTTP",
    "[1, [2, object()]]": "TypeError: a command returns",
    "1 / 0": "ZeroDivisionError: division by zero",
    "'\\ud800'": "UnicodeEncodeError: ",
}


@pytest.mark.parametrize("expression", BAD_VALUES)
def test_what_python_cannot_answer_is_an_error_and_never_torn(
    start_server: StartServer, expression: str
) -> None:
    server = start_server()

    @server.command("BAD")
    def bad(arguments: list[bytes]) -> object:
        return eval(expression)

    error, pong = run_commands(server.port, call("BAD"), call("PING"))
    assert str(error).startswith(f"ERR module 'app' failed: {BAD_VALUES[expression]}")
    assert pong == "PONG"
    response = get(server.port, "/call/BAD", "POST")
    assert response.status == 500
    assert BAD_VALUES[expression] in json.loads(response.text)["error"]["message"]


def test_too_deep_a_value_is_an_error(start_server: StartServer) -> None:
    server = start_server()

    @server.command("DEEP")
    def deep(arguments: list[bytes]) -> object:
        value: list[object] = []
        for _ in range(int(arguments[0]) - 1):
            value = [value]
        return value

    deepest, deeper = run_commands(server.port, call("DEEP", "32"), call("DEEP", "33"))
    assert json.dumps(deepest).count("[") == 32
    assert isinstance(deeper, RuntimeError)


def test_command_error_is_an_error_with_its_code_and_no_log(serve: Serve, modules: Path) -> None:
    write_module(
        modules,
        "users",
        """
        import hrmr

        @hrmr.command("USERS.GET", 1)
        def user(arguments):
            raise hrmr.CommandError(f"no user {arguments[0].decode()}", "NOTFOUND")
        """,
    )
    server = serve()
    assert str(run_commands(server.port, call("USERS.GET", "ada"))[0]) == "NOTFOUND no user ada"
    response = get(server.port, "/call/USERS.GET", "POST", b'["ada"]')
    assert response.status == 500
    assert json.loads(response.text) == {"error": {"code": "NOTFOUND", "message": "no user ada"}}
    assert "no user" not in server.log
    with pytest.raises(ValueError, match="error code"):
        hrmr.CommandError("x", "not a code")


def test_number_of_arguments_is_checked_before_python_is_asked(start_server: StartServer) -> None:
    server = start_server()
    server.command("ONE", 1)(len)
    server.command("SOME", (1, 2))(len)
    server.command("MANY", (1, None))(len)
    answers = run_commands(
        server.port,
        *(call(name, *"abc"[:n]) for name in ("ONE", "SOME", "MANY") for n in range(4)),
    )
    wrong = "ERR wrong number of arguments for '{}' command"
    shown = [answer if isinstance(answer, int) else str(answer) for answer in answers]
    one, some, many = (wrong.format(name) for name in ("one", "some", "many"))
    assert shown == [one, 1, one, one, some, 1, 2, some, many, 1, 2, 3]


BAD_COMMANDS = {
    "@hrmr.command": "needs a name",
    "@hrmr.command('A B')": "a command's name is",
    "@hrmr.command(b'A')": "a command's name is",
    "@hrmr.command('A', -1)": "arguments is a number",
    "@hrmr.command('A', (2, 1))": "arguments is a number",
    "@hrmr.command('A', True)": "arguments is a number",
    "@hrmr.command('ping')": "command 'PING' belongs to HRMR itself",
    "@hrmr.command('reload')": "command 'RELOAD' belongs to HRMR itself",
    "@hrmr.command('b')": "command 'B' is registered twice in this module",
}


@pytest.mark.parametrize("decorator", BAD_COMMANDS)
def test_wrong_registration_refuses_the_module_and_says_why(
    start_server: StartServer, modules: Path, decorator: str
) -> None:
    write_module(
        modules,
        "wrong",
        f"""
        import hrmr

        @hrmr.command("B")
        def first(arguments): pass

        {decorator}
        def second(arguments): pass
        """,
    )
    (outcome,) = start_server().reload("wrong")
    assert BAD_COMMANDS[decorator] in outcome.message


def test_two_modules_cannot_have_the_same_command(start_server: StartServer, modules: Path) -> None:
    for name in ("first", "second"):
        write_module(
            modules,
            name,
            f"""
            import hrmr

            @hrmr.command("{"SAME" if name == "first" else "same"}")
            def same(arguments): return "{name}"
            """,
        )
    server = start_server()
    assert run_commands(server.port, call("SAME")) == [b"first"]
    report = {outcome.name: outcome.message for outcome in server.reload()}
    assert (
        report["second"] == "command 'SAME' of module second is already registered by module first"
        " generation 1"
    )
    (modules / "first.py").unlink()
    server.reload()
    assert run_commands(server.port, call("SAME")) == [b"second"]


def test_route_of_call_belongs_to_the_server(start_server: StartServer) -> None:
    server = start_server()
    with pytest.raises(hrmr.RouteError, match=r"POST /call/NAME calls the command NAME"):
        server.route("POST /call/mine")(lambda _: "")
    server.route("POST /call")(lambda _: "a route")
    assert get(server.port, "/callback", "POST").text == "a route"
    assert get(server.port, "/call/none", "POST").status == 404
    server.route("GET /")(lambda _: "all else")
    for method in ("GET", "PUT"):
        refused = get(server.port, "/call/none", method)
        assert (refused.status, refused.headers["allow"]) == (405, "POST")
        error = json.loads(refused.text)["error"]
        assert error == {"code": "ERR", "message": "a command is called with POST"}


def test_commands_come_and_go_with_their_module(start_server: StartServer, modules: Path) -> None:
    server = start_server()
    for number in range(3):
        write_module(
            modules,
            "counted",
            f"""
            import hrmr

            @hrmr.command("NUMBER")
            def number(arguments): return {number}
            """,
        )
        server.reload()
        assert run_commands(server.port, call("NUMBER")) == [number]
        assert b"number" in run_commands(server.port, call("COMMAND", "LIST"))[0]
    (modules / "counted.py").unlink()
    server.reload()
    assert str(run_commands(server.port, call("NUMBER"))[0]) == (
        "ERR unknown command 'NUMBER', with args beginning with: "
    )


def test_command_of_a_running_program_is_added_and_refused(start_server: StartServer) -> None:
    server = start_server()
    server.command("LATE")(lambda _: "late")
    assert run_commands(server.port, call("LATE")) == [b"late"]
    with pytest.raises(hrmr.RouteError, match="registered already"):
        server.command("late")(lambda _: None)
    with pytest.raises(hrmr.RouteError, match="belongs to HRMR itself"):
        server.command("INFO")(lambda _: None)
    assert run_commands(server.port, call("LATE")) == [b"late"]


# ------------------------------------------------------------------------------ C++ commands


@pytest.fixture
def store_port(start_server: StartServer, build: Compile, modules: Path) -> int:
    place(build("stored"), modules)
    return start_server().port


def test_cpp_commands_keep_a_state(store_port: int) -> None:
    assert run_commands(
        store_port,
        call("KV.SET", "a", "1"),
        call("kv.get", "a"),
        call("KV.GET", "none"),
        call("KV.DUMP"),
        call("KV.SLOW", "x"),
    ) == ["OK", b"1", None, [b"a", b"1"], b"x"]


def test_cpp_exceptions_and_broken_values_are_errors(store_port: int) -> None:
    thrown, torn, pong = run_commands(store_port, call("KV.THROW"), call("KV.TORN"), call("PING"))
    assert str(thrown) == "ERR thrown on purpose"
    assert str(torn) == (
        "ERR module 'stored' failed: a list, map or set has fewer elements than were promised"
    )
    assert pong == "PONG"


def test_cpp_command_answers_later(store_port: int) -> None:
    answers = run_commands(store_port, *(call("KV.LATER", str(n)) for n in range(20)))
    assert answers == [b"%d" % n for n in range(20)]


def test_headers_of_commands_compile_well_below_a_second() -> None:
    """In processor time, which does not depend on what else the machine does."""
    source = "#include <hrmr/command.hpp>\n"
    compiled = ["g++", "-std=c++20", "-fsyntax-only", f"-I{paths.include_dir()}", "-xc++", "-"]
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(compiled, input=source, text=True, check=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime < 0.7


# ------------------------------------------------------------------------------ the examples


def build_example(folder: Path, level: str) -> Path:
    target = folder / "kv.so"
    flags = ["-std=c++20", level, "-fPIC", "-shared", "-fvisibility=hidden", "-fno-gnu-unique"]
    source = EXAMPLES / "kv.cpp"
    subprocess.run(
        ["g++", *flags, f"-I{paths.include_dir()}", str(source), "-o", str(target)], check=True
    )
    return target


def test_example_store_keeps_its_content_over_a_reload(
    start_server: StartServer, modules: Path, tmp_path: Path
) -> None:
    place(build_example(tmp_path, "-O0"), modules)
    server = start_server()
    assert run_commands(
        server.port,
        call("KV.SET", "user:1", "Ada"),
        call("KV.SET", "", b"\r\n\0"),
        call("KV.SET", "gone", "x"),
        call("KV.DEL", "gone", "none"),
    ) == ["OK", "OK", "OK", 1]
    place(build_example(tmp_path, "-O1"), modules)
    (outcome,) = server.reload("kv")
    assert (outcome.change, outcome.generation) == ("reloaded", 2)
    with Client(server.port) as client:
        client.send(call("HELLO", "3") + call("KV.ALL"))
        read_reply(client)
        assert read_reply(client) == {b"": b"\r\n\0", b"user:1": b"Ada"}
    assert get(server.port, "/call/kv.get", "POST", b'["user:1"]').text == '"Ada"\n'


def test_example_users(start_server: StartServer, modules: Path) -> None:
    write_module(modules, "users", (EXAMPLES / "users.py").read_text())
    port = start_server().port
    answers = run_commands(
        port,
        call("USERS.RENAME", "42", "Eve"),
        call("USERS.GET", "42"),
        call("USERS.GET", "x"),
        call("USERS.IDS"),
    )
    expected = [b"name", b"Eve", b"languages", [b"en", b"fr"], b"active", 1]
    assert answers[:2] == [1, expected]
    assert str(answers[2]) == "NOTFOUND no user x"
    assert answers[3] == [42, 43]


# ------------------------------------------------------------------------------ Redis' programs


def redis_cli(port: int, *words: str, sent: str = "") -> str:
    return subprocess.run(
        ["redis-cli", "-p", str(port), *words],
        input=sent,
        text=True,
        capture_output=True,
        timeout=DEADLINE_S,
        check=True,
    ).stdout


def test_redis_cli_calls_commands_and_reads_types(store_port: int) -> None:
    assert redis_cli(store_port, "KV.SET", "a b", "1") == "OK\n"
    assert redis_cli(store_port, "KV.GET", "a b") == "1\n"
    assert redis_cli(store_port, "-3", "--no-raw", "KV.DUMP") == '1# "a b" => "1"\n'
    assert redis_cli(store_port, "NOSUCH", "x") == (
        "ERR unknown command 'NOSUCH', with args beginning with: 'x' \n\n"
    )


def test_redis_cli_is_interactive_and_helps(store_port: int) -> None:
    said = redis_cli(store_port, sent='KV.SET k "a\\tb"\nKV.GET k\nhelp kv.get\nRELOAD\nquit\n')
    assert "OK\na\tb\n" in said
    assert "A command of the module stored" in said
    assert "unchanged stored generation 1" in said


def test_redis_cli_pipe_mode(store_port: int) -> None:
    calls = b"".join(call("KV.SET", f"key {n}", str(n)) for n in range(1000))
    said = redis_cli(store_port, "--pipe", sent=calls.decode())
    assert "errors: 0, replies: 1000\n" in said


def test_redis_cli_stat_reads_info(store_port: int) -> None:
    process = subprocess.Popen(
        ["stdbuf", "-oL", "redis-cli", "-p", str(store_port), "--stat", "-i", "0.05"],
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout is not None
        lines = [next(process.stdout) for _ in range(4)]
    finally:
        process.kill()
        process.wait()
        process.stdout.close()
    assert "keys" in lines[1]
    assert re.fullmatch(r"0\s+\S+M\s+\d+\s+0\s+\d+ \(\+\d+\)\s+\d+\s*\n", lines[2])


def test_redis_benchmark_runs(store_port: int) -> None:
    for words in (["-t", "ping"], ["KV.SET", "key:__rand_int__", "x"]):
        said = subprocess.run(
            ["redis-benchmark", "-p", str(store_port), "-n", "2000", "-P", "8", "--csv", *words],
            capture_output=True,
            text=True,
            timeout=DEADLINE_S,
            check=True,
        )
        assert not said.stderr
        assert re.search(r'^"(PING_MBULK|KV\.SET[^"]*)","\d+', said.stdout, re.MULTILINE)


# ------------------------------------------------------------------------------ the server's own


def test_client_list_shows_the_connections(seen_port: int) -> None:
    with Client(seen_port) as first, Client(seen_port) as second:
        for client, name in ((first, "first"), (second, "second")):
            client.send(call("CLIENT", "SETNAME", name))
            assert read_reply(client) == "OK"
        second.send(call("CLIENT", "LIST"))
        listed = read_reply(second).decode()
        assert {"first", "second"} <= set(re.findall(r" name=(\S*) ", listed))
        ids = [int(found) for found in re.findall(r"^id=(\d+) ", listed, re.MULTILINE)]
        assert len(ids) == len(set(ids)) == listed.count("\n")


def test_client_list_and_info_are_of_all_loops(start_server: StartServer) -> None:
    port = start_server(loops=3).port
    with ExitStack() as stack:
        clients = [stack.enter_context(Client(port)) for _ in range(20)]
        expected = []
        for number, client in enumerate(clients):
            client.send(call("CLIENT", "SETNAME", f"client{number}") + call("CLIENT", "ID"))
            assert read_reply(client) == "OK"
            host, own_port = client.socket.getsockname()
            expected.append((read_reply(client), f"{host}:{own_port}", f"client{number}"))
        for client in clients:
            client.send(call("CLIENT", "LIST") + call("INFO", "clients") + call("PING"))
            lines = read_reply(client).decode().splitlines()
            rows = [dict(field.split("=", 1) for field in line.split(" ")) for line in lines]
            found = [(int(row["id"]), row["addr"], row["name"]) for row in rows]
            assert found == sorted(expected)
            assert b"connected_clients:20\r\n" in read_reply(client)
            assert read_reply(client) == "PONG"


def test_echo_of_a_megabyte_of_binary(seen_port: int) -> None:
    payload = bytes(range(256)) * 4096
    assert run_commands(seen_port, call("ECHO", payload), call("SEEN", payload)) == [
        payload,
        [payload],
    ]


def test_commands_while_the_loop_count_is_more_than_one(start_server: StartServer) -> None:
    server = start_server(loops=3)
    server.command("LEN")(len)
    for count in range(20):
        words = ["x"] * count
        assert run_commands(server.port, call("LEN", *words)) == [count]
    info = run_commands(server.port, call("INFO", "stats"))[0].decode()
    assert int(re.search(r"total_connections_received:(\d+)", info)[1]) == 21
    assert int(re.search(r"total_commands_processed:(\d+)", info)[1]) >= 20


def test_http_bytes_behind_a_call_are_never_http(seen_port: int) -> None:
    answer = exchange(seen_port, call("PING") + b"POST /call/SEEN HTTP/1.1\r\nHost: a\r\n\r\n")
    assert answer.startswith(b"+PONG\r\n-ERR unknown command 'POST'")
    assert b"HTTP/1.1 200" not in answer
