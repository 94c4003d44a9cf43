"""static: HRMR's module http beside nginx with open_file_cache, in one run on this machine.

    python bench/static.py [--seconds N] [--rounds N]

Files of 1 KB, 100 KB and 10 MB; each server alone on one core, wrk on the other. Prints requests
and bytes per second, and the server's processor time per request. Exit codes: 0 done, 1 something
is missing or failed.
"""

import argparse
import http.client
import os
import signal
import statistics
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from load import CONNECTIONS, Sample, Target, measure
from servers import (
    NGINX_HEAD,
    BenchError,
    Machine,
    Servers,
    check_needs,
    choose_cores,
    find_nginx,
)

ANSWER_TIMEOUT_S = 10.0
SIZES = {"1 KB": 1_000, "100 KB": 100_000, "10 MB": 10_000_000}
# HRMR also with a cache that looks at the disk at most each second, which is what nginx does below.
KEYS = {"nginx": "nginx", "hrmr": "HRMR", "hrmr relaxed": "HRMR, check_ms = 1000"}

_NGINX_CONFIG = f"""{NGINX_HEAD}  types {{ text/plain txt; }}
  sendfile on;
  tcp_nopush on;
  open_file_cache max=1000 inactive=60s;
  open_file_cache_valid 1s;
  server {{
    listen 127.0.0.1:%d;
    root %s;
  }}
}}
"""


@dataclass
class StaticServers(Servers):
    """Both on the folder `site`."""

    def _command(self, key: str, port: int) -> list[str]:
        folder = self.machine.folder
        site = folder / "site"
        if key == "nginx":
            config = folder / "nginx.conf"
            config.write_text(_NGINX_CONFIG % (port, site))
            return [find_nginx() or "nginx", "-p", str(folder), "-c", str(config)]
        settings = folder / f"{key}.toml"
        check_ms = 1000 if key.endswith("relaxed") else 0
        settings.write_text(f"[modules.http]\ncheck_ms = {check_ms}\n")
        options = f"--host 127.0.0.1 --port {port} --log-level warning --config".split()
        return [sys.executable, "-m", "hrmr", *options, str(settings), "--static", str(site)]


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--seconds", type=int, default=2, help="of each run [default: 2]")
    parser.add_argument("--rounds", type=int, default=3, help="runs of each [default: 3]")
    options = parser.parse_args(arguments)
    # Ended by whom it may be, it ends its servers too.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        run(options.rounds, options.seconds)
    except BenchError as error:
        print(f"bench: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    return 0


def run(rounds: int, seconds: int) -> None:
    """Starts the servers, and prints a table for each size."""
    check_needs(set(KEYS))
    server_core, load_core = choose_cores()
    with tempfile.TemporaryDirectory(prefix="hrmr-static-") as name:
        folder = Path(name)
        # nginx's worker runs as another user and has folders in here.
        folder.chmod(0o755)
        (folder / "site").mkdir(mode=0o755)
        for size in SIZES.values():
            (folder / "site" / f"{size}.txt").write_bytes(os.urandom(size))
        servers = StaticServers(Machine(server_core, load_core, folder))
        try:
            for key in KEYS:
                servers.start(key)
            average = os.getloadavg()[0]
            print(f"{CONNECTIONS} connections, {rounds} rounds of {seconds} s; load {average:.1f}")
            for title, size in SIZES.items():
                _run_size(title, size, servers, (rounds, seconds))
        finally:
            servers.stop()


def _run_size(title: str, size: int, servers: StaticServers, length: tuple[int, int]) -> None:
    rounds, seconds = length
    targets = [
        Target(name, servers.ports[key], servers.processes[key].pid, f"/{size}.txt", True, 1)
        for key, name in KEYS.items()
    ]
    content = (servers.machine.folder / "site" / f"{size}.txt").read_bytes()
    for target in targets:
        _check_content(target, content)
    samples: list[list[Sample]] = [[] for _ in targets]
    for _ in range(rounds):
        # In turn, so that what else the machine does meanwhile hits all of them.
        for target, taken in zip(targets, samples, strict=True):
            taken.append(measure(target, servers.machine, seconds))
    heads = f"{'requests/s':>12}{'MB/s':>9}{'CPU us/request':>16}{'x nginx':>9}{'core busy':>11}"
    print(f"\n{title}\n{'':24}{heads}")
    for target, taken in zip(targets, samples, strict=True):
        per_s = statistics.median(sample.requests_per_s for sample in taken)
        cpu_us = statistics.median(sample.cpu_us for sample in taken)
        busy = statistics.median(sample.busy for sample in taken)
        ratios = [ours.cpu_us / its.cpu_us for ours, its in zip(taken, samples[0], strict=True)]
        ratio = statistics.median(ratios)
        print(
            f"{target.name:24}{per_s:12,.0f}{per_s * size / 1e6:9,.0f}{cpu_us:16.2f}{ratio:9.2f}"
            f"{busy:10.0%}",
            flush=True,
        )


def _check_content(target: Target, content: bytes) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", target.port, timeout=ANSWER_TIMEOUT_S)
    connection.request("GET", target.request)
    answer = connection.getresponse()
    if answer.status != 200 or answer.read() != content:
        raise BenchError(f"{target.name} does not answer {target.request} with the file")
    connection.close()


if __name__ == "__main__":
    sys.exit(main())
