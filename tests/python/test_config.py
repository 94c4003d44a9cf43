"""Options and hrmr.toml: values, precedence, and errors that say where to look."""

from collections.abc import Callable
from dataclasses import asdict, fields
from pathlib import Path
from typing import get_type_hints

import hrmr
import pytest
from hrmr.config import module_tables, read_config
from hrmr.options import (
    TABLE,
    Options,
    OptionValues,
    make_options,
    read_variables,
    unknown_variables,
)

ReadText = Callable[[str], object]


@pytest.fixture
def read(tmp_path: Path) -> Callable[[str], hrmr.config.Config]:
    def read_text(text: str) -> hrmr.config.Config:
        path = tmp_path / "hrmr.toml"
        path.write_text(text)
        return read_config(path)

    return read_text


def test_every_option_has_its_documented_default() -> None:
    assert asdict(make_options()) == {
        "host": "127.0.0.1",
        "port": 8080,
        "tcp": True,
        "unix": None,
        "unix_mode": 0o600,
        "admin": "loopback",
        "admin_token": None,
        "admin_token_file": None,
        "admin_host": (),
        "loops": 1,
        "threads": 4,
        "python_threads": 4,
        "modules": (),
        "bundled": True,
        "static": None,
        "on_reload": "auto",
        "hold_timeout": 5.0,
        "retire_timeout": 1.0,
        "watch": False,
        "watch_poll": 0.0,
        "drain_timeout": 10.0,
        "idle_timeout": 300.0,
        "header_timeout": 60.0,
        "body_timeout": 60.0,
        "write_timeout": 60.0,
        "min_rate": 500,
        "body_max": 16 * 1024 * 1024,
        "header_max": 64 * 1024,
        "target_max": 8 * 1024,
        "max_headers": 100,
        "line_max": 64 * 1024,
        "bulk_max": 64 * 1024 * 1024,
        "command_max": 128 * 1024 * 1024,
        "max_arguments": 1024 * 1024,
        "reply_max": 256 * 1024 * 1024,
        "output_max": 1024 * 1024,
        "max_pipeline": 1024,
        "max_connections": 65536,
        "max_connections_per_address": 0,
        "queue": 4096,
        "log_level": "info",
        "log_format": "text",
        "crash_report": True,
    }


def test_server_takes_every_option_by_name() -> None:
    taken_otherwise = {"port", "modules"}  # parameters of their own
    only_for_processes = {"log_format"}
    expected = {row.name for row in fields(Options)} - taken_otherwise - only_for_processes
    assert set(get_type_hints(OptionValues)) == expected


def test_a_variable_that_no_option_has_is_named() -> None:
    environ = {"HRMR_PROT": "1", "HRMR_PORT": "1", "HRMR_CONFIG": "a", "HRMR_OLD": "", "PATH": "b"}
    told = unknown_variables({**environ, "HRMR_XYZZY": "1"}, ["HRMR_CONFIG"])
    assert told == [
        'HRMR_PROT: no option has this variable; did you mean "HRMR_PORT"?',
        "HRMR_XYZZY: no option has this variable",
    ]


def test_every_default_is_a_value_that_its_own_kind_allows() -> None:
    for option in TABLE.values():
        if option.default not in (None, ()):
            assert option.check(option.default, "default", Path()) == option.default


def test_reads_the_server_table(read: ReadText) -> None:
    config = read('[server]\nport = 9000\nidle_timeout = 0.5\nbody_max = "2M"\nbundled = false\n')
    assert config.options == {
        "port": 9000,
        "idle_timeout": 0.5,
        "body_max": 2 << 20,
        "bundled": False,
    }


def test_paths_start_from_the_folder_of_the_file(read: ReadText, tmp_path: Path) -> None:
    (tmp_path / "more").mkdir()
    config = read('[server]\nmodules = ["more"]\nstatic = "more"\n')
    assert config.options == {
        "modules": (str(tmp_path / "more"),),
        "static": str(tmp_path / "more"),
    }


def test_module_tables_become_flat_texts(read: ReadText) -> None:
    config = read(
        """
        [modules.users]
        name = "the users"
        number = 42
        ratio = 1.5
        on = true
        day = 2026-01-31
        list = ["a", 1, "ä"]
        db.path = "users.db"
        db.pool.size = 3
        """
    )
    assert config.modules == {
        "users": {
            "name": "the users",
            "number": "42",
            "ratio": "1.5",
            "on": "true",
            "day": "2026-01-31",
            "list": '["a", 1, "ä"]',
            "db.path": "users.db",
            "db.pool.size": "3",
        }
    }


def test_on_reload_of_a_module_is_its_policy_and_not_its_configuration(read: ReadText) -> None:
    config = read('[modules.users]\non_reload = "hold"\nhold_timeout = 2\n')
    assert config.policies == {"users": {"on_reload": "hold", "hold_timeout": 2.0}}
    assert config.modules == {"users": {}}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[server]\nport = 80800\n", "server.port: 80800 is not a whole number from 0 to 65535"),
        ('[server]\nport = "80"\n', "server.port: '80' is not a whole number from 0 to 65535"),
        ("[server]\nport = true\n", "server.port: True is not a whole number from 0 to 65535"),
        ("[server]\nprot = 80\n", 'server.prot: unknown; did you mean "port"?'),
        ("port = 80\n", "port: belongs in the table [server]"),
        ("[sever]\n", 'sever: unknown; did you mean "server"?'),
        ("server = 1\n", "server: must be a table"),
        ("[server]\nthreads = 0\n", "server.threads: 0 is not a whole number from 1 to 1024"),
        (
            "[server]\nidle_timeout = -1\n",
            "server.idle_timeout: -1 is not a number of seconds from 0 to 31536000",
        ),
        (
            "[server]\ndrain_timeout = nan\n",
            "server.drain_timeout: nan is not a number of seconds from 0 to 31536000",
        ),
        (
            '[server]\non_reload = "wait"\n',
            "server.on_reload: 'wait' is not one of auto, swap, hold, reject",
        ),
        (
            '[server]\nmodules = ["no"]\n',
            "server.modules: there is no folder or file 'no': make it, or name another",
        ),
        (
            '[server]\nstatic = "no"\n',
            "server.static: there is no folder 'no': make it, or name another",
        ),
        ("[server]\nhost = ''\n", "server.host: '' is not a text"),
        (
            '[modules]\ndir = "x"\n',
            "modules.dir: must be a table; options of the server belong in [server]",
        ),
        (
            '[modules.a]\non_reload = "no"\n',
            "modules.a.on_reload: 'no' is not one of auto, swap, hold, reject",
        ),
        ('[modules.a]\non-reload = "hold"\n', 'modules.a.on-reload: write it as "on_reload"'),
        (
            '[modules.a]\nhold_timeout = "1s"\n',
            "modules.a.hold_timeout: '1s' is not a number of seconds from 0 to 31536000",
        ),
        ('[modules.a]\n"b.c" = 1\nb.c = 2\n', "modules.a.b.c: is there twice"),
    ],
)
def test_an_error_names_file_and_key(
    read: ReadText, tmp_path: Path, text: str, message: str
) -> None:
    with pytest.raises(hrmr.ConfigError) as error:
        read(text)
    assert str(error.value) == f"{tmp_path / 'hrmr.toml'}: {message}"
    assert error.value.exit_code == 2


def test_a_syntax_error_names_the_line(read: ReadText) -> None:
    with pytest.raises(hrmr.ConfigError, match=r"hrmr\.toml: is not valid TOML: .*line 2"):
        read("[server]\nport = \n")


def test_a_file_that_is_nested_without_end_is_an_error(read: ReadText) -> None:
    with pytest.raises(hrmr.ConfigError, match=r"hrmr\.toml: is nested too deeply"):
        read("[server]\nmodules = " + "[" * 100_000)


def test_a_file_that_is_no_text_or_not_there_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "hrmr.toml"
    with pytest.raises(hrmr.ConfigError, match="there is no such file"):
        read_config(path)
    path.write_bytes(b"\xff\xfe")
    with pytest.raises(hrmr.ConfigError, match="is not UTF-8 text"):
        read_config(path)
    with pytest.raises(hrmr.ConfigError, match="cannot be read: Is a directory"):
        read_config(tmp_path)


def test_variables_are_read_as_text(tmp_path: Path) -> None:
    (tmp_path / "one.py").touch()
    values = read_variables(
        {
            "HRMR_PORT": "9000",
            "HRMR_IDLE_TIMEOUT": "1.5",
            "HRMR_BODY_MAX": "64KiB",
            "HRMR_BUNDLED": "off",
            "HRMR_LOG_LEVEL": "DEBUG",
            "HRMR_MODULES": f"{tmp_path}:{tmp_path / 'one.py'}",
            "HRMR_THREADS": "",
            "HRMR_SOMETHING_ELSE": "1",
        }
    )
    assert values == {
        "port": 9000,
        "idle_timeout": 1.5,
        "body_max": 65536,
        "bundled": False,
        "log_level": "debug",
        "modules": (str(tmp_path), str(tmp_path / "one.py")),
    }


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("PORT", "eighty"),
        ("PORT", "8080.0"),
        ("PORT", "9" * 5000),
        ("PORT", "٨٠"),
        ("IDLE_TIMEOUT", "inf"),
        ("IDLE_TIMEOUT", "soon"),
        ("BODY_MAX", "16 parsecs"),
        ("HEADER_MAX", "15"),
        ("HEADER_MAX", "17M"),
        ("LINE_MAX", "0"),
        ("MAX_HEADERS", "1001"),
        ("MAX_PIPELINE", "0"),
        ("MIN_RATE", "-1"),
        ("UNIX", "/" + "x" * 107),
        ("UNIX_MODE", "0888"),
        ("UNIX_MODE", "rw-------"),
        ("ADMIN_TOKEN", "tooshort"),
        ("ADMIN_TOKEN_FILE", "/no/such/file"),
        ("ADMIN_HOST", "http://a"),
        ("BUNDLED", "maybe"),
        ("MODULES", "/no/such/folder"),
    ],
)
def test_an_error_names_the_variable(name: str, value: str) -> None:
    with pytest.raises(hrmr.OptionError, match=f"^HRMR_{name}: "):
        read_variables({f"HRMR_{name}": value})


def test_a_later_layer_wins() -> None:
    options = make_options({"port": 1, "threads": 1}, {"port": 2})
    assert (options.port, options.threads, options.loops) == (2, 1, 1)


def test_a_module_file_needs_a_known_suffix(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").touch()
    with pytest.raises(hrmr.OptionError, match="neither a folder nor a"):
        hrmr.Server(modules=tmp_path / "notes.txt")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"port": "80"}, r"Server\(port=...\): '80' is not a whole number"),
        ({"thread": 1}, r'Server\(thread=...\): unknown; did you mean "threads"\?'),
        ({"modules": 5}, r"Server\(modules=...\): 5 is not a list of folders"),
        ({"modules": [b"x"]}, r"Server\(modules=...\): b'x' is not a path"),
        ({"config": {"a": 1}}, r"Server\(config=...\).a: must be a table"),
        ({"config": {"a": {"b": object()}}}, r"Server\(config=...\).a.b: cannot be written"),
    ],
)
def test_an_error_names_the_argument(arguments: dict[str, object], message: str) -> None:
    with pytest.raises(hrmr.OptionError, match=message):
        hrmr.Server(**arguments)  # type: ignore[arg-type]


def test_a_server_in_a_program_has_no_bundled_modules_unless_asked() -> None:
    assert not hrmr.Server().options.bundled
    assert hrmr.Server(bundled=True).options.bundled


def test_configurations_may_come_from_python_values() -> None:
    configs, policies = module_tables({"a": {"n": 1, "on_reload": "reject"}}, "here")
    assert configs == {"a": {"n": "1"}}
    assert policies == {"a": {"on_reload": "reject"}}
