"""redis-py or valkey-py, sync and asyncio, against a server: prints what a program gets as JSON.

python redis_py.py TASK, where TASK is JSON: `package`, `port`, `values` (a command for each kind of
value), `error` (one that is answered with an error), `variants` (the options of a client, by name).
"""

import asyncio
import importlib
import inspect
import json
import sys

BINARY = bytes(range(256)) * 4096
PIPELINED = [f"number {number}" for number in range(1000)]


def show(value):
    """As `repr`, with the members of a set in order."""
    if isinstance(value, set):
        return f"{{{', '.join(sorted(map(repr, value)))}}}"
    return repr(value)


async def settle(result):
    """What a sync client returned, or what an asyncio client will return."""
    return await result if inspect.isawaitable(result) else result


async def tell_error(call, *words):
    try:
        got = await settle(call(*words))
    except Exception as error:  # noqa: BLE001 what a program gets, whatever it is
        return f"{type(error).__name__}: {error}"
    return f"no error, but {got!r}"


async def name_itself(client):
    await settle(client.client_setname("worker-7"))
    name = await settle(client.client_getname())  # bytes or text, as its version likes
    return name if isinstance(name, str) else name.decode()


async def use(client, task):
    """What each step gives. The keys are those that the test expects."""
    pipeline = client.pipeline(transaction=False)
    for text in PIPELINED:
        pipeline.echo(text)
    mixed = client.pipeline(transaction=False)
    mixed.echo("before")
    mixed.execute_command(*task["error"])
    mixed.echo("after")
    in_order = await settle(pipeline.execute())
    answers = await settle(mixed.execute(raise_on_error=False))
    return {
        "ping": show(await settle(client.ping())),
        "binary": await settle(client.echo(BINARY)) == BINARY,
        "pipeline": in_order == [text.encode() for text in PIPELINED],
        "error in pipeline": [type(answer).__name__ for answer in answers],
        "values": {
            kind: show(await settle(client.execute_command(*words)))
            for kind, words in task["values"].items()
        },
        "error": await tell_error(client.execute_command, *task["error"]),
        "unknown": await tell_error(client.execute_command, "NO.SUCH", "one", "two"),
        "name": await name_itself(client),
        "version": (await settle(client.info()))["redis_version"][:1].isdigit(),
        "still there": show(await settle(client.ping())),
    }


async def main(task):
    package = importlib.import_module(task["package"])
    in_asyncio = importlib.import_module(f"{task['package']}.asyncio")
    name = task["package"].capitalize()
    got = {}
    for variant, options in task["variants"].items():
        client = getattr(package, name)(port=task["port"], **options)
        got[f"{variant}, sync"] = await use(client, task)
        client.close()
        client = getattr(in_asyncio, name)(port=task["port"], **options)
        got[f"{variant}, asyncio"] = await use(client, task)
        await client.aclose()
    print(json.dumps(got))


asyncio.run(main(json.loads(sys.argv[1])))
