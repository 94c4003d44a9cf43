"""--unix: a Unix socket beside TCP, or instead of it."""

import os
import re
import signal
import socket
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import hrmr
import pytest
from conftest import HrmrProcess, Serve, StartServer, clean_environ, write_module
from wire_client import DEADLINE_S, Client, ask, http_request, is_refused, wait_until


class UnixClient(Client):
    """One connection to a Unix socket; "@name" is an abstract one."""

    def __init__(self, path: str | Path) -> None:
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.settimeout(DEADLINE_S)
        text = str(path)
        self.socket.connect("\0" + text[1:] if text.startswith("@") else text)
        self._received = bytearray()


RunHrmr = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def run_hrmr(tmp_path: Path) -> RunHrmr:
    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "hrmr", *arguments],
            cwd=tmp_path,
            env=clean_environ(),
            capture_output=True,
            text=True,
            timeout=DEADLINE_S,
            check=False,
        )

    return run


@pytest.mark.parametrize("loops", [1, 3])
def test_unix_socket_beside_tcp_serves_the_same(
    serve: Serve, probe: Path, tmp_path: Path, loops: int
) -> None:
    path = tmp_path / "a.sock"
    server: HrmrProcess = serve("--unix", str(path), "--loops", str(loops))
    server.wait_for(rf"listening on http://127\.0\.0\.1:\d+ and unix:{re.escape(str(path))} ")
    assert ask(server.port, "INLINE x") == "inline x"
    clients = [UnixClient(path) for _ in range(30)]
    for client in clients:
        with client:
            assert client.ask("INLINE x") == "inline x"
            assert client.ask("POOL y") == "pool y"
    with UnixClient(path) as client:
        client.send(http_request("/body", "POST", b"b" * 300_000) + http_request("/pool"))
        assert client.read_response().text == "b" * 300_000
        assert client.read_response().text == "pool /pool\n"


def test_file_is_for_its_owner_and_gone_at_the_end(
    serve: Serve, probe: Path, tmp_path: Path
) -> None:
    path = tmp_path / "a.sock"
    server = serve("--unix", str(path))
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    server.signal(signal.SIGTERM)
    assert server.wait() == 0
    assert not path.exists()


def test_mode_can_be_set(serve: Serve, probe: Path, tmp_path: Path) -> None:
    path = tmp_path / "a.sock"
    serve("--unix", str(path), "--unix-mode", "0660")
    assert stat.S_IMODE(path.stat().st_mode) == 0o660


def test_without_tcp_there_is_only_the_unix_socket(
    start_server: StartServer, probe: Path, tmp_path: Path
) -> None:
    path = tmp_path / "a.sock"
    server: hrmr.Server = start_server(unix=path, tcp=False)
    assert server.port == 0
    with UnixClient(path) as client:
        assert client.ask("INLINE x") == "inline x"
    with pytest.raises(hrmr.OptionError, match="nothing to listen on"):
        hrmr.Server(tcp=False)


def test_second_server_is_refused_with_a_sentence(
    start_server: StartServer, probe: Path, tmp_path: Path
) -> None:
    path = tmp_path / "a.sock"
    start_server(unix=path)
    with pytest.raises(hrmr.StartError, match=f"another server listens on {path} already"):
        start_server(unix=path)
    with UnixClient(path) as client:
        assert client.ask("INLINE x") == "inline x"


def test_socket_of_a_killed_server_is_replaced(serve: Serve, probe: Path, tmp_path: Path) -> None:
    path = tmp_path / "a.sock"
    server = serve("--unix", str(path))
    server.kill()
    assert path.is_socket()
    serve("--unix", str(path))
    with UnixClient(path) as client:
        assert client.ask("INLINE x") == "inline x"


def test_other_files_are_left_alone(start_server: StartServer, probe: Path, tmp_path: Path) -> None:
    path = tmp_path / "notes"
    path.write_text("precious")
    with pytest.raises(hrmr.StartError, match="is there and is no socket"):
        start_server(unix=path)
    assert path.read_text() == "precious"


def test_port_that_is_taken_leaves_no_socket_behind(
    start_server: StartServer, probe: Path, tmp_path: Path
) -> None:
    other = start_server()
    with pytest.raises(hrmr.StartError, match="already in use"):
        start_server(port=other.port, unix=tmp_path / "a.sock")
    assert not (tmp_path / "a.sock").exists()


def test_abstract_name_is_served(start_server: StartServer, probe: Path) -> None:
    name = f"@hrmr-test-{os.getpid()}"
    server: hrmr.Server = start_server(unix=name)
    with UnixClient(name) as client:
        assert client.ask("INLINE x") == "inline x"
    server.stop()
    with pytest.raises(ConnectionRefusedError):
        UnixClient(name)


def test_peer_is_named_by_process_and_user(
    start_server: StartServer, modules: Path, tmp_path: Path
) -> None:
    write_module(modules, "who", "import hrmr\nhrmr.route('WHO')(lambda r: r.peer + '\\n')\n")
    start_server(unix=tmp_path / "a.sock")
    with UnixClient(tmp_path / "a.sock") as client:
        assert client.ask("WHO") == f"unix:pid={os.getpid()},uid={os.getuid()}"


def test_curl_and_nc_reach_it(serve: Serve, probe: Path, tmp_path: Path) -> None:
    path = str(tmp_path / "a.sock")
    serve("--unix", path)
    curl = ["curl", "-sS", "--max-time", "30", "--unix-socket", path, "http://localhost/inline"]
    assert subprocess.run(curl, capture_output=True, check=True).stdout == b"inline /inline\n"
    nc = subprocess.run(
        ["nc", "-N", "-U", path], input=b"INLINE x\n", capture_output=True, timeout=30, check=True
    )
    assert nc.stdout == b"inline x\n"


def test_redis_cli_reaches_it(serve: Serve, probe: Path, tmp_path: Path) -> None:
    path = str(tmp_path / "a.sock")
    serve("--unix", path)
    ran = subprocess.run(
        ["redis-cli", "-s", path, "ECHO", "over unix"], capture_output=True, timeout=30, check=True
    )
    assert ran.stdout == b"over unix\n"


def test_hrmr_reload_goes_over_it(
    serve: Serve, probe: Path, modules: Path, tmp_path: Path, run_hrmr: RunHrmr
) -> None:
    path = tmp_path / "a.sock"
    server = serve("--unix", str(path), "--admin-token", "0123456789abcdef")
    write_module(modules, "new", "import hrmr\nhrmr.route('NEW')(lambda r: 'new\\n')\n")
    ran = run_hrmr("reload", "--unix", str(path))
    assert ran.returncode == 0, ran.stderr
    assert "new" in ran.stdout
    assert ask(server.port, "NEW") == "new"
    (tmp_path / "hrmr.toml").write_text(f'[server]\nunix = "{path}"\n')
    assert run_hrmr("reload").returncode == 0
    # A port that is given is what is meant.
    ran = run_hrmr("reload", "--port", str(server.port))
    assert ran.returncode == 1
    assert ran.stdout == ""
    assert ran.stderr.startswith(f"hrmr: 127.0.0.1 port {server.port} needs the admin token: give ")
    ran = run_hrmr("reload", "--unix", str(tmp_path / "none.sock"))
    assert ran.returncode == 1
    assert ran.stderr.startswith(f"hrmr: no server answers at {tmp_path}/none.sock (No such file")


def test_shutdown_over_it_drains_and_frees_the_path_at_once(
    serve: Serve, probe: Path, tmp_path: Path
) -> None:
    path = tmp_path / "a.sock"
    server = serve("--unix", str(path))
    with UnixClient(path) as client:
        assert client.ask("SHUTDOWN") == "OK shutting down"
        assert client.read_to_end() == b""
    assert server.wait() == 0
    assert not path.exists()
    wait_until(lambda: is_refused(server.port), "the port is closed")


def test_peer_on_it_that_does_not_read_is_closed(
    start_server: StartServer, probe: Path, tmp_path: Path
) -> None:
    start_server(unix=tmp_path / "a.sock", write_timeout=0.3)
    with UnixClient(tmp_path / "a.sock") as greedy, UnixClient(tmp_path / "a.sock") as other:
        greedy.send("BIG 50000000\n")
        wait_until(lambda: is_hung_up(greedy.socket), "it is closed")
        assert other.ask("INLINE x") == "inline x"


def is_hung_up(connection: socket.socket) -> bool:
    try:
        connection.send(b"INLINE x\n", socket.MSG_DONTWAIT)
    except BlockingIOError:
        return False
    except OSError:
        return True
    return False
