"""run: HRMR beside nginx, Redis and a bare epoll server, in one run on this machine.

    python bench/run.py [--seconds N] [--rounds N] [--only SECTION ...]

Prints requests per second and the server's processor time per request. bench/README.md says how it
is measured and what the numbers mean. Exit codes: 0 done, 1 something is missing or failed.
"""

import argparse
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from load import CONNECTIONS, Sample, Target, check_answer, measure
from servers import (
    HELLO,
    BenchError,
    Machine,
    Servers,
    build,
    check_needs,
    choose_cores,
    has_moodycamel,
)

PIPELINE_DEPTH = 16
QUEUE_TIMEOUT_S = 30.0  # it takes 10 on an idle machine
BUSY_LOAD_AVERAGE = 0.7


@dataclass(frozen=True)
class Contestant:
    """A row of a table: a name, the server that answers, and what it is asked."""

    name: str
    server: str
    request: str


@dataclass(frozen=True)
class Section:
    """A table; its first contestant is what the others are compared with."""

    title: str
    is_http: bool
    depth: int
    contestants: tuple[Contestant, ...]
    answer: str = HELLO


_HTTP = (
    Contestant("bare epoll", "bare http", "/"),
    Contestant("HRMR, C++ inline", "hrmr", "/inline"),
    Contestant("nginx", "nginx", "/"),
    Contestant("HRMR, C++ pool", "hrmr", "/pool"),
    Contestant("HRMR, Python", "hrmr", "/python"),
)
_LINES = (
    Contestant("bare epoll", "bare lines", "HELLO\n"),
    Contestant("HRMR, C++ inline", "hrmr", "INLINE\n"),
    Contestant("HRMR, C++ pool", "hrmr", "POOL\n"),
    Contestant("HRMR, Python", "hrmr", "PYTHON\n"),
)


def _array(word: str) -> str:
    return f"*1\r\n${len(word)}\r\n{word}\r\n"


_COMMANDS = (
    Contestant("bare epoll", "bare resp", _array("PING")),
    Contestant("HRMR, PING", "hrmr", _array("PING")),
    Contestant("HRMR, C++ inline", "hrmr", _array("INLINE.PING")),
    Contestant("redis-server", "redis", _array("PING")),
    Contestant("HRMR, C++ pool", "hrmr", _array("POOL.PING")),
)
_PONG = "+PONG\r\n"
SECTIONS = {
    "http": Section("HTTP, keep-alive, one request at a time", True, 1, _HTTP),
    "pipelined": Section(f"HTTP, {PIPELINE_DEPTH} requests at a time", True, PIPELINE_DEPTH, _HTTP),
    "lines": Section("lines, one at a time", False, 1, _LINES),
    "resp": Section("Redis' protocol, one command at a time", False, 1, _COMMANDS, _PONG),
    "resp-pipelined": Section(
        f"Redis' protocol, {PIPELINE_DEPTH} commands at a time",
        False,
        PIPELINE_DEPTH,
        _COMMANDS,
        _PONG,
    ),
}
QUEUE = "queue"


def main(arguments: Sequence[str] | None = None) -> int:
    options = _parse(arguments)
    # Ended by whom it may be, it ends its servers too.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        run(options.only, options.rounds, options.seconds)
    except BenchError as error:
        print(f"bench: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    return 0


def run(names: Sequence[str], rounds: int, seconds: int) -> None:
    """Runs the sections of these names."""
    sections = [SECTIONS[name] for name in SECTIONS if name in names]
    keys = {contestant.server for section in sections for contestant in section.contestants}
    has_queue = QUEUE in names and has_moodycamel()
    check_needs(keys)
    server_core, load_core = choose_cores()
    with tempfile.TemporaryDirectory(prefix="hrmr-bench-") as folder:
        # nginx's worker runs as another user and has folders in here.
        Path(folder).chmod(0o755)
        machine = Machine(server_core, load_core, Path(folder))
        programs = ["bare_epoll", "line_load"] if sections else []
        build(machine.folder, programs + ["queue_bench"] * has_queue, "hrmr" in keys)
        servers = Servers(machine)
        try:
            for key in sorted(keys):
                servers.start(key)
            _print_frame(machine, rounds, seconds)
            for section in sections:
                _run_section(section, servers, rounds, seconds)
        finally:
            servers.stop()
        if has_queue:
            _run_queue_bench(machine.folder)
    if QUEUE in names and not has_queue:
        print("\nqueue: skipped; it needs: sudo apt-get install libconcurrentqueue-dev")


def _run_section(section: Section, servers: Servers, rounds: int, seconds: int) -> None:
    targets = [_target(contestant, section, servers) for contestant in section.contestants]
    answer_bytes = [check_answer(target) for target in targets]
    samples: list[list[Sample]] = [[] for _ in targets]
    for _ in range(rounds):
        # In turn, so that what else the machine does meanwhile hits all of them.
        for target, taken in zip(targets, samples, strict=True):
            taken.append(measure(target, servers.machine, seconds))
    print(f"\n{section.title}")
    print(
        f"{'':18}{'requests/s':>12}{'x bare':>8}{'CPU us/request':>16}{'x bare':>8}"
        f"{'user us':>9}{'core busy':>11}{'answer bytes':>14}"
    )
    for target, taken, size in zip(targets, samples, answer_bytes, strict=True):
        print(_row(target.name, taken, samples[0], size), flush=True)


def _target(contestant: Contestant, section: Section, servers: Servers) -> Target:
    return Target(
        contestant.name,
        servers.ports[contestant.server],
        servers.processes[contestant.server].pid,
        contestant.request,
        section.is_http,
        section.depth,
        section.answer,
    )


def _row(name: str, taken: list[Sample], bare: list[Sample], answer_bytes: int) -> str:
    pairs = list(zip(taken, bare, strict=True))
    rate = statistics.median(sample.requests_per_s for sample in taken)
    cpu_us = statistics.median(sample.cpu_us for sample in taken)
    # A mean: the kernel tells the share of user time in ticks, too coarse for one run.
    user_us = statistics.fmean(sample.user_us for sample in taken)
    busy = statistics.median(sample.busy for sample in taken)
    # Within each round, for a slow second of the machine is in both.
    rate_ratio = statistics.median(ours.requests_per_s / its.requests_per_s for ours, its in pairs)
    cpu_ratio = statistics.median(ours.cpu_us / its.cpu_us for ours, its in pairs)
    return (
        f"{name:18}{rate:>12,.0f}{rate_ratio:>8.2f}{cpu_us:>16.2f}{cpu_ratio:>8.2f}"
        f"{user_us:>9.2f}{busy:>11.0%}{answer_bytes:>14}"
    )


def _run_queue_bench(folder: Path) -> None:
    print("\nqueue", flush=True)
    try:
        done = subprocess.run([str(folder / "queue_bench")], timeout=QUEUE_TIMEOUT_S, check=False)
    except subprocess.TimeoutExpired:
        print(f"stopped after {QUEUE_TIMEOUT_S:.0f} s; run it alone, on an idle machine")
        return
    if done.returncode != 0:
        raise BenchError(f"queue_bench failed with code {done.returncode}")


def _print_frame(machine: Machine, rounds: int, seconds: int) -> None:
    print(
        f"{time.strftime('%Y-%m-%d %H:%M')}; servers on core {machine.server_core}, load on core "
        f"{machine.load_core}; {CONNECTIONS} connections on loopback; {rounds} rounds of {seconds} "
        "s each, interleaved; medians",
        flush=True,
    )
    load_average = os.getloadavg()[0]
    if load_average > BUSY_LOAD_AVERAGE:
        print(f"note: the load average is {load_average:.1f}: other work here lowers the rates")


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument(
        "--seconds", type=_positive, default=1, metavar="N", help="of each run [default: 1]"
    )
    parser.add_argument(
        "--rounds", type=_positive, default=4, metavar="N", help="runs of each [default: 4]"
    )
    names = [*SECTIONS, QUEUE]
    parser.add_argument(
        "--only",
        nargs="+",
        choices=names,
        default=names,
        metavar="SECTION",
        help=f"of {', '.join(names)} [default: all]",
    )
    return parser.parse_args(arguments)


def _positive(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from 1 on")
    return int(text)


if __name__ == "__main__":
    sys.exit(main())
