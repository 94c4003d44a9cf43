"""Log records: their form, and their way from the engine to Python's logging."""

import io
import json
import logging
import sys
import threading
from collections.abc import Iterator

import pytest
from hrmr.log import JsonFormatter, LogThread, TextFormatter, attach_log_handler


class ScriptedCore:
    """Stands in for the engine's log: gives batches, then waits until it is closed."""

    def __init__(self, batches: list[list[tuple[int, str, str]]]) -> None:
        self.batches = batches
        self.closed = threading.Event()
        self.is_drained = threading.Event()

    def wait_logs(self, timeout_ms: int) -> list[tuple[int, str, str]] | None:
        if self.batches:
            return self.batches.pop(0)
        self.is_drained.set()
        return None if self.closed.wait(timeout_ms / 1000) else []


def make_record(message: str, name: str = "hrmr.module.users") -> logging.LogRecord:
    record = logging.LogRecord(name, logging.ERROR, __file__, 1, "%s", (message,), None)
    record.created = 1_700_000_000.25
    return record


def record_with_traceback() -> logging.LogRecord:
    record = make_record("handler failed")
    try:
        raise ValueError("no such user")
    except ValueError:
        record.exc_info = sys.exc_info()
    return record


@pytest.fixture
def quiet_logger() -> Iterator[None]:
    logger = logging.getLogger()
    before = (logger.handlers[:], logger.level)
    yield
    logger.handlers[:] = before[0]
    logger.setLevel(before[1])


def test_text_has_time_level_source_and_message(monkeypatch: pytest.MonkeyPatch) -> None:
    text = TextFormatter().format(make_record("it broke"))
    stamp, rest = text[:23], text[23:]
    assert stamp[10] == " "
    assert stamp.endswith(":20.250")
    assert rest == " ERROR   module.users: it broke"


def test_text_of_several_lines_cannot_pass_for_two_records() -> None:
    text = TextFormatter().format(make_record("one\n2026-01-31 INFO server: forged"))
    assert text.splitlines()[1] == "    2026-01-31 INFO server: forged"


def test_text_shows_control_characters_instead_of_sending_them_to_the_terminal() -> None:
    text = TextFormatter().format(make_record("a\x1b[2Jb\rc\x9bd\te"))
    assert text.endswith("a\\x1b[2Jb\\x0dc\\x9bd\te")


def test_text_shows_the_traceback() -> None:
    lines = TextFormatter().format(record_with_traceback()).splitlines()
    assert lines[0].endswith("module.users: handler failed")
    assert lines[-1] == "    ValueError: no such user"


def test_json_is_one_line_with_all_fields() -> None:
    text = JsonFormatter().format(record_with_traceback())
    assert "\n" not in text
    fields = json.loads(text)
    traceback = fields.pop("traceback")
    assert traceback.endswith("ValueError: no such user")
    assert fields == {
        "time": "2023-11-14T22:13:20.250Z",
        "level": "error",
        "source": "module.users",
        "message": "handler failed",
    }


def test_json_of_a_plain_record_has_no_traceback() -> None:
    assert "traceback" not in json.loads(JsonFormatter().format(make_record("x")))


@pytest.mark.usefixtures("quiet_logger")
def test_what_modules_and_libraries_log_is_in_the_same_stream(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    stderr = io.StringIO()
    monkeypatch.setattr(sys, "stderr", stderr)
    attach_log_handler("info", "json")
    logging.getLogger("hrmr.module.users").info("one")
    logging.getLogger("shared.db").info("two")
    logging.debug("not this")
    records = [json.loads(line) for line in stderr.getvalue().splitlines()]
    told = [(record["source"], record["message"]) for record in records]
    assert told == [("module.users", "one"), ("shared.db", "two")]


@pytest.mark.usefixtures("quiet_logger")
def test_the_command_line_writes_to_stderr_from_its_level_on(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    stderr = io.StringIO()
    monkeypatch.setattr(sys, "stderr", stderr)
    attach_log_handler("warning", "json")
    logging.getLogger("hrmr.server").info("not this")
    logging.getLogger("hrmr.server").warning("but this")
    assert [json.loads(line)["message"] for line in stderr.getvalue().splitlines()] == ["but this"]


def test_importing_the_library_attaches_no_handler() -> None:
    assert logging.getLogger("hrmr").handlers == []


def test_records_of_the_engine_reach_the_logger_of_their_source(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.DEBUG, "hrmr")
    core = ScriptedCore([[(20, "server", "100 % ready"), (10, "reload", "b")], [(40, "x", "c")]])
    thread = LogThread(core)  # type: ignore[arg-type]
    thread.start()
    assert core.is_drained.wait(10)
    core.closed.set()
    thread.stop()
    assert [(r.name, r.levelno, r.getMessage()) for r in caplog.records] == [
        ("hrmr.server", 20, "100 % ready"),
        ("hrmr.reload", 10, "b"),
        ("hrmr.x", 40, "c"),
    ]


def test_the_log_thread_ends_even_when_the_engine_never_closes_its_log() -> None:
    core = ScriptedCore([])
    thread = LogThread(core)  # type: ignore[arg-type]
    thread.start()
    thread.stop()
    assert not [t for t in threading.enumerate() if t.name == "hrmr-log"]


def test_what_was_logged_before_the_stop_is_not_lost(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "hrmr")
    core = ScriptedCore([])
    thread = LogThread(core)  # type: ignore[arg-type]
    thread.start()
    assert core.is_drained.wait(10)
    core.batches.append([(20, "server", "last words")])
    thread.stop()
    assert [record.getMessage() for record in caplog.records] == ["last words"]
