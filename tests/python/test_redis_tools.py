"""redis-cli and redis-benchmark, as Debian has them, in every mode that people use. Each test runs
against a real redis-server too."""

import fcntl
import os
import pty
import re
import select
import signal
import struct
import subprocess
import termios
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from conftest import Compile, HrmrProcess, Serve, place
from redis_process import Peer, hrmr_server, peer_named, redis_server
from wire_client import DEADLINE_S


@pytest.fixture(scope="module", params=["redis-server", "hrmr"])
def peer(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, build: Compile
) -> Iterator[Peer]:
    with peer_named(request.param, tmp_path_factory.mktemp("peer"), build) as started:
        yield started


def run(command: list[str], sent: bytes = b"") -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        command,
        input=sent,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        timeout=DEADLINE_S,
        check=False,
    )


def cli(peer: Peer, *words: str, sent: bytes = b"") -> str:
    """What redis-cli says, which must end well."""
    ended = run(["redis-cli", "-p", str(peer.port), *words], sent)
    assert ended.returncode == 0, ended.stdout
    return ended.stdout.decode()


# ------------------------------------------------------------------------------ one command

# What redis-cli prints of a value at a terminal: in RESP2, and in RESP3 where that differs.
PRINTED = {
    "null": ("(nil)\n",),
    "true": ("(integer) 1\n", "(true)\n"),
    "false": ("(integer) 0\n", "(false)\n"),
    "integer": ("(integer) 12345\n",),
    "double": ('"3.141"\n', "(double) 3.141\n"),
    "string": ('"Hello World"\n',),
    "bytes": ('"\\x00\\xff\\r\\n"\n',),
    "list": ('1) (integer) 1\n2) "a"\n3) 1) "b"\n',),
    "map": (
        "".join(f"{at}) (integer) {n}\n" for at, n in enumerate((0, 0, 1, 1, 2, 0), 1)),
        "1# (integer) 0 => (false)\n2# (integer) 1 => (true)\n3# (integer) 2 => (false)\n",
    ),
    "set": (
        "1) (integer) 0\n2) (integer) 1\n3) (integer) 2\n",
        "1~ (integer) 0\n2~ (integer) 1\n3~ (integer) 2\n",
    ),
    "verbatim": ('"This is a verbatim\\nstring"\n', "This is a verbatim\nstring\n"),
    "error": ("(error) SHOP closed for today\n",),
}


@pytest.mark.parametrize("kind", PRINTED)
def test_cli_prints_the_value_in_both_protocols(peer: Peer, kind: str) -> None:
    in_resp2, in_resp3 = PRINTED[kind][0], PRINTED[kind][-1]
    words = ["--no-raw", *peer.words(kind)]
    assert cli(peer, *words) == in_resp2
    assert cli(peer, "-3", *words) == in_resp3
    assert cli(peer, "-2", *words) == in_resp2


def test_cli_takes_its_last_argument_from_a_file(peer: Peer) -> None:
    sent = bytes(range(256)) * 4096
    ended = run(["redis-cli", "-p", str(peer.port), "-x", "ECHO"], sent)
    assert ended.stdout == sent + b"\n"


def test_cli_repeats_a_command(peer: Peer) -> None:
    assert cli(peer, "-r", "100", *peer.words("integer")) == "12345\n" * 100


def test_cli_reads_commands_from_a_script(peer: Peer) -> None:
    lines = b'PING\nECHO "two words"\nNO.SUCH "a b" c\nPING again\n'
    unknown = "ERR unknown command 'NO.SUCH', with args beginning with: 'a b' 'c' \n\n"
    assert cli(peer, sent=lines) == f"PONG\ntwo words\n{unknown}again\n"


def test_cli_ends_with_an_error_if_asked_to(peer: Peer) -> None:
    ended = run(["redis-cli", "-p", str(peer.port), "-e", *peer.words("error")])
    assert ended.returncode == 1
    assert ended.stdout == b"SHOP closed for today\n"
    assert run(["redis-cli", "-p", str(peer.port), "-e", "PING"]).returncode == 0


def test_cli_connects_by_a_url(peer: Peer) -> None:
    assert cli(peer, "-u", f"redis://127.0.0.1:{peer.port}", "PING") == "PONG\n"


# ------------------------------------------------------------------------------ a secret

SECRET = "a-secret-of-some-length"
WRONG = "AUTH failed: WRONGPASS invalid username-password pair or user is disabled.\n"


@pytest.fixture(scope="module", params=["redis-server", "hrmr"])
def guarded(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[str]:
    """The port of a server that has a secret."""
    folder = tmp_path_factory.mktemp("guarded")
    if request.param == "redis-server":
        running = redis_server(folder, "--requirepass", SECRET)
    else:
        running = hrmr_server(folder, "--admin-token", SECRET)
    with running as port:
        yield str(port)


@pytest.mark.parametrize("protocol", ["-2", "-3"])
def test_cli_shows_a_secret(guarded: str, protocol: str) -> None:
    quiet = ["redis-cli", "-p", guarded, protocol, "--no-auth-warning"]
    assert run([*quiet, "-a", SECRET, "PING"]).stdout == b"PONG\n"
    assert run([*quiet, "--user", "default", "--pass", SECRET, "PING"]).stdout == b"PONG\n"
    assert run([*quiet, "-a", "no-secret", "PING"]).stdout.startswith(WRONG.encode())
    assert run([*quiet, "--user", "ada", "--pass", SECRET, "PING"]).stdout.startswith(
        WRONG.encode()
    )


# ------------------------------------------------------------------------------ HRMR's own words


def hrmr_cli(server: HrmrProcess, *words: str) -> str:
    ended = run(["redis-cli", "-p", str(server.port), *words])
    assert ended.returncode == 0, ended.stdout
    return ended.stdout.decode()


def test_cli_reloads_and_lists_modules_and_shuts_down(
    start_hrmr: Serve, build: Compile, modules: Path
) -> None:
    server = start_hrmr("--no-bundled", "--modules", str(modules))
    assert hrmr_cli(server, "MODULE", "LIST") == "\n"
    place(build("values"), modules)
    assert "values" in hrmr_cli(server, "RELOAD")
    assert hrmr_cli(server, "VALUE", "integer") == "12345\n"
    assert hrmr_cli(server, "MODULE", "LIST").splitlines()[:2] == ["name", "values"]
    (modules / "broken.py").write_text("1 / 0\n")
    ended = run(["redis-cli", "-p", str(server.port), "-e", "RELOAD"])
    assert (ended.returncode, b"broken" in ended.stdout) == (1, True)
    assert hrmr_cli(server, "CLOSE") == "OK\n"
    assert run(["redis-cli", "-p", str(server.port), "SHUTDOWN"]).returncode == 0
    assert server.wait() == 0


# ------------------------------------------------------------------------------ pipe mode


def resp_command(*words: bytes) -> bytes:
    bulks = b"".join(b"$%d\r\n%b\r\n" % (len(word), word) for word in words)
    return b"*%d\r\n%b" % (len(words), bulks)


def test_cli_pipe_mode_counts_every_reply(peer: Peer) -> None:
    values = [word.encode() for word in peer.words("map")]
    sent = b"".join(
        resp_command(b"ECHO", b"%d\r\n+OK\r\n\x00" % number) + resp_command(*values)
        for number in range(5000)
    )
    assert "errors: 0, replies: 10000\n" in cli(peer, "--pipe", sent=sent)


def test_cli_pipe_mode_counts_errors(peer: Peer) -> None:
    sent = b"PING\r\nNO.SUCH\r\n" * 10
    ended = run(["redis-cli", "-p", str(peer.port), "--pipe"], sent)
    assert ended.returncode == 1
    assert b"errors: 10, replies: 20\n" in ended.stdout


# ------------------------------------------------------------------------------ at a terminal


class Terminal:
    """redis-cli at a terminal of its own."""

    def __init__(self, port: int, folder: Path, *flags: str) -> None:
        self._fd, theirs = pty.openpty()
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 200, 0, 0))
        self.process = subprocess.Popen(
            ["redis-cli", "-p", str(port), *flags],
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            start_new_session=True,
            env=os.environ | {"TERM": "xterm", "HOME": str(folder)},  # it keeps a history there
        )
        os.close(theirs)
        self._seen = ""

    def read_until(self, pattern: str) -> str:
        """What it shows up to the end of what matches, without control sequences."""
        deadline = time.monotonic() + DEADLINE_S
        while True:
            shown = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", self._seen)
            if found := re.search(pattern, shown):
                self._seen = shown[found.end() :]
                return shown[: found.end()]
            left_s = deadline - time.monotonic()
            assert left_s > 0, f"waited in vain for {pattern!r} in {self._seen!r}"
            if select.select([self._fd], [], [], left_s)[0]:
                self._seen += os.read(self._fd, 1 << 16).decode(errors="replace")

    def type(self, line: str) -> None:
        os.write(self._fd, line.encode() + b"\r")

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait(DEADLINE_S)
        os.close(self._fd)


@pytest.fixture
def terminal(peer: Peer, tmp_path: Path) -> Iterator[Terminal]:
    started = Terminal(peer.port, tmp_path)
    yield started
    started.close()


def test_cli_talks_at_a_terminal(peer: Peer, terminal: Terminal) -> None:
    prompt = rf"127\.0\.0\.1:{peer.port}> "
    integer = " ".join(f'"{word}"' for word in peer.words("integer"))
    terminal.read_until(prompt)
    terminal.type("ping")
    terminal.read_until(rf"\nPONG\r\n{prompt}")
    terminal.type(integer)
    terminal.read_until(rf"\n\(integer\) 12345\r\n{prompt}")
    terminal.type("NO.SUCH one")
    unknown = r"ERR unknown command 'NO\.SUCH', with args beginning with: 'one' "
    terminal.read_until(rf"\n\(error\) {unknown}\r\n{prompt}")
    terminal.type('echo "\\x00 and \\xff"')
    terminal.read_until(rf'\n"\\x00 and \\xff"\r\n{prompt}')
    terminal.type("hello 3")
    terminal.read_until(rf'"proto" => \(integer\) 3\r\n(.*\n)*{prompt}')
    terminal.type("select 0")
    terminal.read_until(rf"\nOK\r\n{prompt}")
    terminal.type("quit")
    assert terminal.process.wait(DEADLINE_S) == 0


def test_cli_completes_the_line_by_what_it_knows_of_the_commands(
    peer: Peer, terminal: Terminal
) -> None:
    """It asks with COMMAND DOCS as it starts."""
    prompt = rf"127\.0\.0\.1:{peer.port}> "
    terminal.read_until(prompt)
    terminal.type("help ping")
    terminal.read_until(rf"(?i)\n *ping(.*\n)*{prompt}")
    terminal.type("ping")
    terminal.read_until(r"\nPONG\r\n")


def test_cli_shows_statistics_until_it_is_stopped(peer: Peer, tmp_path: Path) -> None:
    command = ["redis-cli", "-p", str(peer.port), "-i", "0.02", "--stat"]
    shown = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    rows = []
    try:
        assert shown.stdout is not None
        for line in shown.stdout:
            if columns := re.match(r"(\d+) +(\S+) +(\d+) +(\d+) +(\d+) \(\+(\d+)\) +(\d+)", line):
                rows.append(columns.groups())
            else:
                assert "---" in line or line.startswith("keys "), line
            if len(rows) == 5:
                break
        assert len(rows) == 5
        shown.send_signal(signal.SIGINT)
        assert shown.wait(DEADLINE_S) in (0, -signal.SIGINT)
    finally:
        shown.kill()
        shown.wait(DEADLINE_S)
        shown.stdout.close()
    for _keys, memory, clients, _blocked, _requests, more, connections in rows[1:]:
        assert re.fullmatch(r"\d+(\.\d+)?[BKMG]", memory)
        assert int(clients) >= 1
        assert int(more) >= 1  # its own INFO
        assert int(connections) >= 1


# ------------------------------------------------------------------------------ the benchmark


@pytest.mark.parametrize("protocol", [(), ("-3",)], ids=["RESP2", "RESP3"])
def test_benchmark_runs(peer: Peer, protocol: tuple[str, ...]) -> None:
    command = ["redis-benchmark", "-p", str(peer.port), "-q", *protocol]
    pings = run([*command, "-n", "5000", "-P", "16", "-t", "ping_inline,ping_mbulk"])
    assert pings.returncode == 0, pings.stdout
    finished = re.findall(rb"(\w+): ([\d.]+) requests per second", pings.stdout)
    assert [name for name, _ in finished] == [b"PING_INLINE", b"PING_MBULK"]
    assert all(float(speed) > 0 for _, speed in finished)

    calls = run([*command, "-n", "2000", "-P", "16", "-c", "20", *peer.words("map")])
    assert calls.returncode == 0, calls.stdout
    assert b" requests per second" in calls.stdout


def test_benchmark_ends_at_an_error(peer: Peer) -> None:
    """So that the test above would see one."""
    ended = run(["redis-benchmark", "-p", str(peer.port), "-q", "-n", "10", *peer.words("error")])
    assert ended.returncode == 1
    assert b"Error from server: SHOP closed for today" in ended.stdout
