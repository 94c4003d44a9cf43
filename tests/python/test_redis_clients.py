"""Clients of Redis that people use, from their registries: each connects with default options,
pipelines, echoes 1 MB of binary, calls a module's command and sees an error as an exception.

The scripts in tests/clients print what a program gets. They run against a real redis-server too:
where the two servers agree, a client cannot tell them apart.
"""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from conftest import Compile
from redis_process import Peer, peer_named
from wire_client import DEADLINE_S

# The first test of a session waits for the packages.
pytestmark = [pytest.mark.fetches, pytest.mark.timeout(600)]

SCRIPTS = Path(__file__).parents[1] / "clients"
PYTHON_PACKAGES = {
    "redis5": "redis==5.*",
    "redis8": "redis==8.*",
    "valkey6": "valkey==6.*",
    "coredis6": "coredis==6.*",
}
INSTALL_DEADLINE_S = 300

# ------------------------------------------------------------------------------------ the clients

# What programs in Python and in Node get; the members of a set in order.
PYTHON_RESP3 = {
    "nil": "None",
    "true": "True",
    "false": "False",
    "integer": "12345",
    "double": "3.141",
    "text": "b'Hello World'",
    "bytes": r"b'\x00\xff\r\n'",
    "list": "[1, b'a', [b'b']]",
    "map": "{0: False, 1: True, 2: False}",
    "set": "{0, 1, 2}",
}
AS_LIST = {"set": "[0, 1, 2]"}  # clients that do not trust what is in a set to be hashable
PYTHON_RESP2 = PYTHON_RESP3 | {
    "true": "1",
    "false": "0",
    "double": "b'3.141'",
    "map": "[0, 0, 1, 1, 2, 0]",
    "set": "[0, 1, 2]",
}
NODE_RESP3 = {
    "nil": "null",
    "true": "true",
    "false": "false",
    "integer": "12345",
    "double": "3.141",
    "text": '"Hello World"',
    "bytes": '"\\u0000\ufffd\\r\\n"',
    "list": '[1,"a",["b"]]',
    "map": '{"0":false,"1":true,"2":false}',
    "set": "[0,1,2]",
}
NODE_RESP2 = NODE_RESP3 | {
    "true": "1",
    "false": "0",
    "double": '"3.141"',
    "map": "[0,0,1,1,2,0]",
}

Options = dict[str, object]


@dataclass(frozen=True)
class Client:
    """One package and what a program that uses it gets."""

    package: str  # as it is installed
    script: str
    variants: dict[str, tuple[Options, dict[str, str]]]  # by name: options, values expected
    error: str  # class of the exception
    unknown: str = ""  # that of an unknown command, if it is another
    has_asyncio: bool = False
    pong: str = '"PONG"'
    echoed: list[str] = field(default_factory=lambda: ["before", "after"])

    @property
    def module(self) -> str:
        is_python = self.package in PYTHON_PACKAGES
        return self.package.rstrip("0123456789") if is_python else self.package

    def expected(self) -> dict[str, object]:
        told = {}
        for variant, (_, values) in self.variants.items():
            kinds = (", sync", ", asyncio") if self.has_asyncio else ("",)
            told |= {f"{variant}{kind}": self._expected_one(values) for kind in kinds}
        return told

    def _expected_one(self, values: dict[str, str]) -> dict[str, object]:
        is_python = self.package in PYTHON_PACKAGES
        prefix = "" if is_python else "ERR "  # Python's clients cut it off
        unknown = "unknown command 'NO.SUCH', with args beginning with: 'one' 'two' "
        return {
            "ping": self.pong,
            "binary": True,
            "pipeline": True,
            "error in pipeline": [self.echoed[0], self.error, self.echoed[1]],
            "values": values,
            "error": f"{self.error}: SHOP closed for today",
            "unknown": f"{self.unknown or self.error}: {prefix}{unknown}",
            "name": "worker-7",
            "version": True,
            "still there": self.pong,
        }


def redis_py(package: str, default: dict[str, str]) -> Client:
    return Client(
        package,
        "redis_py.py",
        {
            "default": ({}, default),
            "RESP2": ({"protocol": 2}, PYTHON_RESP2),
            "RESP3": ({"protocol": 3}, PYTHON_RESP3 | AS_LIST),
        },
        error="ResponseError",
        has_asyncio=True,
        pong="True",
        echoed=["bytes", "bytes"],
    )


CLIENTS = [
    redis_py("redis5", PYTHON_RESP2),
    redis_py("redis8", PYTHON_RESP3 | AS_LIST),
    redis_py("valkey6", PYTHON_RESP2),
    Client(
        "coredis6",
        "coredis_py.py",
        {"default": ({}, PYTHON_RESP3)},  # it has RESP3 only
        error="ResponseError",
        unknown="UnknownCommandError",
        pong="b'PONG'",
        echoed=["bytes", "bytes"],
    ),
    Client("ioredis5", "ioredis.cjs", {"default": ({}, NODE_RESP2)}, error="ReplyError"),
    Client(
        "ioredis6",
        "ioredis.cjs",
        {
            "default": ({}, NODE_RESP2),  # speaks RESP3 and folds what comes
            "RESP2": ({"protocol": 2}, NODE_RESP2),
            "RESP3": ({"protocol": 3, "replyMapping": "resp3"}, NODE_RESP3),
        },
        error="SimpleError",
    ),
    Client("redis4", "node_redis.cjs", {"default": ({}, NODE_RESP2)}, error="ErrorReply"),
    Client(
        "redis6",
        "node_redis.cjs",
        {
            "default": ({}, NODE_RESP3),
            "RESP2": ({"RESP": 2}, NODE_RESP2),
            "RESP3": ({"RESP": 3}, NODE_RESP3),
        },
        error="SimpleError",
    ),
]

# ------------------------------------------------------------------------------------ the packages


def run(command: list[str], folder: Path, deadline_s: float, **variables: str) -> str:
    ended = subprocess.run(
        command,
        cwd=folder,
        env=os.environ | variables,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=deadline_s,
        check=False,
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr
    return ended.stdout


@pytest.fixture(scope="session")
def packages(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with every client, each Python package in one of its own, so that the versions do
    not meet. All are installed at once; the caches of pip and npm serve the next session."""
    folder = tmp_path_factory.mktemp("clients")
    shutil.copyfile(SCRIPTS / "package.json", folder / "package.json")
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    npm = ["npm", "install", "--no-audit", "--no-fund", "--no-package-lock", "--prefer-offline"]
    commands = [[*pip, "--target", name, needed] for name, needed in PYTHON_PACKAGES.items()]
    with ThreadPoolExecutor() as pool:
        for _ in pool.map(lambda words: run(words, folder, INSTALL_DEADLINE_S), [npm, *commands]):
            pass
    return folder


# ------------------------------------------------------------------------------------ the servers

KINDS = {  # by our word for a kind: that of DEBUG PROTOCOL
    "nil": "null",
    "true": "true",
    "false": "false",
    "integer": "integer",
    "double": "double",
    "text": "string",
    "bytes": "bytes",
    "list": "list",
    "map": "map",
    "set": "set",
}


@pytest.fixture(scope="module", params=["redis-server", "hrmr"])
def peer(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, build: Compile
) -> Iterator[Peer]:
    with peer_named(request.param, tmp_path_factory.mktemp("peer"), build) as started:
        yield started


# ------------------------------------------------------------------------------------ the tests


@pytest.mark.parametrize("client", CLIENTS, ids=lambda client: client.package)
def test_client_gets_what_redis_would_give(packages: Path, peer: Peer, client: Client) -> None:
    task = {
        "package": client.module,
        "port": peer.port,
        "variants": {name: options for name, (options, _) in client.variants.items()},
        "values": {kind: peer.words(in_redis) for kind, in_redis in KINDS.items()},
        "error": peer.words("error"),
    }
    script = [str(SCRIPTS / client.script), json.dumps(task)]
    if client.script.endswith(".py"):
        command, path = (
            [sys.executable, "-S", *script],
            {"PYTHONPATH": str(packages / client.package)},
        )
    else:
        command, path = ["node", *script], {"NODE_PATH": str(packages / "node_modules")}
    assert json.loads(run(command, packages, DEADLINE_S, **path)) == client.expected()
