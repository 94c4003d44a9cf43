"""tests/traps.md names files and tests that exist, and a test for every trap."""

import ast
import re
from dataclasses import dataclass
from pathlib import Path

import pytest

TESTS = Path(__file__).resolve().parents[1]
ROOT = TESTS.parent
TRAPS = range(1, 32)

CPP_TEST = re.compile(
    r'^TEST_CASE(?:_FIXTURE)?\((?:\w+,)?\s*((?:"(?:\\.|[^"\\])*"\s*)+)', re.MULTILINE
)
NAMED_TESTS = re.compile(r'`([\w/]+\.(?:cpp|py))`: ((?:(?:, )?(?:"[^"]+"|`\w+`))+)')


@dataclass
class Row:
    number: int
    remedies: list[str]
    tests: list[tuple[str, str]]  # file, name


def parse(text: str) -> list[Row]:
    rows = []
    for line in text.splitlines():
        if not (found := re.match(r"\| (\d+) \| (.+) \| (.+) \| (.+) \|$", line)):
            continue
        tests = [
            (path, name)
            for path, names in NAMED_TESTS.findall(found[4])
            for name in re.findall(r'["`]([^"`]+)["`]', names)
        ]
        remedies = re.findall(r"`([\w/.]+/[\w/.]+)`", found[3])
        rows.append(Row(int(found[1]), remedies, tests))
    return rows


def names_in(path: Path) -> set[str]:
    """The tests of a file, C++ or Python."""
    text = path.read_text()
    if path.suffix == ".cpp":
        return {
            "".join(re.findall(r'"((?:\\.|[^"\\])*)"', found)) for found in CPP_TEST.findall(text)
        }
    return {
        node.name
        for node in ast.parse(text).body
        if isinstance(node, ast.FunctionDef) and node.name.startswith("test_")
    }


ROWS = parse((TESTS / "traps.md").read_text())


def test_every_trap_has_its_row() -> None:
    assert [row.number for row in ROWS] == list(TRAPS)


@pytest.mark.parametrize("row", ROWS, ids=lambda row: str(row.number))
def test_what_the_row_names_exists(row: Row) -> None:
    assert [path for path in row.remedies if not (ROOT / path).is_file()] == []
    missing = [test for test in row.tests if test[1] not in names_in(TESTS / test[0])]
    assert missing == []
    assert row.tests
    assert row.remedies


def test_every_module_of_the_gallery_says_its_fault_first() -> None:
    gallery = [*(TESTS / "modules").iterdir(), *(TESTS / "python" / "modules").iterdir()]
    unclear = [
        path.name
        for path in gallery
        if not path.read_text().startswith(("// Fault: ", "// No fault", f"// {path.stem}: "))
    ]
    assert unclear == []


EXAMPLE = (
    "| 7 | A trap | do so: `a/b.cpp`, `-flag` "
    '| `cpp/x_test.cpp`: "one, two", "three"<br>`python/t.py`: `test_a` |'
)


def test_rows_are_read() -> None:
    [row] = parse(EXAMPLE)
    assert row.number == 7
    assert row.remedies == ["a/b.cpp"]
    assert row.tests == [
        ("cpp/x_test.cpp", "one, two"),
        ("cpp/x_test.cpp", "three"),
        ("python/t.py", "test_a"),
    ]


def test_names_are_found(tmp_path: Path) -> None:
    cpp = tmp_path / "a_test.cpp"
    cases = ('("one")', '_FIXTURE(F, "two")', '(\n    "three "\n    "parts")')
    cpp.write_text("".join(f"TEST_CASE{case} {{}}\n" for case in cases))
    assert names_in(cpp) == {"one", "two", "three parts"}
    python = tmp_path / "test_a.py"
    python.write_text("def test_one(): ...\ndef other(): ...\n")
    assert names_in(python) == {"test_one"}
