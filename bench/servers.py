"""servers: starts what is measured, each pinned to one core, and finds what that needs."""

import importlib.util
import os
import shutil
import socket
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

HERE = Path(__file__).resolve().parent
HELLO = "hello, world\n"
START_TIMEOUT_S = 20.0
BUILD_TIMEOUT_S = 120.0

_CXX_FLAGS = ["-O2", "-std=c++20", "-pthread", f"-I{HERE.parent / 'cpp_core'}"]
# Where Debian and others put moodycamel's queue, as queue_bench.cpp looks for it.
_MOODYCAMEL = [
    "concurrentqueue/moodycamel/concurrentqueue.h",
    "concurrentqueue/concurrentqueue.h",
    "concurrentqueue.h",
]
# What every nginx here begins with; the parts of `http` follow.
NGINX_HEAD = """
daemon off;
worker_processes 1;
pid nginx.pid;
error_log stderr error;
events { worker_connections 1024; }
http {
  access_log off;
  keepalive_requests 1000000000;
  client_body_temp_path body; proxy_temp_path proxy; fastcgi_temp_path fastcgi;
  uwsgi_temp_path uwsgi; scgi_temp_path scgi;
"""
_NGINX_CONFIG = f"""{NGINX_HEAD}  default_type "text/plain; charset=utf-8";
  server {{
    listen 127.0.0.1:%d;
    location / {{ return 200 "hello, world\\n"; }}
  }}
}}
"""


class BenchError(Exception):
    """Nothing can be measured; the text says why, and what to do."""


@dataclass(frozen=True)
class Machine:
    """The cores to run on, and a folder that is gone at the end."""

    server_core: int
    load_core: int
    folder: Path


@dataclass
class Servers:
    """Those that run, by their keys: "bare http", "bare lines", "bare resp", "nginx", "redis",
    "hrmr"."""

    machine: Machine
    ports: dict[str, int] = field(default_factory=dict)
    processes: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)

    def start(self, key: str) -> None:
        """Starts the server of that key and waits until it accepts. BenchError if it does not."""
        port = _free_port()
        command = ["taskset", "-c", str(self.machine.server_core), *self._command(key, port)]
        log_path = self.machine.folder / f"{key}.log"
        environment = {k: v for k, v in os.environ.items() if not k.startswith("HRMR_")}
        with log_path.open("wb") as log:
            process = subprocess.Popen(
                command, stdout=log, stderr=log, cwd=self.machine.folder, env=environment
            )
        self.ports[key] = port
        self.processes[key] = process
        _wait_until_it_accepts(key, port, process, log_path)

    def stop(self) -> None:
        for process in self.processes.values():
            process.terminate()
        for process in self.processes.values():
            try:
                process.wait(timeout=5)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()

    def _command(self, key: str, port: int) -> list[str]:
        folder = self.machine.folder
        if key.startswith("bare "):
            return [str(folder / "bare_epoll"), str(port), key.removeprefix("bare ")]
        if key == "nginx":
            config = folder / "nginx.conf"
            config.write_text(_NGINX_CONFIG % port)
            return [find_nginx() or "nginx", "-p", str(folder), "-c", str(config)]
        if key == "redis":
            options = f"--port {port} --bind 127.0.0.1 --appendonly no --loglevel warning".split()
            return ["redis-server", *options, "--save", ""]
        options = f"--host 127.0.0.1 --port {port} --no-bundled --log-level warning".split()
        return [sys.executable, "-m", "hrmr", *options, "--modules", str(folder / "modules")]


def check_needs(keys: set[str]) -> None:
    """BenchError when something is missing that measuring the servers of these keys needs."""
    packages = {"g++": "g++", "taskset": "util-linux"}
    if keys & {"bare http", "nginx", "hrmr"}:
        packages["wrk"] = "wrk"
    if "redis" in keys:
        packages["redis-server"] = "redis-server"
    missing = [program for program in packages if shutil.which(program) is None]
    if "nginx" in keys and find_nginx() is None:
        missing.append("nginx")
        packages["nginx"] = "nginx-light"
    if missing:
        names = " ".join(packages[program] for program in missing)
        raise BenchError(
            f"not found: {', '.join(missing)}; on Debian: sudo apt-get install -y {names}"
        )
    if "hrmr" in keys:
        check_hrmr()


def check_hrmr() -> None:
    """BenchError when hrmr is not installed for this Python."""
    if importlib.util.find_spec("hrmr") is None:
        raise BenchError(
            f"hrmr is not installed for {sys.executable}: "
            f"run `{sys.executable} -m pip install {HERE.parent}` first"
        )


def choose_cores() -> tuple[int, int]:
    """A core for the servers and one for the load. BenchError when there is only one."""
    cores = sorted(os.sched_getaffinity(0))
    if len(cores) < 2:
        raise BenchError(
            "this process may use one core only; the servers need one and the load generator "
            "another, or each would be measured with the other's work"
        )
    return cores[0], cores[1]


def has_moodycamel() -> bool:
    """Whether queue_bench can be compiled."""
    folders = [Path("/usr/include"), Path("/usr/local/include")]
    return any((folder / header).exists() for folder in folders for header in _MOODYCAMEL)


def build(folder: Path, programs: list[str], has_modules: bool) -> None:
    """Compiles bench/PROGRAM.cpp to folder/PROGRAM, and the measured modules to folder/modules."""
    commands = [
        ["g++", *_CXX_FLAGS, str(HERE / f"{name}.cpp"), "-o", str(folder / name)]
        for name in programs
    ]
    if has_modules:
        shutil.copytree(HERE / "module_src", folder / "module_src")
        shutil.copytree(HERE / "modules", folder / "modules")
        commands.append([sys.executable, "-m", "hrmr", "build", str(folder)])
    with ThreadPoolExecutor(max_workers=2) as pool:
        for _ in pool.map(run_compiler, commands):
            pass


def run_compiler(command: list[str]) -> None:
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=BUILD_TIMEOUT_S, check=False
    )
    if done.returncode != 0:
        raise BenchError(f"failed: {' '.join(command)}\n{done.stdout}{done.stderr}".rstrip())


def find_nginx() -> str | None:
    """The path of nginx, if it is installed."""
    # Debian puts it where the PATH of ordinary users does not look.
    return shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin:/usr/local/sbin")


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _wait_until_it_accepts(
    key: str, port: int, process: subprocess.Popen[bytes], log_path: Path
) -> None:
    deadline = time.monotonic() + START_TIMEOUT_S
    while time.monotonic() < deadline and process.poll() is None:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except OSError:
            time.sleep(0.02)
        else:
            return
    log = log_path.read_text(errors="replace").strip()
    raise BenchError(f"the server '{key}' does not accept connections:\n{log}")
