"""reload_table: the answer of RELOAD, read, and shown as a table. For the command line only."""

import re
from dataclasses import dataclass

# One line for each module, as modules/report.cpp of the engine writes it.
_ROW = re.compile(
    r"(?P<change>loaded|reloaded|unchanged|removed) (?P<name>\S+)"
    r" generation (?P<generation>\d+(?: -> \d+)?)(?: in (?P<ms>[\d.]+) ms)?"
    r"(?:; note: (?P<note>.*))?"
)
_FAILED_ROW = re.compile(
    r"(?P<change>failed) (?P<name>.+?): (?P<message>.*?)"
    r"(?: \(generation (?P<generation>\d+) serves on\))? \((?P<ms>[\d.]+) ms\)"
    r"(?:; note: (?P<note>.*))?"
)
_SUM = re.compile(r"(?P<word>OK|ERR) (?P<text>.* in [\d.]+ ms.*)")
_HEAD = ("MODULE", "RESULT", "GENERATION", "MS")


@dataclass(frozen=True)
class ReloadAnswer:
    """What a server said of one RELOAD: a row of four columns for each module, with what is to be
    said of it in lines of its own."""

    rows: list[tuple[tuple[str, str, str, str], list[str]]]
    summary: str
    ok: bool

    def lines(self) -> list[str]:
        """The table. A module's message stands below its row, whole."""
        cells = [_HEAD, *(row for row, _ in self.rows)]
        name, change, generation, ms = (
            max(map(len, column)) for column in zip(*cells, strict=True)
        )

        def line(row: tuple[str, str, str, str]) -> str:
            left = f"{row[0]:<{name}}  {row[1]:<{change}}"
            return f"{left}  {row[2]:>{generation}}  {row[3]:>{ms}}".rstrip()

        shown = [line(_HEAD)] if self.rows else []
        for row, remarks in self.rows:
            shown += [line(row), *(f"  {remark}" for remark in remarks)]
        return [*shown, self.summary]


def read_answer(text: str) -> ReloadAnswer | None:
    """None: it is no answer of RELOAD as this version of HRMR gives it."""
    *lines, last = text.strip().splitlines() or [""]
    total = _SUM.fullmatch(last)
    if total is None:
        return None
    rows = []
    for line in lines:
        found = _ROW.fullmatch(line) or _FAILED_ROW.fullmatch(line)
        if found is None:
            return None
        parts = {key: value or "" for key, value in found.groupdict().items()}
        row = (parts["name"], parts["change"], parts["generation"], parts["ms"])
        serving = parts["generation"] and parts.get("message")
        remarks = [
            parts.get("message", "")
            + (f" (generation {parts['generation']} serves on)" if serving else ""),
            f"note: {parts['note']}" if parts["note"] else "",
        ]
        rows.append((row, [remark for remark in remarks if remark]))
    return ReloadAnswer(rows, total["text"], total["word"] == "OK")
