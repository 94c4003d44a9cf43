"""Headless Chromium, for tests."""

import os
import shutil
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def chromium(url: str, folder: Path, *flags: str) -> Iterator[Path]:
    """Shows that page until the block ends. Its profile is made in `folder`; yields its log."""
    program = shutil.which("chromium")
    assert program, "chromium is not installed: README's test command installs it"
    common = [
        *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
        *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
        *("--disable-dev-shm-usage", "--mute-audio", f"--user-data-dir={folder / 'profile'}"),
        "--remote-debugging-port=0",  # stays open until it is ended
    ]
    path = folder / "chromium.log"
    with path.open("wb") as log:
        browser = subprocess.Popen(
            [program, *common, *flags, url], stdout=log, stderr=log, process_group=0
        )
    try:
        yield path
    finally:
        os.killpg(browser.pid, signal.SIGKILL)
        browser.wait()
