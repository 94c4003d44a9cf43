"""Outcome, ReloadReport: what a reload did."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Outcome:
    """What a reload did to one module."""

    name: str
    change: str  # "loaded", "reloaded", "unchanged", "removed" or "failed"
    generation: int  # that serves now; 0: none
    old_generation: int  # that served before; 0: none
    message: str  # "failed": why; else empty
    ms: float  # spent on this module
    note: str = ""  # what else should be known: what keeps the old generation, say

    @property
    def ok(self) -> bool:
        return self.change != "failed"

    def __str__(self) -> str:
        text = f"{self.change} {self.name}" + (f": {self.message}" if self.message else "")
        return text + (f"; note: {self.note}" if self.note else "")


class ReloadReport(list[Outcome]):
    """The outcomes of one reload, one per module, by name."""

    @property
    def ok(self) -> bool:
        """True when nothing failed."""
        return all(outcome.ok for outcome in self)

    @property
    def failures(self) -> list[Outcome]:
        return [outcome for outcome in self if not outcome.ok]

    def __str__(self) -> str:
        return "\n".join(map(str, self))
