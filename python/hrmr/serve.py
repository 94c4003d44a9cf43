"""serve: runs a server as a process of its own, with its signals. For the command line only."""

import contextlib
import gc
import logging
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from types import FrameType
from typing import NoReturn, TypeVar

from .server import Server

Result = TypeVar("Result")

_LOG = logging.getLogger("hrmr.server")

# How long a signal may have to wait when the kernel gave it to another thread than ours.
_LOOK_S = 0.5


def serve(server: Server) -> int:
    """Serves until SHUTDOWN, SIGTERM or SIGINT; the exit code. Main thread only.

    SIGHUP reloads. A second SIGTERM or SIGINT ends the process at once, with 143 or 130.
    """
    _freeze_what_stays()
    with _signals(server) as is_to_end:
        # Aside, because a signal handler runs only when the main thread comes back to Python.
        _run_aside(server.start)
        if is_to_end():
            server.shutdown()
        # A loop that is stuck in an inline handler never says that it has drained; stop() waits no
        # longer than it may.
        while not (server.wait(_LOOK_S) or is_to_end()):
            pass
        all_ended = _run_aside(server.stop)
    if not all_ended:
        _LOG.error("a handler still runs after the drain timeout: leaving without it")
        exit_now(1)
    _LOG.info("stopped")
    return 0


def _freeze_what_stays() -> None:
    """Takes what this process has imported so far, some 20,000 objects that last as long as it
    does, out of the collections that free old generations of Python modules. Before any module is
    loaded: what is frozen is never freed. Not for programs that embed a server: what they hold, and
    how it is collected, is theirs."""
    gc.collect()  # so that no garbage is kept
    gc.freeze()


def exit_now(code: int) -> NoReturn:
    """Ends the process without waiting for any thread."""
    logging.shutdown()
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError):
            stream.flush()
    os._exit(code)


@contextlib.contextmanager
def _signals(server: Server) -> Iterator[Callable[[], bool]]:
    asked_to_end = False

    def end(number: int, _frame: FrameType | None) -> None:
        nonlocal asked_to_end
        if asked_to_end:
            os._exit(128 + number)
        asked_to_end = True
        _LOG.info("%s: shutting down; once more to exit at once", signal.Signals(number).name)
        server.shutdown()
        if not server.running:
            # Still in the start: a module whose load never ends must not keep us.
            watch = threading.Timer(server.options.drain_timeout, give_up)
            watch.daemon = True
            watch.start()

    def give_up() -> None:
        if not server.running:
            _LOG.error("a module is still loading after the drain timeout: leaving without it")
            exit_now(1)

    def reload(_number: int, _frame: FrameType | None) -> None:
        if server.running:
            server.request_reload()

    wanted = {signal.SIGINT: end, signal.SIGTERM: end, signal.SIGHUP: reload}
    before = {number: signal.signal(number, handler) for number, handler in wanted.items()}
    try:
        yield lambda: asked_to_end
    finally:
        for number, old_handler in before.items():
            signal.signal(number, old_handler)


def _run_aside(call: Callable[[], Result]) -> Result:
    """Calls it on a thread and waits for it, open to signals meanwhile."""
    results: list[Result] = []
    errors: list[BaseException] = []

    def run() -> None:
        try:
            results.append(call())
        except BaseException as error:  # noqa: BLE001
            errors.append(error)

    thread = threading.Thread(target=run, name="hrmr-aside", daemon=True)
    thread.start()
    while thread.is_alive():
        thread.join(_LOOK_S)
    if errors:
        raise errors[0]
    return results[0]
