"""visits: a package that counts, and goes on counting when it is reloaded.

    $ printf 'VISIT home\nVISIT home\nCLOSE\n' | nc 127.0.0.1 8080
    home 1
    home 2

Change what it answers, or one of its files, and `hrmr reload`: the counts stay. While they are
handed over, requests to this module wait; no visit is lost.
"""

import hrmr

from .counts import Counts

SCHEMA = 1  # of what save_state returns; a later version can tell by it what it is handed

counts = Counts()


def load(_config: dict[str, str], previous: hrmr.State | None) -> None:
    """`previous` is None at the first load. An exception here keeps the old generation."""
    if previous is None:
        return
    if previous.schema != SCHEMA:
        raise ValueError(f"cannot read counts of schema {previous.schema}")
    counts.restore(previous.content)


def save_state() -> hrmr.State:
    return hrmr.State(SCHEMA, counts.dump())


@hrmr.route("VISIT ")
def visit(request: hrmr.Request) -> str:
    return f"{request.text} {counts.add(request.text)}\n"
