"""storm_run: the storm itself. Changes module files and has storm_load, which asks all the time and
checks every answer, send RELOAD in between. bench/storm.py and tests/python/test_storm.py use it.
"""

import contextlib
import os
import random
import select
import statistics
import subprocess
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from servers import BenchError
from storm_files import ABSENT, MODULES, VERSIONS, Editions, PlacedFiles
from storm_server import Figures, StormServer

# How long one connection, or the answer to one RELOAD, may take: for a machine that does other
# things too. Nothing waits for it in full unless it fails.
SILENCE_S = 30.0
_DYING_S = 0.3
_GRACE_S = 10.0  # storm_load speaks first, for it knows more

# Of the changes of a module's file; the rest are replacements in one step.
_OVERWRITE_PART = 0.4
_REMOVE_PART = 0.1
_RESTORE_PART = 0.8  # of the absent ones, at each reload


@dataclass(frozen=True)
class Stretch:
    """What storm_load counted in a stretch of time; latencies in microseconds, of inline requests
    that were sent alone."""

    requests: int
    seconds: float
    timed: int
    p50_us: float
    p99_us: float
    p999_us: float
    max_us: float

    @property
    def requests_per_s(self) -> float:
        return self.requests / self.seconds


class Storm:
    """Clients on a server, and reloads when they are asked for. Whatever is wrong is a BenchError.

    portion: connections of each of the eight kinds.
    """

    def __init__(
        self, server: StormServer, files: PlacedFiles, program: Path, portion: int, seed: int
    ) -> None:
        self._server = server
        self._files = files
        self._chance = random.Random(seed)
        self.seed = seed
        self.reloads = 0
        self.changes: Counter[str] = Counter()
        self.samples: list[Figures] = []
        self._errors = program.with_suffix(".errors")
        words = (server.port, files.states, SILENCE_S, portion)
        with self._errors.open("wb") as errors:
            self._process = subprocess.Popen(
                [str(program), *(str(word) for word in words)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
            )
        self._received = b""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._process.poll() is None:
            self._process.kill()
        self._process.communicate()

    def reload(self, times: int, sample_every: int = 0) -> None:
        """Changes files at random and reloads, so many times.

        sample_every: how many reloads there are from sample to sample of `samples`; 0: none.
        """
        for _ in range(times):
            before = self._files.states
            self._change_files()
            self.check_reload(before, self._files.states)
            if sample_every and self.reloads % sample_every == 0:
                self.samples.append(self._server.figures())

    def send_reload(self, after: str) -> list[str]:
        """Has RELOAD sent, after which the modules are to be in these states. Its answer."""
        self._tell(f"reload {after}")
        lines = []
        while (line := self._read_line()) != "done":
            lines.append(line)
        self.reloads += 1
        return lines

    def check_reload(self, before: str, after: str) -> None:
        """Has RELOAD sent, which takes the modules from those states to these."""
        lines = self.send_reload(after)
        due = [
            f"{_outcome(old, new)} {name} generation "
            for name, old, new in zip(MODULES, before, after, strict=True)
            if (old, new) != (ABSENT, ABSENT)
        ]
        is_right = all(any(line.startswith(start) for line in lines) for start in due)
        if not is_right or not lines[-1].startswith("OK "):
            shown = "\n".join(lines)
            raise BenchError(f"reload {self.reloads}, {before} to {after}, answered:\n{shown}")

    def ask_only(self, seconds: float) -> None:
        """Lets the clients ask for so long, without reloads."""
        deadline = time.monotonic() + seconds
        while (left := deadline - time.monotonic()) > 0:
            if select.select([self._process.stdout], [], [], left)[0]:
                raise BenchError(f"storm_load says {self._read_line()!r} unasked")

    def stretch(self) -> Stretch:
        """What was counted since this was called last, or since the beginning."""
        self._tell("stats")
        word, requests, seconds, timed, *latencies = self._read_line().split()
        if word != "stats":
            raise BenchError(f"storm_load says {word!r} instead of its figures")
        in_us = [int(number) / 1000 for number in latencies]
        return Stretch(int(requests), float(seconds), int(timed), *in_us)

    def end(self) -> int:
        """Waits until every request is answered, and nothing else has come. Their number."""
        self._tell("end")
        word, requests = self._read_line().split()
        if word != "end" or self._process.wait(SILENCE_S + _GRACE_S) != 0:
            raise BenchError(f"storm_load ended badly: {self._error_text()}")
        return int(requests)

    def _change_files(self) -> None:
        files, chance = self._files, self._chance
        restored = [
            name
            for name in MODULES
            if files.state(name) == ABSENT and chance.random() < _RESTORE_PART
        ]
        for name in restored:
            files.replace(name, chance.choice(VERSIONS))
            self.changes["restored"] += 1
        present = [name for name in MODULES if name not in restored and files.state(name) != ABSENT]
        count = chance.choice((1, 1, 1, 2, 2, 3))
        for name in chance.sample(present, min(count, len(present))):
            self._change_file(name)

    def _change_file(self, name: str) -> None:
        luck = self._chance.random()
        if luck < _REMOVE_PART:
            self._files.remove(name)
            self.changes["deleted"] += 1
        elif luck < _REMOVE_PART + _OVERWRITE_PART:
            self._files.overwrite(name, self._files.other(name))
            self.changes["overwritten in place"] += 1
        else:
            self._files.replace(name, self._files.other(name))
            self.changes["replaced by rename"] += 1

    def _tell(self, command: str) -> None:
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(f"{command}\n".encode())
            self._process.stdin.flush()
        except BrokenPipeError as error:
            raise BenchError(self._error_text()) from error

    def _read_line(self) -> str:
        assert self._process.stdout is not None
        deadline = time.monotonic() + SILENCE_S + _GRACE_S
        while b"\n" not in self._received:
            left = deadline - time.monotonic()
            if left <= 0 or not select.select([self._process.stdout], [], [], left)[0]:
                raise BenchError(f"storm_load says nothing after {self.reloads} reloads")
            part = os.read(self._process.stdout.fileno(), 1 << 16)
            if not part:
                raise BenchError(self._error_text())
            self._received += part
        line, _, self._received = self._received.partition(b"\n")
        return line.decode()

    def _error_text(self) -> str:
        self._process.wait(SILENCE_S)
        text = self._errors.read_text(errors="replace").strip()
        # A server that dies closes its connections a moment before it has ended.
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._server.process.wait(_DYING_S)
            text += f"\n{self._server.died_text()}"
        return f"after {self.reloads} reloads (seed {self.seed}): {text}"


def _outcome(old: str, new: str) -> str:
    if old == new:
        return "unchanged"
    if old == ABSENT:
        return "loaded"
    return "removed" if new == ABSENT else "reloaded"


@dataclass(frozen=True)
class Growth:
    """The medians of the second and the last quarter of the samples; the first one is warm-up."""

    name: str
    early: float
    late: float

    @property
    def percent(self) -> float:
        return 100.0 * (self.late - self.early) / self.early


def growths(samples: Sequence[Figures]) -> list[Growth]:
    """Of each of the figures. There must be at least four samples."""
    quarter = len(samples) // 4
    early, late = samples[quarter : 2 * quarter], samples[-quarter:]
    return [
        Growth(
            name,
            statistics.median(getattr(sample, name) for sample in early),
            statistics.median(getattr(sample, name) for sample in late),
        )
        for name in ("descriptors", "maps", "threads", "resident_kib")
    ]


def begin(editions: Editions, folder: Path) -> PlacedFiles:
    """All modules in version A, in a new folder."""
    files = PlacedFiles(editions, folder)
    for name in MODULES:
        files.replace(name, VERSIONS[0])
    return files


def check_nothing_is_left(server: StormServer, before: Figures, states: str) -> None:
    """When the clients have gone. BenchError unless the server holds what it held before them."""
    native = [state for name, state in zip(MODULES, states, strict=True) if "python" not in name]
    loaded = sum(state != ABSENT for state in native)
    server.wait_until(lambda: len(server.mapped_generations()) == loaded, "old code is unmapped")
    server.wait_until(
        lambda: server.figures().descriptors == before.descriptors,
        f"the server has {before.descriptors} descriptors again",
    )
    server.wait_until(
        lambda: server.figures().threads == before.threads,
        f"the server has {before.threads} threads again",
    )
