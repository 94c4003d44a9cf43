"""cli: the command `hrmr`.

Exit codes: 0 done, 1 it failed, 2 it was called wrongly (a bad flag, variable or hrmr.toml).
"""

import logging
import os
import platform
import shlex
import sys
from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import NoReturn

import click

from . import ABI, __version__, paths
from .admin_token import read_admin_token
from .build import (
    SOURCE_FOLDER,
    BuildOptions,
    Built,
    build_modules,
    find_orphans,
    find_refused,
    find_skipped,
    find_sources,
)
from .client import Place, ask
from .config import Config, read_config
from .errors import ClientError, HrmrError, OptionError
from .kinds import FOREVER_S, Places, Seconds, Switch
from .log import attach_log_handler
from .options import TABLE, Option, Values, make_options, read_variables, unknown_variables
from .reload_table import read_answer
from .serve import serve
from .server import Server

_CONFIG_FILE = "hrmr.toml"
_CONFIG_VARIABLE = "HRMR_CONFIG"
_LOCAL_MODULES = "modules"
_RELOAD_TIMEOUT_S = 60.0
_SHOWN_CHARACTERS_MAX = 60  # of an answer that is not ours
_ABOUT = "About"

# The original took these with one dash.
_OLD_FLAGS = {"-port": "--port", "-threads": "--threads"}

_EXAMPLES = """
Examples:
  hrmr                                  serve the bundled modules and ./modules on port 8080
  hrmr --port 9000 --static site        another port, your own pages
  hrmr --modules build/modules --no-bundled
  hrmr build && hrmr reload             compile ./module_src, then swap the new code in
  echo RELOAD | nc -N localhost 8080    the same reload, from anything that speaks TCP

Every flag is also a key of the table [server] in hrmr.toml (--idle-timeout is
idle_timeout) and a variable (HRMR_IDLE_TIMEOUT). A flag wins over a variable,
a variable over the file. Signals: HUP reloads, TERM and INT shut down, a second
one exits at once.
"""


class _ServeCommand(click.Command):
    """Shows its options in the groups of the table."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        words = list(args)
        try:
            return super().parse_args(ctx, args)
        except click.UsageError:
            # `hrmr --port 9000 reload` came here as `hrmr serve --port 9000 reload`.
            for before, word in pairwise(words):
                is_value = before.startswith("-") and "=" not in before
                if word in hrmr.commands and not is_value:
                    words.remove(word)
                    call = shlex.join(["hrmr", word, *words])
                    raise click.UsageError(f"put the command first: {call}", ctx) from None
            raise

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        groups: dict[str, list[tuple[str, str]]] = {}
        for parameter in self.get_params(ctx):
            row = parameter.get_help_record(ctx)
            if row is not None:
                option = TABLE.get(parameter.name or "")
                groups.setdefault(option.group if option else _ABOUT, []).append(row)
        for title, rows in groups.items():
            with formatter.section(title):
                formatter.write_dl(rows)

    def format_epilog(self, _ctx: click.Context, formatter: click.HelpFormatter) -> None:
        formatter.write(_EXAMPLES)


class _HrmrGroup(click.Group):
    """`hrmr --port 80` is `hrmr serve --port 80`; `hrmr --help` shows both."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        if not args or (args[0].startswith("-") and args[0] not in ("--help", "-h", "--version")):
            args = ["serve", *args]
        if args[0] in ("serve", "reload"):
            args = [_modern_flag(word) for word in args]
        return super().parse_args(ctx, args)

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        self.format_commands(ctx, formatter)
        serve_command.format_options(ctx, formatter)

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        serve_command.format_epilog(ctx, formatter)


def main(args: Sequence[str] | None = None) -> NoReturn:
    """The entry point: runs the command and exits."""
    try:
        code = hrmr.main(args=args, prog_name="hrmr", standalone_mode=False)
        sys.exit(code if isinstance(code, int) else 0)
    except click.ClickException as error:
        _exit_with(_sentence(error), error.exit_code)
    except HrmrError as error:
        _exit_with(str(error), error.exit_code)
    except (click.Abort, KeyboardInterrupt):
        _exit_with("interrupted", 130)
    except BrokenPipeError:
        # Whoever read our output has gone; Python would complain about it at its end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)


_version_option = click.version_option(
    __version__,
    message=f"hrmr %(version)s (module ABI {ABI[0]}.{ABI[1]}, Python {platform.python_version()})",
)


@click.group(
    cls=_HrmrGroup,
    options_metavar="",
    subcommand_metavar="[serve|build|reload|sdk] [OPTIONS]",
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
@_version_option
def hrmr() -> None:
    """A hot-reloadable module router: one TCP port, C++ and Python modules, code swapped while it
    serves. Without a command it serves.

    This is no server for the open internet: put it on a network you trust.
    """


def _options_of_table(command: click.Command) -> click.Command:
    for option in TABLE.values():
        command.params.append(_click_option(option))
    config = click.Option(
        ["--config"], metavar="FILE", help="Configuration file. [default: ./hrmr.toml if there]"
    )
    command.params.append(config)
    return command


def _click_option(option: Option) -> click.Option:
    if isinstance(option.kind, Switch):
        flags = f"{option.flag}/--no-{option.flag.removeprefix('--')}"
        return click.Option([flags], default=None, help=_help_of(option))
    is_list = isinstance(option.kind, Places)
    return click.Option(
        [option.flag],
        metavar=option.kind.metavar,
        multiple=is_list,
        default=None,
        help=_help_of(option),
    )


def _help_of(option: Option) -> str:
    if option.default in (None, ()):
        return option.help
    return f"{option.help} [default: {option.kind.show(option.default)}]"


@click.command("serve", cls=_ServeCommand)
@_version_option
@click.pass_context
def serve_command(ctx: click.Context, /, config: str | None, **flags: object) -> int:
    """Serve (the default command)."""
    file = _read_config_file(config)
    layers: list[Values] = [file.options, read_variables(os.environ), _read_flags(flags)]
    if not any("modules" in layer for layer in layers):
        layers.insert(0, {"modules": _local_modules()})
    options = make_options(*layers)
    handler = attach_log_handler(options.log_level, options.log_format)
    ctx.call_on_close(handler.flush)
    for warning in unknown_variables(os.environ, [_CONFIG_VARIABLE]):
        logging.getLogger("hrmr.server").warning("%s", warning)
    return serve(Server.from_options(options, file.modules, file.policies))


@click.command("build")
@click.argument("folder", metavar="[DIR]", default=".")
@click.option("--force", is_flag=True, help="Build also what has not changed.")
@click.option(
    "--jobs", type=click.IntRange(1, 1024), metavar="N", help="Compilers at once. [default: CPUs]"
)
@click.option("--verbose", is_flag=True, help="Show the commands.")
def build_command(folder: str, force: bool, jobs: int | None, verbose: bool) -> int:
    """Compile DIR/module_src to DIR/modules.

    Each .cpp or .c file directly in module_src becomes one module: module_src/users.cpp becomes
    modules/users.so. Only what changed is compiled. DIR is the current folder unless given.

    The compiler is $CXX or $CC, else the system's; CPPFLAGS, CXXFLAGS, CFLAGS and LDFLAGS are
    added to HRMR's own flags.

    \b
    Examples:
      hrmr build
      hrmr build path/to/project
      LDFLAGS=-lsqlite3 hrmr build
      CXX="ccache g++" hrmr build
    """
    project = Path(folder)
    if not project.is_dir():
        raise OptionError(f"there is no folder {folder!r}: make it, or name another")
    options = BuildOptions(force, jobs or 0, verbose, sys.stdout.isatty())

    def show(built: Built) -> None:
        _show_built(built, verbose)

    all_built = build_modules(project, options, os.environ, show)
    refused = find_refused(project)
    if not find_sources(project) and not refused:
        click.echo(f"nothing to build: no .cpp or .c file in {project / SOURCE_FOLDER}")
    for skipped in find_skipped(project):
        click.echo(f"note: {skipped} is skipped: only .c and .cpp are built; rename it")
    for orphan in find_orphans(project):
        click.echo(f"note: {orphan} has no source any more; delete it to unload the module")
    for fault in refused:
        click.echo(f"hrmr: {fault}", err=True)
    return 0 if all_built else 1


@click.command("reload")
@click.argument("names", metavar="[NAME]...", nargs=-1)
@click.option("--host", metavar="TEXT", help="Where the server is. [default: 127.0.0.1]")
@click.option("--port", metavar="N", help="Its port. [default: 8080]")
@click.option("--unix", metavar="PATH", help="Its Unix socket, instead of host and port.")
@click.option(
    "--token", "admin_token", metavar="TOKEN", help="Its admin token; see also --token-file."
)
@click.option("--token-file", "admin_token_file", metavar="FILE", help="The file that has it.")
@click.option("--config", metavar="FILE", help="Read all of these from it. [default: ./hrmr.toml]")
@click.option(
    "--timeout",
    metavar="SECONDS",
    help="How long to wait for the answer; the reload itself goes on. [default: 60]",
)
def reload_command(
    names: tuple[str, ...],
    config: str | None,
    timeout: str | None,
    **flags: str | None,
) -> int:
    """Reload what changed in a running server.

    Reloads the modules whose files changed, loads new ones, unloads those whose files are gone;
    or only the modules that are named. Prints what happened to each: the generations of its code,
    the milliseconds, and why a load failed. Exits with 1 when one did: its old version then serves
    on.

    \b
    Examples:
      hrmr reload
      hrmr reload users orders --port 9000
      HRMR_ADMIN_TOKEN=... hrmr reload --host 10.0.0.5
      hrmr reload --unix /run/hrmr.sock
    """
    file = _read_config_file(config)
    options = make_options(file.options, read_variables(os.environ), _read_flags(flags))
    seconds = _read_timeout(timeout)
    for name in names:
        if not name or any(c.isspace() for c in name):
            raise OptionError(f"{name!r} is not the name of a module")
    # A host or port that is given wins over a socket that only the file or a variable names.
    is_tcp = options.unix is None or (
        flags["unix"] is None and bool(flags["host"] or flags["port"])
    )
    place = Place(options.host, options.port, None if is_tcp else options.unix)
    token = read_admin_token(options) if is_tcp else ""
    answer = ask(place, " ".join(["RELOAD", *names]), seconds, token)
    if not answer.strip():
        raise ClientError("the server closed the connection without an answer")
    lines = answer.strip().splitlines()
    if not lines[-1].startswith(("OK", "ERR ", "503 ")):
        begin = repr(lines[0][:_SHOWN_CHARACTERS_MAX])
        raise ClientError(f"{place} answered, but not as HRMR does: {begin}")
    if lines[-1].startswith("ERR RELOAD needs the admin token"):
        raise ClientError(
            f"{place} needs the admin token: give --token-file or --token, or set HRMR_ADMIN_TOKEN"
        )
    table = read_answer(answer)
    if table is None:
        click.echo(answer, nl=not answer.endswith("\n"))
        return 1 if any(line.startswith(("failed ", "ERR ", "503 ")) for line in lines) else 0
    click.echo("\n".join(table.lines()))
    return 0 if table.ok else 1


@click.command("sdk")
@click.option("--cmake-dir", is_flag=True, help="The folder of hrmrConfig.cmake.")
@click.option("--include-dir", is_flag=True, help="The folder of hrmr/abi.h and hrmr/module.hpp.")
def sdk_command(cmake_dir: bool, include_dir: bool) -> None:
    """Print where the module SDK is installed.

    \b
    Examples:
      cmake -S . -B build -Dhrmr_DIR="$(hrmr sdk --cmake-dir)"
      g++ -std=c++20 -O2 -g -fPIC -shared -fvisibility=hidden -fno-gnu-unique -Wall -Wextra \\
          -I"$(hrmr sdk --include-dir)" hello.cpp -o hello.so -Wl,--no-undefined -Wl,-z,now
    """
    if cmake_dir == include_dir:
        raise click.UsageError("say --cmake-dir or --include-dir")
    click.echo(paths.cmake_dir() if cmake_dir else paths.include_dir())


for _command in (_options_of_table(serve_command), build_command, reload_command, sdk_command):
    hrmr.add_command(_command)


def _modern_flag(word: str) -> str:
    flag, equals, value = word.partition("=")
    return _OLD_FLAGS.get(flag, flag) + equals + value


def _local_modules() -> tuple[str, ...]:
    # Also when it is not there: `hrmr build` may make it while we serve.
    return (str(Path(_LOCAL_MODULES).absolute()),)


def _read_config_file(flag: str | None) -> Config:
    named = flag or os.environ.get(_CONFIG_VARIABLE)
    if named:
        if not Path(named).is_file():
            raise OptionError(
                f"{'--config' if flag else _CONFIG_VARIABLE}: there is no file {named!r}"
            )
        return read_config(Path(named))
    return read_config(Path(_CONFIG_FILE)) if Path(_CONFIG_FILE).exists() else Config()


def _read_flags(flags: Mapping[str, object]) -> Values:
    values: Values = {}
    for name, value in flags.items():
        option = TABLE[name]
        if value is None or value == ():
            continue
        if isinstance(value, str):
            values[name] = option.parse(value, option.flag, Path.cwd())
        else:
            values[name] = option.check(value, option.flag, Path.cwd())
    return values


def _read_timeout(flag: str | None) -> float:
    if flag is None:
        return _RELOAD_TIMEOUT_S
    try:
        return Seconds(FOREVER_S).parse(flag, Path.cwd())
    except ValueError as error:
        raise OptionError(f"--timeout: {error}") from None


def _show_built(built: Built, verbose: bool) -> None:
    if verbose and built.command:
        click.echo(built.command)
    if built.change == "unchanged":
        click.echo(f"unchanged {built.target}")
    else:
        name = built.target if built.change == "built" else built.source
        click.echo(f"{built.change:<9} {name} ({built.seconds:.1f} s)")
    sys.stdout.flush()
    if built.output:
        click.echo(built.output, nl=not built.output.endswith("\n"), err=True)


def _sentence(error: click.ClickException) -> str:
    message = error.format_message().rstrip(".")
    if isinstance(error, click.UsageError):
        path = error.ctx.command_path if error.ctx else "hrmr"
        return f"{message}; see `{path} --help`"
    return message


def _exit_with(message: str, code: int) -> NoReturn:
    click.echo("hrmr: " + " ".join(message.split("\n")), err=True)
    sys.exit(code)
