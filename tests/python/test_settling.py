"""Files that are still being written when they are read: RELOAD waits until they are whole."""

import ctypes
import os
import select
import threading
from pathlib import Path

import pytest
from conftest import Compile, StartServer
from editions import Editions, NativeEditions, PythonEditions
from wire_client import DEADLINE_S, ask, reload

IN_CLOSE_NOWRITE = 0x10  # inotify(7): closed by somebody who has only read
EVENT_BYTES = 16  # of an event about a file that was named itself: it carries no name


class Reads:
    """Notices each time that somebody has read the file and closed it."""

    def __init__(self, path: Path) -> None:
        libc = ctypes.CDLL(None, use_errno=True)
        self._fd = libc.inotify_init()
        assert self._fd >= 0
        assert libc.inotify_add_watch(self._fd, os.fsencode(path), IN_CLOSE_NOWRITE) >= 0

    def wait(self) -> None:
        """Returns when the file was read and closed."""
        assert select.select([self._fd], [], [], DEADLINE_S)[0], "nobody reads the file"
        assert len(os.read(self._fd, EVENT_BYTES)) == EVENT_BYTES

    def close(self) -> None:
        os.close(self._fd)


@pytest.fixture(params=["so", "py"])
def editions(request: pytest.FixtureRequest, modules: Path, build: Compile) -> Editions:
    if request.param == "so":
        return NativeEditions(modules, build)
    return PythonEditions(modules)


def whole(editions: Editions) -> bytes:
    """The content of edition A, in no file that a server looks at."""
    editions.put("A")
    content = editions.path.read_bytes()
    editions.remove()
    return content


@pytest.mark.parametrize("part", [0.0, 0.5], ids=["empty", "half"])
def test_file_that_is_finished_after_it_was_read_is_loaded(
    start_server: StartServer, editions: Editions, part: float
) -> None:
    content = whole(editions)
    server = start_server()
    written = int(len(content) * part)
    editions.path.write_bytes(content[:written])
    reads = Reads(editions.path)
    answers: list[list[str]] = []
    reloading = threading.Thread(target=lambda: answers.append(reload(server.port)))
    reloading.start()
    reads.wait()
    with editions.path.open("ab") as file:
        file.write(content[written:])
    reloading.join()
    reads.close()
    [[line, _]] = answers
    assert line.startswith("loaded versioned generation 1 ")
    assert ask(server.port, "VERSION") == "version A"


def test_file_that_stays_broken_is_refused_within_the_bound(
    start_server: StartServer, editions: Editions
) -> None:
    content = whole(editions)
    server = start_server()
    editions.path.write_bytes(content[: len(content) // 2])
    [line, _] = reload(server.port)
    assert line.startswith("failed versioned: ")
    editions.path.write_bytes(content)
    [line, _] = reload(server.port)
    assert line.startswith("loaded versioned generation 1 ")
