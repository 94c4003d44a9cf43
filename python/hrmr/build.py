"""build: compiles every source of module_src to a module in modules.

What was built from what is kept in modules/.build: for each module the command line (as a hash)
and the size and time of every file that the compiler read. A module is built again when any of
them differs, its file was touched by somebody else, or it failed the last time.
"""

import hashlib
import json
import os
import re
import shlex
import subprocess
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from .compiler import LANGUAGES, Compiler, Language, find_compiler
from .errors import BuildError

SOURCE_FOLDER = "module_src"
MODULE_FOLDER = "modules"
_STATE_FOLDER = ".build"
_FOREIGN_SUFFIXES = (".cc", ".cxx", ".c++", ".cp", ".C", ".CPP")

# A file changed this shortly before the compiler began may have been read in its old state: the
# kernel's file times tick every few milliseconds.
_CLOCK_TICK_NS = 20_000_000

Stamp = list[int]  # size in bytes, modification time in nanoseconds


@dataclass(frozen=True)
class BuildOptions:
    """force: build also what has not changed. jobs: compilers at once. colour: of messages."""

    force: bool = False
    jobs: int = 0  # 0: one per processor
    verbose: bool = False
    colour: bool = False


@dataclass(frozen=True)
class Built:
    """What became of one source."""

    source: Path
    target: Path
    change: str  # "built", "unchanged" or "failed"
    output: str  # of the compiler, as it came
    command: str
    seconds: float


def build_modules(
    project: Path,
    options: BuildOptions,
    environ: Mapping[str, str],
    on_built: Callable[[Built], None],
) -> bool:
    """Builds what changed, in parallel; tells `on_built` of each as it is done. False: some
    failed, or find_refused has some. BuildError: nothing could be begun."""
    sources = find_sources(project)
    compilers = _find_compilers(sources, environ)
    state_folder = project / MODULE_FOLDER / _STATE_FOLDER
    try:
        state_folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise BuildError(f"cannot make the folder {state_folder}: {error.strerror}") from error

    def build(source: Path) -> Built:
        return _Job(source, project, compilers[source.suffix], options).run()

    jobs = options.jobs or len(os.sched_getaffinity(0))
    all_built = not find_refused(project)
    with ThreadPoolExecutor(jobs, thread_name_prefix="hrmr-build") as pool:
        try:
            for done in as_completed([pool.submit(build, source) for source in sources]):
                on_built(done.result())
                all_built = all_built and done.result().change != "failed"
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise
    return all_built


def find_sources(project: Path) -> list[Path]:
    """The .c and .cpp files directly in module_src that become modules, by name."""
    candidates = _find_candidates(project)
    return [source for source in candidates if not _fault(source, candidates)]


def find_refused(project: Path) -> list[str]:
    """Of the others in module_src that a name keeps from it: which, why, and what to do."""
    candidates = _find_candidates(project)
    faults = (_fault(source, candidates) for source in candidates)
    return list(dict.fromkeys(fault for fault in faults if fault))


def _fault(source: Path, candidates: list[Path]) -> str:
    if not re.fullmatch(r"[A-Za-z0-9_-]{1,64}", source.stem):
        return f"{source}: a module's name is 1 to 64 letters, digits, '-' and '_': rename it"
    same = [str(each) for each in candidates if each.stem == source.stem]
    if len(same) == 1:
        return ""
    return f"{' and '.join(same)} would both become {source.stem}.so: rename one of them"


def _find_candidates(project: Path) -> list[Path]:
    folder = project / SOURCE_FOLDER
    if not folder.is_dir():
        raise BuildError(
            f"there is no folder {folder}: each .cpp or .c file in it becomes one module"
        )
    suffixes = [language.suffix for language in LANGUAGES]
    found = [path for path in folder.iterdir() if path.suffix in suffixes and path.is_file()]
    # The server skips modules with such names too.
    return sorted(path for path in found if not path.name.startswith((".", "_")))


def find_skipped(project: Path) -> list[Path]:
    """C++ sources in module_src that are not built because of how their names end."""
    folder = project / SOURCE_FOLDER
    return sorted(path for path in folder.iterdir() if path.suffix in _FOREIGN_SUFFIXES)


def find_orphans(project: Path) -> list[Path]:
    """Modules that were built here and whose source is gone."""
    names = {source.stem for source in _find_candidates(project)}
    folder = project / MODULE_FOLDER
    states = sorted((folder / _STATE_FOLDER).glob("*.json"))
    orphans = [folder / f"{state.stem}.so" for state in states if state.stem not in names]
    return [path for path in orphans if path.exists()]


def _find_compilers(sources: list[Path], environ: Mapping[str, str]) -> dict[str, Compiler]:
    suffixes = {source.suffix for source in sources}
    needed: list[Language] = [item for item in LANGUAGES if item.suffix in suffixes]
    return {language.suffix: find_compiler(language, environ) for language in needed}


class _Job:
    """One source on its way to a module."""

    def __init__(
        self, source: Path, project: Path, compiler: Compiler, options: BuildOptions
    ) -> None:
        folder = project / MODULE_FOLDER
        self._source = source
        self._compiler = compiler
        self._options = options
        self._target = folder / f"{source.stem}.so"
        self._state = folder / _STATE_FOLDER / f"{source.stem}.json"
        # In the same file system as the target, and not shared with another build.
        self._fresh = self._state.with_suffix(f".{os.getpid()}.so")
        self._depfile = self._state.with_suffix(f".{os.getpid()}.d")

    def run(self) -> Built:
        began = time.monotonic()
        command = self._compiler.command(self._source, self._fresh, self._depfile)
        if not self._options.force and self._is_current():
            return self._built("unchanged", "", "", began)
        if self._options.colour:
            command.insert(len(self._compiler.program), "-fdiagnostics-color=always")
        began_ns = time.time_ns()
        try:
            ran = subprocess.run(
                command,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                errors="replace",
                check=False,
            )
            if ran.returncode == 0:
                self._keep(began_ns)
            else:
                self._state.unlink(missing_ok=True)
        finally:
            self._fresh.unlink(missing_ok=True)
            self._depfile.unlink(missing_ok=True)
        change = "built" if ran.returncode == 0 else "failed"
        return self._built(change, ran.stdout, shlex.join(command), began)

    def _built(self, change: str, output: str, command: str, began: float) -> Built:
        seconds = time.monotonic() - began
        return Built(self._source, self._target, change, output, command, seconds)

    def _is_current(self) -> bool:
        try:
            state = json.loads(self._state.read_bytes())
            if state["command"] != self._command_hash():
                return False
            return all(_stamp(Path(path)) == stamp for path, stamp in state["files"].items())
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            return False  # no state, or none that we wrote

    def _keep(self, began_ns: int) -> None:
        inputs = read_depfile(self._depfile.read_text(errors="surrogateescape"))
        files: dict[str, Stamp] = {}
        for path in {str(self._source), *inputs}:
            with suppress(FileNotFoundError):
                size, changed_ns = _stamp(Path(path))
                is_settled = changed_ns < began_ns - _CLOCK_TICK_NS
                files[path] = [size, changed_ns if is_settled else 0]
        # The server may read the module at any moment: it is never there in part.
        self._fresh.replace(self._target)
        files[str(self._target)] = _stamp(self._target)
        text = json.dumps({"command": self._command_hash(), "files": files}, indent=1)
        fresh_state = self._state.with_suffix(f".{os.getpid()}.json.part")
        fresh_state.write_text(text)
        fresh_state.replace(self._state)

    def _command_hash(self) -> str:
        # With fixed names for what differs from run to run.
        command = self._compiler.command(self._source, Path("target"), Path("depfile"))
        text = "\0".join([self._compiler.identity, *command])
        return hashlib.sha256(text.encode(errors="surrogateescape")).hexdigest()


def _stamp(path: Path) -> Stamp:
    status = path.stat()
    return [status.st_size, status.st_mtime_ns]


def read_depfile(text: str) -> list[str]:
    """The prerequisites of a depfile's one rule. Written by gcc and clang: `\\` ends a line that
    goes on, `\\ ` is a space in a name, `$$` a dollar."""
    rule = text.replace("\\\n", " ").partition(":")[2]
    names = rule.replace("\\ ", "\0").split()
    return [name.replace("\0", " ").replace("\\#", "#").replace("$$", "$") for name in names]
