"""The house rules of ARCHITECTURE.md, checked: who includes whom, sizes, names, layout.

Every rule is a function from a path and a text to a list of complaints, so that each can be shown
a bad snippet (the second half of this file) before it is trusted with the tree.
"""

import ast
import fnmatch
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]

LINE_COLUMNS_MAX = 100
FILE_LINES_MAX = 600
FUNCTION_LINES_MAX = 70
NESTING_MAX = 4
PARAMETERS_MAX = 5

# "path:function" -> why it may take more parameters.
MANY_PARAMETERS: dict[str, str] = {}

TOP_LEVEL = {
    *("cpp_core", "module_src", "python", "shared_src", "static_html"),
    *("tests", "bench", "docs", "examples", ".ci"),
    *("README.md", "ARCHITECTURE.md", "CHANGES.md", "COPYING", "COPYING.LESSER"),
    *("CMakeLists.txt", "pyproject.toml", ".gitignore", ".clang-format", ".clang-tidy"),
}

# What each room of cpp_core may include besides the standard library and itself.
ROOMS = {
    "base": set(),
    "wire": {"base"},
    "work": {"base"},
    "net": {"base"},
    "modules": {"base", "<hrmr>"},
    "server": {"base", "wire", "work", "net", "modules", "<hrmr>"},
    "bind": {"base", "work", "modules", "server", "<hrmr>", "<python>"},
}
OUTSIDE = {"module_src": {"<hrmr>"}, "shared_src": {"<hrmr>"}}

BANNED_WORDS = {"plugin", "manager", "helper", "util", "data"}
CPP = {".c", ".cpp", ".h", ".hpp"}
CODE = {*CPP, ".py", ".pyi", ".cmake"}
BINARY = {".case", ".png", ".ico", ".woff2", ".pdf"}

Rule = Callable[[str, str], list[str]]


def is_ignored(path: Path, patterns: list[str]) -> bool:
    """Whether .gitignore names it; a pattern that begins with "/" is for the top level only."""
    at_top = path.parent == ROOT
    return any(
        fnmatch.fnmatch(path.name, pattern.strip("/"))
        for pattern in patterns
        if at_top or not pattern.startswith("/")
    )


def files() -> Iterator[Path]:
    """Every file of the tree that is not ignored by git."""
    patterns = [".git", *(ROOT / ".gitignore").read_text().split()]
    folders = [ROOT]
    while folders:
        for path in sorted(folders.pop().iterdir()):
            if is_ignored(path, patterns):
                continue
            if path.is_dir():
                folders.append(path)
            else:
                yield path


def is_code(path: str) -> bool:
    return Path(path).suffix in CODE or path.endswith("CMakeLists.txt") or path == ".ci/run"


def words(name: str) -> set[str]:
    """The lower-case words of a snake_case or CamelCase name, singular."""
    parts = re.findall(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])", name)
    return {part.lower() for part in parts} | {part.lower().removesuffix("s") for part in parts}


# ---------------------------------------------------------------------------- rules for all code


def check_sizes(path: str, text: str) -> list[str]:
    lines = text.splitlines()
    complaints = [
        f"{path}:{number}: {len(line)} columns"
        for number, line in enumerate(lines, 1)
        if len(line) > LINE_COLUMNS_MAX
    ]
    if len(lines) > FILE_LINES_MAX:
        complaints.append(f"{path}: {len(lines)} lines")
    return complaints


def check_file_name(path: str, text: str) -> list[str]:
    banned = words(Path(path).stem) & BANNED_WORDS
    return [f"{path}: file is named {word}" for word in sorted(banned)]


def check_machine_paths(path: str, text: str) -> list[str]:
    found = re.findall(r"(?<![\w.~/-])/(?:root|home|work)/[\w.-]+", text)
    return [f"{path}: path of one machine: {place}" for place in found]


# ---------------------------------------------------------------------------- C and C++


def check_includes(path: str, text: str) -> list[str]:
    folder, room = (*path.split("/"), "")[:2]
    if folder == "cpp_core":
        allowed = ROOMS[room] | {room}
    elif folder in OUTSIDE:
        allowed = OUTSIDE[folder]
    else:
        return []
    complaints = []
    for bracket, target in re.findall(r'^\s*#\s*include\s*([<"])([^>"]+)', text, re.MULTILINE):
        origin = target.split("/")[0]
        if target == "Python.h" or origin == "pybind11":
            origin = "<python>"
        elif origin == "hrmr":
            origin = "<hrmr>"
        elif bracket == "<":
            continue
        elif folder in OUTSIDE and "/" not in target:
            continue  # what is beside it: module.hpp includes abi.h
        elif folder == "module_src" and origin == Path(room).stem:
            continue  # the headers of one module are in the folder of its name
        if origin not in allowed:
            complaints.append(f"{path}: may not include {target}")
    return complaints


LITERALS = re.compile(
    r'R"(?P<tag>\w*)\(.*?\)(?P=tag)"'
    r'|"(?:\\.|[^"\\\n])*"'
    r"|(?<![0-9a-fA-F])'(?:\\.|[^'\\\n])+'"
    r"|//[^\n]*|/\*.*?\*/"
    r"|^[ \t]*#(?:\\\n|[^\n])*",
    re.DOTALL | re.MULTILINE,
)
INITIALIZER = re.compile(r"(?<=[\w>)\]])\{[^{}]*\}")
CONTROL = re.compile(r"\s*(?:if|else|for|while|do|switch|try|catch)\b")
TYPE = re.compile(r"\b(?:class|struct|union|enum|namespace)\s+(\w+)")
PARAMETER_LIST = re.compile(r"(?P<name>operator\W{1,3}|[\w~]+)\((?P<rest>.*)", re.DOTALL)
NOT_FUNCTIONS = {"alignas", "decltype", "noexcept", "requires", "__attribute__"}


@dataclass
class Block:
    """What stands between a pair of braces of clang-formatted code."""

    header: str
    first_line: int
    parent: "Block | None"
    last_line: int = 0

    def ancestors(self) -> "Iterator[Block]":
        block = self.parent
        while block:
            yield block
            block = block.parent

    def function(self) -> tuple[str, str] | None:
        """The name and the text from the parameters on, if a function begins here."""
        header = self.header.replace("operator()(", "operator_call(")
        if CONTROL.match(header) or header.rstrip().endswith(("=", "return")):
            return None
        if any(block.function() for block in self.ancestors()):
            return None
        for found in PARAMETER_LIST.finditer(header):
            if found["name"] not in NOT_FUNCTIONS:
                return found["name"], found["rest"]
        return None


def without_literals(text: str) -> str:
    """Comments, strings, preprocessor lines and `name{value}` blanked; lines as they were."""

    def blank(found: re.Match[str]) -> str:
        return "\n" * found.group().count("\n")

    text = LITERALS.sub(blank, text)
    while INITIALIZER.search(text):
        text = INITIALIZER.sub(blank, text)
    return text


def blocks(code: str) -> Iterator[Block]:
    """Every block, each after those inside it."""
    block: Block | None = None
    header, line = "", 1
    for char in code:
        if char == "{":
            block = Block(header, line - header.lstrip().count("\n"), block)
        elif char == "}" and block:
            block.last_line = line
            yield block
            block = block.parent
        line += char == "\n"
        header = "" if char in "{};" else header + char


def count_parameters(text: str) -> int:
    """How many parameters there are, up to the parenthesis that closes their list."""
    depth, commas, seen = 0, 0, ""
    for char in text:
        depth += (char in "([<") - (char in ")]>")
        if depth < 0:
            break
        commas += char == "," and depth == 0
        seen += char
    return 0 if seen.strip() in ("", "void") else commas + 1


def check_cpp(path: str, text: str) -> list[str]:
    code = without_literals(text)
    names = set(TYPE.findall(code))
    complaints = []
    for block in blocks(code):
        depth = sum(bool(CONTROL.match(each.header)) for each in (block, *block.ancestors()))
        if CONTROL.match(block.header) and depth == NESTING_MAX + 1:
            complaints.append(f"{path}:{block.first_line}: nests {depth} deep")
        if not (function := block.function()):
            continue
        name, parameters = function[0], count_parameters(function[1])
        names.add(name)
        complaints += check_function(path, name, block.last_line - block.first_line + 1, parameters)
    names.discard("data")  # what the standard's containers call their bytes
    return complaints + check_names(path, names)


def check_function(path: str, name: str, lines: int, parameters: int) -> list[str]:
    complaints = []
    if lines > FUNCTION_LINES_MAX:
        complaints.append(f"{path}: {name} has {lines} lines")
    if parameters > PARAMETERS_MAX and f"{path}:{name}" not in MANY_PARAMETERS:
        complaints.append(f"{path}: {name} takes {parameters} parameters")
    return complaints


def check_names(path: str, names: set[str]) -> list[str]:
    return [
        f"{path}: banned word in {name}" for name in sorted(names) if words(name) & BANNED_WORDS
    ]


# ---------------------------------------------------------------------------- Python

FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)
CONTROLS = (ast.If, ast.For, ast.AsyncFor, ast.While, ast.With, ast.AsyncWith, ast.Try, ast.Match)


def nesting(node: ast.AST) -> int:
    """How deep the control statements in `node` nest; an `elif` is as deep as its `if`."""
    deepest = 0
    for field, value in ast.iter_fields(node):
        children = value if isinstance(value, list) else [value]
        is_elif = field == "orelse" and len(children) == 1 and isinstance(children[0], ast.If)
        for child in children:
            if isinstance(child, ast.AST):
                deepest = max(deepest, nesting(child) - is_elif)
    return deepest + isinstance(node, CONTROLS)


def check_python(path: str, text: str) -> list[str]:
    complaints, names = [], set()
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, (ast.ClassDef, *FUNCTIONS)):
            names.add(node.name)
        if isinstance(node, FUNCTIONS):
            every = [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs]
            parameters = sum(each.arg not in ("self", "cls") for each in every)
            lines = (node.end_lineno or node.lineno) - node.lineno + 1
            complaints += check_function(path, node.name, lines, parameters)
            if nesting(node) > NESTING_MAX:
                complaints.append(f"{path}: {node.name} nests {nesting(node)} deep")
    return complaints + check_names(path, names)


def check_click(path: str, text: str) -> list[str]:
    """Only the command line may need click: the embedding API stays free of dependencies."""
    is_cli = Path(path).stem.startswith("cli") or "/cli/" in path
    uses = re.search(r"^\s*(?:import|from) click\b", text, re.MULTILINE)
    return [f"{path}: imports click"] if uses and not is_cli else []


# ---------------------------------------------------------------------------- the tree

RULES: list[tuple[Rule, Callable[[str], bool]]] = [
    (check_sizes, is_code),
    (check_file_name, lambda _: True),
    (check_machine_paths, lambda path: Path(path).suffix not in BINARY),
    (check_includes, lambda path: Path(path).suffix in CPP),
    (check_cpp, lambda path: Path(path).suffix in CPP),
    (check_python, lambda path: path.endswith(".py")),
    (check_click, lambda path: path.startswith("python/") and path.endswith(".py")),
]


@pytest.mark.parametrize("rule", [rule for rule, _ in RULES], ids=lambda rule: rule.__name__)
def test_tree_keeps_the_rule(rule: Rule) -> None:
    applies = dict(RULES)[rule]
    complaints: list[str] = []
    for path in files():
        name = path.relative_to(ROOT).as_posix()
        if applies(name):
            complaints += rule(name, path.read_text(errors="replace"))
    assert not complaints, "\n".join(["", *complaints])


def test_top_level_is_as_drawn() -> None:
    found = {path.relative_to(ROOT).parts[0] for path in files()}
    assert found <= TOP_LEVEL
    assert {"cpp_core", "module_src", "python", "shared_src", "tests"} <= found


# ---------------------------------------------------------------------------- the rules themselves

LONG = "\n".join(["  step();"] * FUNCTION_LINES_MAX)
DEEP = "if (a) {\n" * (NESTING_MAX + 1) + "}\n" * (NESTING_MAX + 1)
HOUSE = "/" + "root/notes"  # in two parts, or this file would break its own rule

BAD: list[tuple[Rule, str, str]] = [
    (check_sizes, "a.py", "x" * (LINE_COLUMNS_MAX + 1)),
    (check_sizes, "a.py", "\n" * (FILE_LINES_MAX + 1)),
    (check_file_name, "python/hrmr/string_utils.py", ""),
    (check_file_name, "cpp_core/work/ThreadManager.h", ""),
    (check_machine_paths, "README.md", f"see {HOUSE}"),
    (check_includes, "cpp_core/wire/a.cpp", '#include "net/event_loop.h"'),
    (check_includes, "cpp_core/base/a.h", '#  include "wire/request.h"'),
    (check_includes, "cpp_core/net/a.cpp", "#include <hrmr/abi.h>"),
    (check_includes, "cpp_core/server/a.cpp", "#include <pybind11/pybind11.h>"),
    (check_includes, "cpp_core/server/a.cpp", "#include <Python.h>"),
    (check_includes, "cpp_core/server/a.cpp", '#include "bind/extension.h"'),
    (check_includes, "cpp_core/wire/a.cpp", '#include "framer.h"'),
    (check_includes, "module_src/http.cpp", '#include "base/fd.h"'),
    (check_includes, "shared_src/hrmr/module.hpp", '#include "base/fd.h"'),
    (check_includes, "module_src/echo.cpp", '#include "http/path.h"'),
    (check_cpp, "a.cpp", f"void Loop::run(int a) const {{\n{LONG}\n}}\n"),
    (check_cpp, "a.cpp", f"class Loop {{\n  Loop() : a_(1), b_{{2}} {{\n{LONG}\n  }}\n}};\n"),
    (check_cpp, "a.cpp", f"namespace x {{\nvoid run() {{\n{DEEP}}}\n}}\n"),
    (check_cpp, "a.cpp", "int f(int a, int b, std::map<int, int> c, int d, int e, int g) {}\n"),
    (check_cpp, "a.cpp", "class BufferManager;\n"),
    (check_cpp, "a.cpp", "void load_plugin(int a) {\n}\n"),
    (check_python, "a.py", "def f():\n" + "    step()\n" * FUNCTION_LINES_MAX),
    (check_python, "a.py", "def f(self, a, b, c, *, d, e, f): ...\n"),
    (check_python, "a.py", "class RequestData: ...\n"),
    (check_python, "a.py", "async def run_helper(): ...\n"),
    (
        check_python,
        "a.py",
        "def f():\n" + "".join("  " * i + "if a:\n" for i in range(1, 6)) + "  " * 6 + "pass\n",
    ),
    (check_click, "python/hrmr/server.py", "import os\nimport click\n"),
]


@pytest.mark.parametrize(("rule", "path", "text"), BAD)
def test_rule_finds_the_fault(rule: Rule, path: str, text: str) -> None:
    assert len(rule(path, text)) == 1


GOOD: list[tuple[Rule, str, str]] = [
    (check_sizes, "a.py", "\n".join(["x" * LINE_COLUMNS_MAX] * FILE_LINES_MAX)),
    (check_file_name, "cpp_core/base/database.h", ""),
    (check_machine_paths, "README.md", "GET /api/home/page; ~/work/x; tests/root/a"),
    (check_includes, "cpp_core/modules/a.h", '#include <hrmr/abi.h>\n#include "base/fd.h"'),
    (check_includes, "shared_src/hrmr/module.hpp", '#include <cstring>\n#include "abi.h"'),
    (check_includes, "module_src/http.cpp", '#include "http/path.h"'),
    (check_includes, "module_src/http/ranges.h", '#include "etag.h"\n#include <hrmr/abi.h>'),
    (check_includes, "cpp_core/bind/a.cpp", '#include <pybind11/stl.h>\n#include "server/a.h"'),
    (check_cpp, "a.cpp", f"namespace hrmr {{\nvoid f() {{}}\n{LONG}\nvoid g() {{}}\n}}\n"),
    (check_cpp, "a.cpp", "void f() {\n  say(\"{{{ data_helper() {\", '{');  // {\n}\n" * 50),
    (check_cpp, "a.cpp", "char* data() { return data_; }\nint database() { return 1; }\n"),
    (check_cpp, "a.cpp", "int f(int a, std::map<int, int> b, int (*c)(int, int), int d, int e) {}"),
    (check_cpp, "a.cpp", "void f() {\n" + "if (a) {\n} else if (b) {\n}\n" * 9 + "}\n"),
    (check_python, "a.py", "def f():\n" + "    step()\n" * (FUNCTION_LINES_MAX - 1)),
    (check_python, "a.py", "def f(self, a, b, c, d, *, e): ...\n"),
    (
        check_python,
        "a.py",
        "def f():\n  if a:\n    pass\n" + "  elif b:\n    pass\n" * 9,
    ),
    (check_click, "python/hrmr/cli.py", "import click\n"),
]


@pytest.mark.parametrize(("rule", "path", "text"), GOOD)
def test_rule_lets_good_code_pass(rule: Rule, path: str, text: str) -> None:
    assert rule(path, text) == []
