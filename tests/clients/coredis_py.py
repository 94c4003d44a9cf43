"""coredis (RESP3 only, asyncio) against a server: prints what a program gets as JSON.

python coredis_py.py TASK, with the TASK of redis_py.py.
"""

import asyncio
import json
import sys

import coredis

BINARY = bytes(range(256)) * 4096
PIPELINED = [f"number {number}" for number in range(1000)]


def ask(client, words):
    """Any command: coredis has a method for each command of Redis only."""
    return client.create_request(
        words[0].encode(), *words[1:], callback=lambda value, **_options: value
    )


def show(value):
    """As `repr`, with the members of a set in order."""
    if isinstance(value, set):
        return f"{{{', '.join(sorted(map(repr, value)))}}}"
    return repr(value)


async def tell_error(request):
    try:
        got = await request
    except coredis.exceptions.RedisError as error:
        return f"{type(error).__name__}: {error}"
    return f"no error, but {got!r}"


async def use(client, task):
    async with client.pipeline(transaction=False) as pipeline:
        answers = [pipeline.echo(text) for text in PIPELINED]
    async with client.pipeline(transaction=False, raise_on_error=False) as pipeline:
        pipeline.echo("before")
        ask(pipeline, task["error"])
        pipeline.echo("after")
    mixed = [type(answer).__name__ for answer in pipeline.results]
    await client.client_setname("worker-7")
    return {
        "ping": show(await client.ping()),
        "binary": await client.echo(BINARY) == BINARY,
        "pipeline": [await answer for answer in answers] == [each.encode() for each in PIPELINED],
        "error in pipeline": mixed,
        "values": {kind: show(await ask(client, words)) for kind, words in task["values"].items()},
        "error": await tell_error(ask(client, task["error"])),
        "unknown": await tell_error(ask(client, ["NO.SUCH", "one", "two"])),
        "name": (await client.client_getname()).decode(),
        "version": (await client.info())["redis_version"][:1].isdigit(),
        "still there": show(await client.ping()),
    }


async def main(task):
    got = {}
    for variant, options in task["variants"].items():
        async with coredis.Redis(port=task["port"], **options) as client:
            got[variant] = await use(client, task)
    print(json.dumps(got))


asyncio.run(main(json.loads(sys.argv[1])))
