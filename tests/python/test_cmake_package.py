"""The CMake side: find_package(hrmr) in a user's project, and what our own build refuses."""

import subprocess
from pathlib import Path

import pytest
from conftest import StartServer, clean_environ
from hrmr import paths
from wire_client import ask

ROOT = Path(__file__).resolve().parents[2]
EXAMPLE = ROOT / "examples" / "cmake_module"


def cmake(*arguments: str | Path, fails: bool = False) -> str:
    """What CMake said; it must fail or succeed as told."""
    done = subprocess.run(
        ["cmake", *map(str, arguments)],
        env=clean_environ(),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    assert (done.returncode != 0) == fails, done.stdout
    return done.stdout


def build(source: Path, target: Path, fails: bool = False) -> str:
    cmake("-S", source, "-B", target, "-G", "Ninja", f"-Dhrmr_DIR={paths.cmake_dir()}")
    return cmake("--build", target, fails=fails)


def test_the_example_project_builds_a_module_that_serves(
    tmp_path: Path, start_server: StartServer
) -> None:
    build(EXAMPLE, tmp_path)
    server = start_server(modules=[tmp_path / "modules"])
    assert [ask(server.port, "COUNT") for _ in range(2)] == ["1", "2"]


def test_a_module_has_nothing_that_would_keep_it_loaded(tmp_path: Path) -> None:
    (tmp_path / "CMakeLists.txt").write_text((EXAMPLE / "CMakeLists.txt").read_text())
    source = ROOT / "tests" / "modules" / "gnu_unique.cpp"
    (tmp_path / "counter.cpp").write_text(source.read_text())
    build(tmp_path, tmp_path / "build")
    module = tmp_path / "build" / "modules" / "counter.so"
    report = subprocess.check_output(["readelf", "-dsW", module], text=True)
    assert "hrmr_module_v1" in report
    assert "SONAME" not in report
    assert "UNIQUE" not in report


def test_a_missing_symbol_is_an_error_of_the_build(tmp_path: Path) -> None:
    (tmp_path / "CMakeLists.txt").write_text((EXAMPLE / "CMakeLists.txt").read_text())
    (tmp_path / "counter.cpp").write_text("void nowhere();\nvoid somewhere() { nowhere(); }\n")
    assert "undefined reference to `nowhere()'" in build(tmp_path, tmp_path / "build", fails=True)


@pytest.mark.parametrize("system", ["Darwin", "Windows", "FreeBSD"])
def test_another_system_is_refused_in_one_sentence(tmp_path: Path, system: str) -> None:
    said = cmake("-S", ROOT, "-B", tmp_path, f"-DCMAKE_SYSTEM_NAME={system}", fails=True)
    assert f"HRMR needs Linux, being built on epoll; this is {system}." in said
    assert said.count("CMake Error") == 1
