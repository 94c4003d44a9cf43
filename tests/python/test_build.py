"""`hrmr build`: what is compiled, when, and what is said about it."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from conftest import DEADLINE_S, clean_environ
from hrmr.build import find_sources, read_depfile
from hrmr.compiler import LANGUAGES, find_compiler
from hrmr.errors import BuildError

MODULE_CPP = """
#include <hrmr/module.hpp>
static void answer(const hrmr::Request&, hrmr::Reply& reply) { reply.write("one\\n"); }
static void load(hrmr::Module& module) { module.route("NAME", answer); }
HRMR_MODULE("NAME", "1.0", load)
"""
MODULE_C = """
#include <hrmr/abi.h>
static int load(hrmr_load *load) { (void)load; return HRMR_OK; }
HRMR_EXPORT const hrmr_module hrmr_module_v1 = {
    .size = sizeof(hrmr_module), .abi = HRMR_ABI, .name = "NAME", .version = "1", .load = load};
"""


class Project:
    """A folder with module_src. Its sources are older than any clock tick that matters."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        (folder / "module_src").mkdir()

    def write(self, name: str, text: str, age_s: float = 100.0) -> Path:
        path = self.folder / "module_src" / name
        path.write_text(text.replace("NAME", path.stem))
        written = time.time() - age_s
        os.utime(path, (written, written))
        return path

    def build(self, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "hrmr", "build", *arguments],
            cwd=self.folder,
            env=clean_environ(variables),
            capture_output=True,
            text=True,
            timeout=DEADLINE_S * 2,
            check=False,
        )

    def said(self, *arguments: str, **variables: str) -> list[str]:
        """The first two words of each line of a build that went well."""
        ran = self.build(*arguments, **variables)
        assert (ran.returncode, ran.stderr) == (0, "")
        return sorted(" ".join(line.split()[:2]) for line in ran.stdout.splitlines())


@pytest.fixture
def project(tmp_path: Path) -> Project:
    return Project(tmp_path)


def test_builds_c_and_cpp_sources_to_modules(project: Project) -> None:
    project.write("users.cpp", MODULE_CPP)
    project.write("plain.c", MODULE_C)
    assert project.said() == ["built modules/plain.so", "built modules/users.so"]
    left = sorted(path.name for path in (project.folder / "modules").iterdir())
    assert left == [".build", "plain.so", "users.so"]
    names = sorted(path.name for path in (project.folder / "modules/.build").iterdir())
    assert names == ["plain.json", "users.json"]


def test_sources_whose_names_end_otherwise_are_noted(project: Project) -> None:
    project.write("users.cc", MODULE_CPP)
    project.write("notes.h", "")
    ran = project.build()
    assert (ran.returncode, ran.stderr) == (0, "")
    note = "note: module_src/users.cc is skipped: only .c and .cpp are built; rename it"
    assert ran.stdout.splitlines()[1:] == [note]


def test_a_module_exports_its_one_symbol_and_nothing_unique(project: Project) -> None:
    gallery = Path(__file__).resolve().parents[1] / "modules"
    project.write("users.cpp", (gallery / "gnu_unique.cpp").read_text())
    project.said()
    listed = subprocess.run(
        ["nm", "-D", "--defined-only", "modules/users.so"],
        cwd=project.folder,
        capture_output=True,
        text=True,
        check=True,
    )
    kinds = [line.split()[1] for line in listed.stdout.splitlines()]
    assert "hrmr_module_v1" in listed.stdout
    assert "u" not in kinds


def test_compiles_only_what_changed(project: Project) -> None:
    project.write("users.cpp", '#include "shared.h"\n' + MODULE_CPP)
    project.write("orders.cpp", MODULE_CPP)
    project.write("shared.h", "")
    project.said()
    assert project.said() == ["unchanged modules/orders.so", "unchanged modules/users.so"]
    project.write("orders.cpp", MODULE_CPP + "\n", age_s=50)
    assert project.said() == ["built modules/orders.so", "unchanged modules/users.so"]
    project.write("shared.h", "//\n", age_s=50)
    assert project.said() == ["built modules/users.so", "unchanged modules/orders.so"]


def test_an_older_file_put_back_counts_as_changed(project: Project) -> None:
    project.write("users.cpp", MODULE_CPP, age_s=10)
    project.said()
    project.write("users.cpp", MODULE_CPP, age_s=1000)
    assert project.said() == ["built modules/users.so"]


def test_other_flags_a_lost_or_foreign_module_and_force_build_again(project: Project) -> None:
    project.write("users.cpp", MODULE_CPP)
    project.said()
    assert project.said(CXXFLAGS="-O0") == ["built modules/users.so"]
    assert project.said(CXXFLAGS="-O0") == ["unchanged modules/users.so"]
    (project.folder / "modules/users.so").unlink()
    assert project.said(CXXFLAGS="-O0") == ["built modules/users.so"]
    (project.folder / "modules/users.so").write_bytes(b"not ours")
    assert project.said(CXXFLAGS="-O0") == ["built modules/users.so"]
    assert project.said("--force", CXXFLAGS="-O0") == ["built modules/users.so"]


def test_a_state_file_that_is_rubbish_builds_again(project: Project) -> None:
    project.write("users.cpp", MODULE_CPP)
    project.said()
    for rubbish in ("", "[]", '{"command": 1}', "\x00"):
        (project.folder / "modules/.build/users.json").write_text(rubbish)
        assert project.said() == ["built modules/users.so"]


def test_a_broken_source_fails_with_the_compilers_words_and_the_others_are_built(
    project: Project,
) -> None:
    project.write("good.cpp", MODULE_CPP)
    project.write("bad.cpp", "int x = ;\n")
    ran = project.build()
    assert ran.returncode == 1
    assert "module_src/bad.cpp:1:9: error:" in ran.stderr
    assert "failed    module_src/bad.cpp" in ran.stdout
    assert "built     modules/good.so" in ran.stdout
    assert not (project.folder / "modules/bad.so").exists()


def test_a_failed_build_keeps_the_module_that_was_there(project: Project) -> None:
    project.write("users.cpp", MODULE_CPP)
    project.said()
    before = (project.folder / "modules/users.so").read_bytes()
    project.write("users.cpp", "int x = ;\n", age_s=50)
    assert project.build().returncode == 1
    assert (project.folder / "modules/users.so").read_bytes() == before
    project.write("users.cpp", MODULE_CPP)
    assert project.said() == ["built modules/users.so"]


def test_a_missing_symbol_is_an_error_of_the_build(project: Project) -> None:
    project.write("users.cpp", "void nowhere();\nvoid f() { nowhere(); }\n" + MODULE_CPP)
    ran = project.build()
    assert ran.returncode == 1
    assert "nowhere" in ran.stderr


def test_the_module_is_replaced_not_overwritten(project: Project) -> None:
    project.write("users.cpp", MODULE_CPP)
    project.said()
    with (project.folder / "modules/users.so").open("rb") as old:
        before = old.read()
        project.said("--force", CXXFLAGS="-O0")
        old.seek(0)
        assert old.read() == before
        assert old.fileno() != -1
        assert not os.path.samestat(
            os.fstat(old.fileno()), (project.folder / "modules/users.so").stat()
        )


def test_a_source_that_is_gone_is_noted_and_its_module_kept(project: Project) -> None:
    project.write("users.cpp", MODULE_CPP)
    project.said()
    (project.folder / "module_src/users.cpp").unlink()
    (project.folder / "modules/downloaded.so").touch()
    ran = project.build()
    assert ran.returncode == 0
    assert "modules/users.so has no source any more" in ran.stdout
    assert "downloaded" not in ran.stdout
    assert "nothing to build" in ran.stdout
    assert (project.folder / "modules/users.so").exists()


def test_another_folder_can_be_named(project: Project, tmp_path: Path) -> None:
    project.write("users.cpp", MODULE_CPP)
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    ran = subprocess.run(
        [sys.executable, "-m", "hrmr", "build", ".."],
        cwd=elsewhere,
        env=clean_environ(),
        check=False,
    )
    assert ran.returncode == 0
    assert (tmp_path / "modules/users.so").exists()


def test_names_with_spaces_and_dollars_in_the_path_are_followed(tmp_path: Path) -> None:
    folder = tmp_path / "a $b #c"
    folder.mkdir()
    project = Project(folder)
    project.write("users.cpp", '#include "my part.h"\n' + MODULE_CPP)
    project.write("my part.h", "")
    assert project.said() == ["built modules/users.so"]
    assert project.said() == ["unchanged modules/users.so"]
    project.write("my part.h", "//\n", age_s=50)
    assert project.said() == ["built modules/users.so"]


def test_verbose_shows_the_command(project: Project) -> None:
    project.write("users.cpp", MODULE_CPP)
    assert "-std=c++20 -O2 -g -fPIC -shared" in project.build("--verbose").stdout


@pytest.mark.parametrize("jobs", ["0", "x", "2000"])
def test_a_wrong_number_of_jobs_is_refused(project: Project, jobs: str) -> None:
    ran = project.build("--jobs", jobs)
    assert ran.returncode == 2
    assert ran.stderr.startswith("hrmr: Invalid value for '--jobs'")


def test_says_what_is_missing(tmp_path: Path) -> None:
    with pytest.raises(BuildError, match=r"there is no folder .*module_src"):
        find_sources(tmp_path)


def test_two_sources_for_one_module_are_refused(project: Project) -> None:
    project.write("users.cpp", "")
    project.write("users.c", "")
    project.write("plain.c", MODULE_C)
    ran = project.build()
    assert [line.split()[1] for line in ran.stdout.splitlines()] == ["modules/plain.so"]
    assert ran.returncode == 1
    assert ran.stderr == (
        "hrmr: module_src/users.c and module_src/users.cpp would both become users.so: "
        "rename one of them\n"
    )


def test_a_source_that_cannot_name_a_module_is_refused(project: Project) -> None:
    project.write("plain.c", MODULE_C)
    for name in ("my module.cpp", "my.module.cpp"):
        project.write(name, MODULE_CPP)
    for word in ("built", "unchanged"):  # the others
        ran = project.build()
        assert ran.returncode == 1
        (line,) = ran.stdout.splitlines()
        assert line.split()[:2] == [word, "modules/plain.so"]
        assert ran.stderr == (
            "hrmr: module_src/my module.cpp: a module's name is 1 to 64 letters, digits, '-' and "
            "'_': rename it\n"
            "hrmr: module_src/my.module.cpp: a module's name is 1 to 64 letters, digits, '-' and "
            "'_': rename it\n"
        )


def test_hidden_and_underscored_sources_and_folders_are_not_modules(project: Project) -> None:
    for name in (".#users.cpp", "_part.cpp", "notes.txt", "part.hpp"):
        project.write(name, "")
    (project.folder / "module_src/folder.cpp").mkdir()
    assert find_sources(project.folder) == []


def test_the_compiler_is_that_of_the_variable_with_its_arguments() -> None:
    compiler = find_compiler(LANGUAGES[0], clean_environ({"CXX": "g++ -pipe"}))
    assert compiler.program == ("g++", "-pipe")


def test_a_compiler_that_is_not_there_is_named() -> None:
    with pytest.raises(BuildError, match="CXX=no-such-compiler: there is no such program"):
        find_compiler(LANGUAGES[0], clean_environ({"CXX": "no-such-compiler"}))


def test_no_compiler_at_all_says_what_to_install(tmp_path: Path) -> None:
    with pytest.raises(BuildError, match=r"no C\+\+ compiler found: .*apt install g\+\+"):
        find_compiler(LANGUAGES[0], {"PATH": str(tmp_path)})


def test_builds_with_clang(project: Project) -> None:
    project.write("users.cpp", MODULE_CPP)
    project.write("plain.c", MODULE_C)
    assert project.said(CXX="clang++", CC="clang") == [
        "built modules/plain.so",
        "built modules/users.so",
    ]


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("a.so: a.cpp b.h\n", ["a.cpp", "b.h"]),
        ("a.so: a.cpp \\\n b.h\n", ["a.cpp", "b.h"]),
        ("a.so: my\\ a.cpp c$$d.h e\\#f.h\n", ["my a.cpp", "c$d.h", "e#f.h"]),
        ("", []),
    ],
)
def test_reads_depfiles(text: str, names: list[str]) -> None:
    assert read_depfile(text) == names
