"""The Python function that bench/run.py measures: the least that a handler can do."""

import hrmr


@hrmr.route("GET /python")
@hrmr.route("PYTHON")
def hello(_request: hrmr.Request) -> str:
    return "hello, world\n"
