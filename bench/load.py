"""load: puts one server under load, and tells what it answered and what that cost it."""

import os
import socket
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

from servers import HELLO, HERE, BenchError, Machine

CONNECTIONS = 64
ANSWER_TIMEOUT_S = 5.0
# wrk and line_load end by themselves; this bounds them if they do not.
GRACE_S = 15.0


@dataclass(frozen=True)
class Target:
    """What is asked of which server. `request` is a path over HTTP, elsewhere all its bytes;
    `answer` is what is answered, or the body of that over HTTP."""

    name: str
    port: int
    pid: int
    request: str
    is_http: bool
    depth: int  # requests sent at once on each connection
    answer: str = HELLO


@dataclass(frozen=True)
class Cpu:
    """What a process and all its children used so far."""

    total_us: float
    user_us: float  # in steps of a kernel tick; good for a share, not for a sum
    system_us: float

    def since(self, before: "Cpu") -> "Cpu":
        return Cpu(
            self.total_us - before.total_us,
            self.user_us - before.user_us,
            self.system_us - before.system_us,
        )


@dataclass(frozen=True)
class Sample:
    """One run of the load generator."""

    requests_per_s: float
    cpu_us: float  # per request, user and system
    user_us: float  # per request
    busy: float  # the part of its core that the server used, 0 to 1


def measure(target: Target, machine: Machine, seconds: int) -> Sample:
    """Loads one server for that long."""
    before = read_cpu(target.pid)
    begin = time.monotonic()
    run = _run_wrk if target.is_http else _run_line_load
    requests, load_s = run(target, machine, seconds)
    wall_s = time.monotonic() - begin
    cpu = read_cpu(target.pid).since(before)
    if requests == 0:
        raise BenchError(f"{target.name} answered nothing")
    cpu_us = cpu.total_us / requests
    ticked_us = cpu.user_us + cpu.system_us
    user_share = cpu.user_us / ticked_us if ticked_us else 0.0
    return Sample(requests / load_s, cpu_us, cpu_us * user_share, cpu.total_us / wall_s / 1e6)


def check_answer(target: Target) -> int:
    """Asks once. Returns the bytes of the answer; BenchError when it is not the right one."""
    request = target.request
    due = target.answer.encode()
    if target.is_http:
        request = f"GET {target.request} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"
    answer = b""
    with socket.create_connection(("127.0.0.1", target.port), ANSWER_TIMEOUT_S) as connection:
        connection.sendall(request.encode())
        while not answer.endswith(due):
            piece = connection.recv(4096)
            if not piece:
                break
            answer += piece
    is_good = answer.startswith(b"HTTP/1.1 200 ") if target.is_http else answer == due
    if not is_good or not answer.endswith(due):
        raise BenchError(f"{target.name} answered {request!r} with {answer!r}")
    return len(answer)


def read_cpu(pid: int) -> Cpu:
    """The processor time of a process and of the children that it has."""
    tick_us = 1e6 / os.sysconf("SC_CLK_TCK")
    total_ns = user_ticks = system_ticks = 0
    for process in _process_tree(pid):
        # Fields 14 and 15 of proc(5); the name before them, in parentheses, may hold spaces.
        fields = (process / "stat").read_text().rpartition(")")[2].split()
        user_ticks += int(fields[11])
        system_ticks += int(fields[12])
        # Of each thread, to the nanosecond; those that ended are not in it, but none ends here.
        for task in (process / "task").iterdir():
            total_ns += int((task / "schedstat").read_text().split()[0])
    return Cpu(total_ns / 1e3, user_ticks * tick_us, system_ticks * tick_us)


def _process_tree(pid: int) -> list[Path]:
    process = Path(f"/proc/{pid}")
    tree = [process]
    for task in (process / "task").iterdir():
        for child in (task / "children").read_text().split():
            tree += _process_tree(int(child))
    return tree


def _run_wrk(target: Target, machine: Machine, seconds: int) -> tuple[int, float]:
    url = f"http://127.0.0.1:{target.port}{target.request}"
    flags = f"-t1 -c{CONNECTIONS} -d{seconds}s -s".split()
    command = ["wrk", *flags, str(HERE / "report.lua"), url, "--", str(target.depth)]
    output = _run_pinned(command, target, machine, seconds)
    result = output.partition("RESULT ")[2].split()
    if len(result) != 3:
        raise BenchError(f"wrk on {target.name} printed no result:\n{output}")
    requests, duration_us, errors = (int(number) for number in result)
    if errors:
        raise BenchError(f"wrk on {target.name} counted {errors} errors:\n{output}")
    return requests, duration_us / 1e6


def _run_line_load(target: Target, machine: Machine, seconds: int) -> tuple[int, float]:
    words = [target.port, target.request, target.answer, CONNECTIONS, target.depth, seconds]
    command = [str(machine.folder / "line_load"), *(str(word) for word in words)]
    result = _run_pinned(command, target, machine, seconds).split()
    return int(result[1]), float(result[3])


def _run_pinned(command: list[str], target: Target, machine: Machine, seconds: int) -> str:
    pinned = ["taskset", "-c", str(machine.load_core), *command]
    try:
        done = subprocess.run(
            pinned, capture_output=True, text=True, timeout=seconds + GRACE_S, check=False
        )
    except subprocess.TimeoutExpired as error:
        raise BenchError(f"the load on {target.name} does not end") from error
    if done.returncode != 0:
        raise BenchError(f"the load on {target.name} failed: {done.stderr or done.stdout}".rstrip())
    return done.stdout
