"""storm: reloads without end while clients ask, every answer checked; and how soon a file is live.

    python bench/storm.py [--reloads N] [--rounds N] [--quiet SECONDS] [--portion N] [--flags ...]

Prints what happened, latencies with and without reloads, what the server grew by, and the time
from a finished file to its first answer. bench/README.md says what is checked. Exit codes: 0 all
answers were right, 1 one was not, or something is missing or failed.
"""

import argparse
import os
import random
import shlex
import signal
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from run import BUSY_LOAD_AVERAGE
from servers import BenchError, check_hrmr
from storm_files import Editions
from storm_run import Storm, Stretch, begin, check_nothing_is_left, growths
from storm_server import StormServer
from time_to_live import measure_live_times

WARM_UP_S = 3.0
WARM_UP_RELOADS = 100
SAMPLES = 400
GROWTH_PERCENT_MAX = 1.0
SLOWDOWN_MAX = 3.0
AIM_MS = 5.0


@dataclass(frozen=True)
class Round:
    """The same load without and with reloads, one after the other."""

    quiet: Stretch
    storm: Stretch
    reloads_per_s: float


def main(arguments: Sequence[str] | None = None) -> int:
    options = _parse(arguments)
    # Ended by whom it may be, it ends its server and its clients too.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        run(options)
    except BenchError as error:
        print(f"storm: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    return 0


def run(options: argparse.Namespace) -> None:
    check_hrmr()
    with tempfile.TemporaryDirectory(prefix="hrmr-storm-") as name:
        folder = Path(name)
        editions = Editions(folder / "editions")
        editions.build()
        _print_frame(options)
        if options.reloads:
            _run_storm(options, editions, folder / "storm")
        if options.live:
            _print_live_times(editions, folder / "live", options.live)


def _run_storm(options: argparse.Namespace, editions: Editions, folder: Path) -> None:
    files = begin(editions, folder / "modules")
    flags = shlex.split(options.flags)
    with StormServer(folder / "modules", folder / "server.log", flags) as server:
        before = server.figures()
        with Storm(server, files, editions.load_program, options.portion, options.seed) as storm:
            storm.ask_only(WARM_UP_S)
            storm.reload(WARM_UP_RELOADS)
            storm.stretch()
            rounds = [_run_round(options, storm) for _ in range(options.rounds)]
            requests = storm.end()
        check_nothing_is_left(server, before, files.states)
        server.stop()
    _print_counts(storm, requests)
    _print_latencies(rounds)
    _print_growths(storm)


def _run_round(options: argparse.Namespace, storm: Storm) -> Round:
    storm.ask_only(options.quiet)
    quiet = storm.stretch()
    times = max(1, options.reloads // options.rounds)
    sample_every = max(1, options.reloads // SAMPLES)
    storm.reload(times, sample_every)
    stretch = storm.stretch()
    return Round(quiet, stretch, times / stretch.seconds)


def _print_counts(storm: Storm, requests: int) -> None:
    kinds = ", ".join(f"{count} {kind}" for kind, count in sorted(storm.changes.items()))
    print(f"\n{storm.reloads} reloads; files: {kinds}")
    print(f"{requests:,} answers, each byte compared: none wrong, lost, twice or too old")


def _print_latencies(rounds: list[Round]) -> None:
    print(
        f"\nLatency of inline requests sent alone, us; medians of {len(rounds)} rounds\n"
        f"{'':18}{'p50':>9}{'p99':>9}{'p99.9':>9}{'max':>9}{'requests/s':>13}{'reloads/s':>11}"
    )
    for name in ("quiet", "storm"):
        stretches = [getattr(each, name) for each in rounds]
        reloads = [each.reloads_per_s if name == "storm" else 0.0 for each in rounds]
        cells = "".join(
            f"{statistics.median(getattr(stretch, field) for stretch in stretches):>9,.0f}"
            for field in ("p50_us", "p99_us", "p999_us", "max_us")
        )
        rate = statistics.median(stretch.requests_per_s for stretch in stretches)
        print(f"{name:18}{cells}{rate:>13,.0f}{statistics.median(reloads):>11,.0f}")
    print(f"{'storm / quiet':18}", end="")
    for field in ("p50_us", "p99_us", "p999_us", "max_us"):
        print(f"{_ratio(rounds, field):>9.2f}", end="")
    slowdown = _ratio(rounds, "p999_us")
    print(f"\np99.9: {slowdown:.2f} times; {_verdict(slowdown <= SLOWDOWN_MAX)} {SLOWDOWN_MAX:.0f}")


def _ratio(rounds: list[Round], field: str) -> float:
    # Within each round, for a slow second of the machine is in both.
    return statistics.median(
        getattr(each.storm, field) / getattr(each.quiet, field) for each in rounds
    )


def _print_growths(storm: Storm) -> None:
    print(
        f"\nWhat the server holds: medians of the second and of the last quarter of "
        f"{len(storm.samples)} samples\n{'':18}{'second':>11}{'last':>11}{'growth':>9}"
    )
    for growth in growths(storm.samples):
        verdict = _verdict(growth.percent < GROWTH_PERCENT_MAX)
        print(
            f"{growth.name:18}{growth.early:>11,.0f}{growth.late:>11,.0f}{growth.percent:>8.2f}%"
            f"  {verdict} {GROWTH_PERCENT_MAX:.0f} %"
        )


def _print_live_times(editions: Editions, folder: Path, times: int) -> None:
    print(
        f"\nFrom a finished file to its first answer, ms; {times} reloads each, no other load\n"
        f"{'':18}{'median':>9}{'worst':>9}{'its rename':>12}{'RELOAD answered':>18}{'worst':>9}"
    )
    for live in measure_live_times(editions, folder, times):
        note = f"  {_verdict(live.median_ms < AIM_MS)} {AIM_MS:.0f}" if "http" in live.name else ""
        print(
            f"{live.name:18}{live.median_ms:>9.2f}{live.worst_ms:>9.2f}"
            f"{live.renamed_ms:>12.2f}"
            f"{live.answered_ms:>18.2f}{live.answered_worst_ms:>9.2f}{note}",
            flush=True,
        )


def _verdict(is_met: bool) -> str:
    return "within" if is_met else "NOT within"


def _print_frame(options: argparse.Namespace) -> None:
    print(
        f"{time.strftime('%Y-%m-%d %H:%M')}; {len(os.sched_getaffinity(0))} cores shared by server "
        f"and clients; {8 * options.portion} connections on loopback; seed {options.seed}",
        flush=True,
    )
    load_average = os.getloadavg()[0]
    if load_average > BUSY_LOAD_AVERAGE:
        print(f"note: the load average is {load_average:.1f}: other work here disturbs the times")


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    add = parser.add_argument
    add("--reloads", type=_count, default=10_000, metavar="N", help="[default: 10000]; 0: no storm")
    add("--rounds", type=_count, default=10, metavar="N", help="quiet, then storm [default: 10]")
    add("--quiet", type=float, default=5.0, metavar="SECONDS", help="of a round [default: 5]")
    add("--portion", type=_count, default=4, metavar="N", help="x 8 connections [default: 4]")
    add("--live", type=_count, default=300, metavar="N", help="reloads timed alone [default: 300]")
    add("--seed", type=int, default=random.randrange(1 << 32), help="of the changes [default: any]")
    add("--flags", default="", help='more for hrmr, such as "--loops 2"')
    options = parser.parse_args(arguments)
    if options.rounds < 1 or options.portion < 1:
        parser.error("--rounds and --portion are at least 1")
    return options


def _count(text: str) -> int:
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number")
    return int(text)


if __name__ == "__main__":
    sys.exit(main())
