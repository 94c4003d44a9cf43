"""greet: a module in Python. Put it into the modules folder and `hrmr reload`.

    $ printf 'GREET bob\nCLOSE\n' | nc 127.0.0.1 8080
    hello bob
    $ curl 'http://127.0.0.1:8080/greet?name=bob'
    {"greeting": "hello bob", "greeted": 2}

The file is executed once per generation, in a module object of its own. Handlers run on HRMR's
Python threads, several at once: what they share needs a lock.
"""

import itertools
import json
from urllib.parse import parse_qs

import hrmr

NAME_CHARACTERS_MAX = 100

greeted = itertools.count(1)  # next() of it is atomic


@hrmr.route("GREET ")
def greet(request: hrmr.Request) -> str:
    """A line in, a line out. `text` is what follows the prefix."""
    next(greeted)
    return f"hello {request.text}\n"


@hrmr.route("GET /greet")
def greet_json(request: hrmr.Request) -> hrmr.Response:
    """The same over HTTP. A prefix is only the first bytes: the path decides the rest."""
    if request.path != "/greet":
        return hrmr.Response("nothing here\n", status=404)
    name = parse_qs(request.query).get("name", ["stranger"])[0]
    if len(name) > NAME_CHARACTERS_MAX:
        return json_response({"error": "this name is too long"}, status=400)
    return json_response({"greeting": f"hello {name}", "greeted": next(greeted)})


def json_response(value: object, status: int = 200) -> hrmr.Response:
    return hrmr.Response(json.dumps(value) + "\n", status, {"Content-Type": "application/json"})
