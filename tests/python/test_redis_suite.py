"""What Redis 7.0's own test suite (in Tcl, of Debian's source package `redis`) says of the protocol
and of the commands that are about connections.

`unit/protocol` runs whole but for the tests named here; of `unit/introspection` run the tests named
here. Nothing of the suite is in this tree: the source package is fetched when the test runs.
"""

import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from conftest import Compile, write_module
from redis_process import peer_named

# The first test of a session waits for the packages.
pytestmark = [pytest.mark.fetches, pytest.mark.timeout(600)]

DEADLINE_S = 300
KEYRING = "/usr/share/keyrings/debian-archive-keyring.gpg"

# Of unit/protocol: not for HRMR, and why.
ATTRIBUTES = "a reply of HRMR has no attributes"
DESELECTED = {
    "RESP3 attributes": ATTRIBUTES,
    "RESP3 attributes readraw": ATTRIBUTES,
    "RESP3 attributes on RESP2": ATTRIBUTES,
    "test big number parsing": "no value of HRMR is a number of more than 64 bits",
    "test argument rewriting - issue 9598": "is about replication and needs MULTI",
    "Regression for a crash with blocking ops and pipelining": "needs BLPOP",
}

# Of unit/introspection. The rest is about MONITOR, CONFIG SET, CLIENT KILL and how redis-server
# starts; and CLIENT LIST and INFO are compared field by field there, with what Redis tells of its
# buffers and of the last command.
SELECTED = [
    "PING",
    "CLIENT REPLY OFF/ON: disable all commands reply",
    "CLIENT REPLY SKIP: skip the next command reply",
    "CLIENT REPLY ON: unset SKIP flag",
    "CLIENT GETNAME should return NIL if name is not assigned",
    "CLIENT LIST shows empty fields for unassigned names",
    "CLIENT SETNAME does not accept spaces",
    "CLIENT SETNAME can assign a name to this connection",
    "CLIENT SETNAME can change the name of an existing connection",
    "After CLIENT SETNAME, connection can still be closed",
]

# The commands of Redis that the tests above and the suite's start need, as a module of HRMR; the
# module `values` has a DEBUG beside it.
STORE = """
    import hrmr

    strings: dict[bytes, bytes] = {}
    sets: dict[bytes, set[bytes]] = {}

    @hrmr.command("FLUSHALL", arguments=0)
    @hrmr.command("FLUSHDB", arguments=0)
    def flush(arguments):
        strings.clear()
        sets.clear()
        return "OK"

    @hrmr.command("FUNCTION", arguments=1)
    def function(arguments):
        return "OK"

    @hrmr.command("SADD", arguments=(2, None))
    def sadd(arguments):
        members = sets.setdefault(arguments[0], set())
        before = len(members)
        members.update(arguments[1:])
        return len(members) - before

    @hrmr.command("SRANDMEMBER", arguments=(1, 2))
    def srandmember(arguments):
        found = sorted(sets.get(arguments[0], ()))
        return found[: int(arguments[1])] if len(arguments) == 2 else next(iter(found), None)

    @hrmr.command("MSET", arguments=(2, None))
    def mset(arguments):
        strings.update(zip(arguments[::2], arguments[1::2], strict=True))
        return "OK"

    @hrmr.command("GET", arguments=1)
    def get(arguments):
        return strings.get(arguments[0])
"""


def run(command: list[str], folder: Path) -> str:
    ended = subprocess.run(
        command,
        cwd=folder,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=DEADLINE_S,
        check=False,
    )
    assert ended.returncode == 0, ended.stdout
    return ended.stdout


@pytest.fixture(scope="session")
def suite(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The unpacked suite. apt fetches it from where the machine has its packages from, with lists
    of its own: the machine's own settings stay as they are, and no root is needed."""
    folder = tmp_path_factory.mktemp("redis-source")
    (folder / "lists" / "partial").mkdir(parents=True)
    (folder / "cache" / "archives" / "partial").mkdir(parents=True)
    where = [
        "--format",
        "$(SITE) $(RELEASE) $(COMPONENT)",
        "Created-By: Packages",
        "Origin: Debian",
    ]
    sources = run(["apt-get", "indextargets", *where], folder).splitlines()
    assert sources, "apt knows no Debian: apt-get update"
    lines = [f"deb-src [signed-by={KEYRING}] {source}\n" for source in sorted(set(sources))]
    (folder / "sources.list").write_text("".join(lines))
    settings = {
        "Dir::Etc::SourceList": folder / "sources.list",
        "Dir::Etc::SourceParts": "/dev/null",
        "Dir::State::Lists": folder / "lists",
        "Dir::Cache": folder / "cache",
        "APT::Sandbox::User": "root",  # apt as root would become a user who may not write here
    }
    apt = ["apt-get", *(f"-o{name}={value}" for name, value in settings.items())]
    run([*apt, "update"], folder)
    run([*apt, "source", "--download-only", "redis"], folder)
    (archive,) = folder.glob("redis_7.0.*.orig.tar.gz")
    run(["tar", "-xf", archive.name, "--strip-components=1"], folder)
    return folder


@pytest.fixture(scope="module", params=["redis-server", "hrmr"])
def port(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, build: Compile
) -> Iterator[int]:
    folder = tmp_path_factory.mktemp("peer")
    (folder / "modules").mkdir()
    write_module(folder / "modules", "store", STORE)
    with peer_named(request.param, folder, build) as peer:
        yield peer.port


def passed(suite: Path, port: int, unit: str, *options: str) -> set[str]:
    """Runs tests of one unit; the names of those that passed. None may fail."""
    where = ["--host", "127.0.0.1", "--port", str(port), "--clients", "1", "--singledb"]
    report = re.sub(
        r"\x1b\[[0-9;]*m", "", run(["./runtest", *where, "--single", unit, *options], suite)
    )
    assert "All tests passed without errors!" in report, report
    return set(re.findall(r"^\[ok\]: (.*) \(\d+ ms\)$", report, re.MULTILINE))


def names_of(suite: Path, unit: str) -> set[str]:
    """The tests that a unit defines; those of the loop over three desyncs by their numbers."""
    source = (suite / "tests" / f"{unit}.tcl").read_text()
    names = set(re.findall(r'^ *test ["{](.+?)["}] \{', source, re.MULTILINE))
    loop = "Protocol desync regression test #$c"
    assert loop in names
    return names - {loop} | {loop.replace("$c", str(number)) for number in (1, 2, 3)}


def test_protocol_tests_of_redis_pass(suite: Path, port: int) -> None:
    names = names_of(suite, "unit/protocol")
    assert set(DESELECTED) < names
    deselect = [word for name in DESELECTED for word in ("--skiptest", name)]
    assert passed(suite, port, "unit/protocol", *deselect) == names - set(DESELECTED)


def test_connection_tests_of_redis_pass(suite: Path, port: int) -> None:
    select = [word for name in SELECTED for word in ("--only", name)]
    assert passed(suite, port, "unit/introspection", *select) == set(SELECTED)
