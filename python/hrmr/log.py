"""log: from the engine's log to Python's `logging`, and formatters for the command line.

Records of the engine appear under the loggers "hrmr.server", "hrmr.reload" and
"hrmr.module.NAME". The library attaches no handler: that is the program's choice.
"""

import json
import logging
import re
import sys
import threading
from datetime import UTC, datetime
from typing import Final

from . import _core

LOGGER: Final = "hrmr"
LEVELS: Final = {
    "debug": logging.DEBUG,
    "info": logging.INFO,
    "warning": logging.WARNING,
    "error": logging.ERROR,
}

# How long the log thread may sleep before it looks whether it shall end; it matters only when the
# engine could not be stopped.
_WAIT_MS = 500

# All controls but tab and line feed: what a client sends must not move the reader's cursor.
_CONTROLS = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")


class LogThread:
    """Moves the records of one server to `logging`. start, stop: from one thread."""

    def __init__(self, core: _core.Core) -> None:
        self._core = core
        self._ends = threading.Event()
        self._thread = threading.Thread(target=self._run, name="hrmr-log", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """After the engine has closed its log: passes on what is left, then ends."""
        self._ends.set()
        if threading.current_thread() is not self._thread:
            self._thread.join(timeout=2 * _WAIT_MS / 1000)

    def _run(self) -> None:
        while True:
            is_last = self._ends.is_set()
            records = self._core.wait_logs(0 if is_last else _WAIT_MS)
            for level, source, message in records or ():
                logging.getLogger(f"{LOGGER}.{source}").log(level, "%s", message)
            if records is None or is_last:
                return


class TextFormatter(logging.Formatter):
    """2026-01-31 12:00:00.123 INFO    server: listening on ..."""

    def format(self, record: logging.LogRecord) -> str:
        when = datetime.fromtimestamp(record.created).astimezone().replace(tzinfo=None)
        stamp = when.isoformat(" ", timespec="milliseconds")
        text = "\n".join([record.getMessage(), *_traceback_of(self, record)])
        # Further lines are indented, so that none can pass for a record of its own.
        text = _CONTROLS.sub(_escape, text).replace("\n", "\n    ")
        return f"{stamp} {record.levelname:<7} {_source_of(record)}: {text}"


class JsonFormatter(logging.Formatter):
    """One JSON object per line: time (UTC, RFC 3339), level, source, message, traceback."""

    def format(self, record: logging.LogRecord) -> str:
        when = datetime.fromtimestamp(record.created, UTC)
        fields = {
            "time": when.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
            "level": record.levelname.lower(),
            "source": _source_of(record),
            "message": record.getMessage(),
        }
        for text in _traceback_of(self, record):
            fields["traceback"] = text
        return json.dumps(fields, ensure_ascii=False)


def attach_log_handler(level: str, style: str) -> logging.Handler:
    """For the command line: writes all records to stderr, from `level` on. Returns the handler.

    Those of all loggers, so that what modules and their libraries log is in the same stream.
    """
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonFormatter() if style == "json" else TextFormatter())
    root = logging.getLogger()
    root.addHandler(handler)
    root.setLevel(LEVELS[level])
    return handler


def _traceback_of(formatter: logging.Formatter, record: logging.LogRecord) -> list[str]:
    return [formatter.formatException(record.exc_info)] if record.exc_info else []


def _source_of(record: logging.LogRecord) -> str:
    return record.name.removeprefix(f"{LOGGER}.")


def _escape(match: re.Match[str]) -> str:
    return f"\\x{ord(match[0]):02x}"
