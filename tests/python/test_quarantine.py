"""Code that cannot be unloaded: named in RELOAD's answer and in the log, counted, and bounded."""

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from conftest import Serve, place
from hrmr import paths
from wire_client import exchange, reload

GALLERY = Path(__file__).parents[1] / "modules"
KEPT_IMAGES_MAX = 64  # limits::kKeptImagesMax

BuildGallery = Callable[..., Path]


@pytest.fixture
def build_gallery(tmp_path: Path) -> BuildGallery:
    def build(source: str, *flags: str, edition: int = 1) -> Path:
        """A module of tests/modules; editions differ in their bytes only."""
        path = GALLERY / source
        target = tmp_path / f"{path.stem}.{edition}.so"
        compiler = ["g++", "-std=c++20"] if path.suffix == ".cpp" else ["gcc", "-std=c11"]
        common = ["-O1", "-shared", "-fPIC", "-fvisibility=hidden", f"-I{paths.include_dir()}"]
        build_id = f"-Wl,--build-id=0x{edition:08x}"
        command = [*compiler, *common, build_id, *flags, str(path), "-o", str(target)]
        subprocess.run(command, check=True)
        return target

    return build


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        ("gnu_unique.cpp -fgnu-unique", "it has GNU-unique symbols, such as "),
        ("no_delete.c -Wl,-z,nodelete", "it was linked with -z nodelete"),
        ("thread_local_destructor.cpp", "it has a thread_local with a destructor"),
    ],
)
def test_what_stays_in_memory_is_named_in_the_answer_and_in_the_log(
    serve: Serve, modules: Path, build_gallery: BuildGallery, source: str, reason: str
) -> None:
    name = source.partition(".")[0]
    place(build_gallery(*source.split()), modules)
    server = serve()
    # Before it ever does harm.
    server.wait_for(f"{name}.so may stay in memory after each reload: {reason}")
    place(build_gallery(*source.split(), edition=2), modules)
    row, total = reload(server.port)
    assert row.startswith(f"reloaded {name} generation 1 -> 2 in ")
    assert f"; note: it may stay in memory after each reload: {reason}" in row
    assert f"; generation 1 is still mapped after dlclose: {reason}" in row
    assert total.endswith("; 1 old generation cannot be unloaded")
    server.wait_for(f"unloaded {name} generation 1, but it is still mapped after dlclose: {reason}")


def test_static_thread_local_storage_is_refused(
    serve: Serve, modules: Path, build_gallery: BuildGallery
) -> None:
    server = serve()
    place(build_gallery("static_tls.c"), modules)
    row, _ = reload(server.port)
    assert row.startswith("failed static_tls: ")
    assert "uses static (initial-exec) thread-local storage" in row


def test_the_quarantine_is_bounded_and_other_modules_are_reloaded_on(
    serve: Serve, modules: Path, build_gallery: BuildGallery
) -> None:
    flags = ("-Wl,-z,nodelete",)
    place(build_gallery("no_delete.c", *flags), modules)
    place(build_gallery("good.c", '-DPREFIX="GOOD"', '-DVERSION="1"'), modules)
    server = serve()
    editions = [build_gallery("no_delete.c", *flags, edition=number) for number in (2, 3)]
    for turn in range(KEPT_IMAGES_MAX):
        place(editions[turn % 2], modules, "no_delete")
        rows = reload(server.port)
        assert rows[1].startswith(f"reloaded no_delete generation {turn + 1} -> {turn + 2} in ")
        generations = "generation" if turn == 0 else "generations"
        assert rows[2].endswith(f"; {turn + 1} old {generations} cannot be unloaded")
    place(editions[KEPT_IMAGES_MAX % 2], modules, "no_delete")
    place(build_gallery("good.c", '-DPREFIX="GOOD"', '-DVERSION="2"', edition=2), modules)
    good, refused, _ = reload(server.port)
    assert good.startswith("reloaded good generation 1 -> 2 in ")
    assert refused.startswith("failed no_delete: 64 old generations, 64 of them of this module,")
    assert "restart HRMR" in refused
    assert f"(generation {KEPT_IMAGES_MAX + 1} serves on)" in refused
    assert exchange(server.port, "GOOD\n") == b"2"
