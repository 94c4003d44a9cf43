"""compiler: which compiler and flags make a module of a source file."""

import os
import shlex
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from . import paths
from .errors import BuildError

_COMMON_FLAGS = ("-O2", "-g", "-fPIC", "-shared", "-fvisibility=hidden", "-Wall", "-Wextra")
# Names that are missing are found when linking, not when the server loads the module.
_LINK_FLAGS = ("-Wl,--no-undefined", "-Wl,-z,now")
# Symbols that are unique in the process would keep dlclose from unloading the module.
_OPTIONAL_FLAGS = ("-fno-gnu-unique",)


@dataclass(frozen=True)
class Language:
    """One language that modules are written in."""

    name: str
    suffix: str
    standard: str
    compiler_variable: str
    flags_variable: str
    compilers: tuple[str, ...]
    package: str


LANGUAGES = (
    Language("C++", ".cpp", "-std=c++20", "CXX", "CXXFLAGS", ("c++", "g++", "clang++"), "g++"),
    Language("C", ".c", "-std=c11", "CC", "CFLAGS", ("cc", "gcc", "clang"), "gcc"),
)


@dataclass(frozen=True)
class Compiler:
    """A compiler with its flags. `identity` changes when another version is installed."""

    program: tuple[str, ...]
    flags: tuple[str, ...]
    link_flags: tuple[str, ...]
    identity: str

    def command(self, source: Path, target: Path, depfile: Path) -> list[str]:
        """Compiles and links in one go, and writes which files it read to `depfile`."""
        files = ["-MMD", "-MF", str(depfile), "-o", str(target), str(source)]
        return [*self.program, *self.flags, *files, *self.link_flags]


def find_compiler(language: Language, environ: Mapping[str, str]) -> Compiler:
    """The compiler of $CXX or $CC, else the first one that is installed."""
    program = _find_program(language, environ)
    optional = [flag for flag in _OPTIONAL_FLAGS if _accepts(program, flag)]
    flags = [language.standard, *_COMMON_FLAGS, *optional, f"-I{paths.include_dir()}"]
    # Those of the user come last: the compiler takes the last of two that contradict.
    flags += _words(environ, "CPPFLAGS") + _words(environ, language.flags_variable)
    link_flags = [*_LINK_FLAGS, *_words(environ, "LDFLAGS")]
    identity = _run([*program, "--version"]).stdout
    return Compiler(tuple(program), tuple(flags), tuple(link_flags), identity)


def _find_program(language: Language, environ: Mapping[str, str]) -> list[str]:
    wanted = _words(environ, language.compiler_variable)
    if wanted:
        if shutil.which(wanted[0], path=environ.get("PATH")) is None:
            raise BuildError(f"{language.compiler_variable}={wanted[0]}: there is no such program")
        return wanted
    for name in language.compilers:
        if shutil.which(name, path=environ.get("PATH")):
            return [name]
    raise BuildError(
        f"no {language.name} compiler found: install one (Debian: apt install "
        f"{language.package}), or name it in {language.compiler_variable}"
    )


def _words(environ: Mapping[str, str], variable: str) -> list[str]:
    try:
        return shlex.split(environ.get(variable, ""))
    except ValueError as error:
        raise BuildError(f"{variable}: {error}") from None


def _accepts(program: list[str], flag: str) -> bool:
    probe = [*program, flag, "-Werror", "-fsyntax-only", "-x", "c++", os.devnull]
    return _run(probe).returncode == 0


def _run(command: list[str]) -> subprocess.CompletedProcess[str]:
    try:
        return subprocess.run(command, capture_output=True, text=True, check=False)
    except OSError as error:
        raise BuildError(f"cannot run {command[0]}: {error.strerror}") from error
