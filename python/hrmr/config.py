"""config: reads hrmr.toml.

    [server]                # the options of options.py
    port = 9000
    modules = ["modules"]   # relative paths start from the file's folder

    [modules.users]         # what the module "users" reads as its configuration
    db.path = "users.db"
    on_reload = "reject"    # for HRMR: how this module is reloaded, as is hold_timeout

docs/configuration.md has it all.
"""

import json
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date, datetime, time
from pathlib import Path

from .errors import ConfigError, OptionError
from .options import TABLE, Values, check_values, did_you_mean

ModuleConfig = dict[str, str]

# The keys of a module's table that are options of the server, for this module.
_OWN_OPTIONS = ("on_reload", "hold_timeout")


@dataclass(frozen=True)
class Config:
    """What a configuration file says."""

    options: Values = field(default_factory=dict)
    modules: dict[str, ModuleConfig] = field(default_factory=dict)
    policies: dict[str, Values] = field(default_factory=dict)


def read_config(path: Path) -> Config:
    """The file's content, checked. ConfigError names the file, and the key or line."""
    return _read_tables(_read_toml(path), path)


def module_tables(tables: object, place: str) -> tuple[dict[str, ModuleConfig], dict[str, Values]]:
    """Flat configurations, and options of their own (on_reload, hold_timeout), by module, of a
    table of module tables.

    A configuration is what hrmr_host::config promises: strings as they are, numbers and booleans
    as TOML writes them, other values as JSON, nested keys dotted. `place` is where `tables`
    stands, for the error message.
    """
    if not isinstance(tables, Mapping):
        raise ConfigError(f"{place}: must be a table with one table per module")
    configs: dict[str, ModuleConfig] = {}
    policies: dict[str, Values] = {}
    for name, table in tables.items():
        if not isinstance(table, Mapping):
            raise ConfigError(
                f"{place}.{name}: must be a table; options of the server belong in [server]"
            )
        configs[name] = {}
        for key, value in table.items():
            here = f"{place}.{name}.{key}"
            if key in _OWN_OPTIONS:
                policies.setdefault(name, {})[key] = TABLE[key].check(value, here, Path.cwd())
            elif str(key).replace("-", "_") in _OWN_OPTIONS:
                # As a flag is written: the module would get it, and nobody would say so.
                raise ConfigError(f'{here}: write it as "{str(key).replace("-", "_")}"')
            else:
                _flatten(configs[name], str(key), value, here)
    return configs, policies


def _read_toml(path: Path) -> dict[str, object]:
    try:
        return tomllib.loads(path.read_bytes().decode())
    except FileNotFoundError:
        raise ConfigError(f"{path}: there is no such file: name another with --config") from None
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path}: is not UTF-8 text (byte {error.start})") from error
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{path}: is not valid TOML: {error}") from error
    except RecursionError:
        raise ConfigError(f"{path}: is nested too deeply") from None


def _read_tables(tables: dict[str, object], path: Path) -> Config:
    for name in tables:
        if name in TABLE and name != "modules":
            raise ConfigError(f"{path}: {name}: belongs in the table [server]")
        if name not in ("server", "modules"):
            known = ("server", "modules")
            raise ConfigError(f"{path}: {name}: unknown{did_you_mean(name, known)}")
    server = tables.get("server", {})
    if not isinstance(server, dict):
        raise ConfigError(f"{path}: server: must be a table")
    try:
        values = check_values(server, f"{path}: server.{{}}", path.absolute().parent)
        configs, policies = module_tables(tables.get("modules", {}), f"{path}: modules")
    except ConfigError:
        raise
    except OptionError as error:
        raise ConfigError(str(error)) from None
    return Config(values, configs, policies)


def _flatten(flat: ModuleConfig, key: str, value: object, place: str) -> None:
    if isinstance(value, Mapping):
        for inner, inner_value in value.items():
            _flatten(flat, f"{key}.{inner}", inner_value, f"{place}.{inner}")
        return
    if key in flat:
        raise ConfigError(f"{place}: is there twice")
    flat[key] = _to_text(value, place)


def _to_text(value: object, place: str) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return repr(value)
    if isinstance(value, date | time):
        return value.isoformat()
    try:
        return json.dumps(value, ensure_ascii=False, default=_to_json)
    except (TypeError, ValueError) as error:
        raise ConfigError(f"{place}: cannot be written as text: {error}") from None


def _to_json(value: object) -> str:
    if isinstance(value, datetime | date | time):
        return value.isoformat()
    raise TypeError(f"a {type(value).__name__} is no configuration value")
