"""storm_server: the server that the storm hits, as a process, and what the kernel says of it."""

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from servers import START_TIMEOUT_S, BenchError
from storm_files import MODULES

STOP_TIMEOUT_S = 30.0
_POLL_S = 0.01


@dataclass(frozen=True)
class Figures:
    """What a process holds."""

    descriptors: int
    maps: int
    threads: int
    resident_kib: int


class StormServer:
    """`hrmr`, on a folder of modules and a free port, with the log level that users have."""

    def __init__(self, modules: Path, log: Path, flags: Sequence[str] = ()) -> None:
        self._log = log
        environment = {k: v for k, v in os.environ.items() if not k.startswith("HRMR_")}
        options = ["--host", "127.0.0.1", "--port", "0", "--no-bundled", "--modules", str(modules)]
        with log.open("wb") as stream:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "hrmr", *options, *flags],
                stdin=subprocess.DEVNULL,
                stdout=stream,
                stderr=stream,
                cwd=log.parent,
                env=environment,
            )
        self.port = self._wait_for_port()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()

    @property
    def pid(self) -> int:
        return self.process.pid

    def figures(self) -> Figures:
        """Of this moment. BenchError when the server has died."""
        folder = Path(f"/proc/{self.pid}")
        try:
            status = (folder / "status").read_text()
            maps = (folder / "maps").read_text()
            descriptors = len(list((folder / "fd").iterdir()))
        except OSError as error:
            raise BenchError(f"{self.died_text()}: {error}") from error
        lines = re.findall(r"^(\w+):\s+(\d+)", status, re.MULTILINE)
        found = {name: int(number) for name, number in lines}
        if "VmRSS" not in found:  # a zombie has none
            raise BenchError(self.died_text())
        return Figures(descriptors, maps.count("\n"), found["Threads"], found["VmRSS"])

    def mapped_generations(self) -> set[str]:
        """The private files of native generations that are mapped."""
        lines = Path(f"/proc/{self.pid}/maps").read_text().splitlines()
        paths = {line.split(maxsplit=5)[-1] for line in lines if line.count("/")}
        return {path for path in paths if path.rpartition("/")[2].startswith(MODULES)}

    def wait_until(self, condition: Callable[[], object], what: str) -> None:
        """Asks again and again. BenchError at the deadline."""
        deadline = time.monotonic() + STOP_TIMEOUT_S
        while not condition():
            if time.monotonic() > deadline:
                raise BenchError(f"waited in vain until {what}")
            time.sleep(_POLL_S)

    def stop(self) -> None:
        """Shuts it down. BenchError unless it ends well, without any complaint in its log."""
        self.process.send_signal(signal.SIGTERM)
        try:
            code = self.process.wait(timeout=STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired as error:
            raise BenchError(f"the server does not stop:\n{self.log_end()}") from error
        if code != 0:
            raise BenchError(self.died_text())
        complaints = [
            line for line in self._log_text().splitlines() if re.search(r" (WARNING|ERROR) ", line)
        ]
        if complaints:
            shown = "\n".join(complaints[:10])
            raise BenchError(f"the server complained {len(complaints)} times:\n{shown}")

    def died_text(self) -> str:
        """What is known of the end of a server that should run."""
        self.process.poll()
        return f"the server ended with code {self.process.returncode}:\n{self.log_end()}"

    def log_end(self) -> str:
        return "\n".join(self._log_text().splitlines()[-15:])

    def _log_text(self) -> str:
        return self._log.read_text(errors="replace")

    def _wait_for_port(self) -> int:
        deadline = time.monotonic() + START_TIMEOUT_S
        while time.monotonic() < deadline and self.process.poll() is None:
            found = re.search(r"listening on http://\S*:(\d+)", self._log_text())
            if found:
                return int(found[1])
            time.sleep(_POLL_S)
        self.process.kill()
        raise BenchError(f"the server does not listen:\n{self.log_end()}")
