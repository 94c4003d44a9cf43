"""The Python module of the storm (bench/storm.py). It answers as storm_native.cpp does; VERSION is
replaced."""

import hrmr

VERSION = "@VERSION@"
FILL = (VERSION * (64 * 1024)).encode()


@hrmr.route("PYTHON ")
def answer_line(request: hrmr.Request) -> bytes:
    serial, fill, payload = request.rest.split(b" ", 2)
    return answer(serial, fill, payload)


@hrmr.route("GET /python/")
@hrmr.route("POST /python/")
def answer_http(request: hrmr.Request) -> bytes:
    serial, fill = request.path.encode().split(b"/")[2:]
    return answer(serial, fill, request.body)


def answer(serial: bytes, fill: bytes, payload: bytes) -> bytes:
    return b"PYTHON %s %s %s %s\n" % (VERSION.encode(), serial, payload, FILL[: int(fill)])
