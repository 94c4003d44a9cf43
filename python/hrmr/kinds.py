"""Kinds of option values: what is allowed, and how to read it from text.

`parse` takes text (a flag, an environment variable), `check` a typed value (TOML, Python). Both
return the value as Options keeps it, or raise ValueError with what is wrong.
"""

import os
import re
from abc import ABC, abstractmethod
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path


class Kind(ABC):
    """One kind. `metavar` stands for the value in help texts."""

    metavar = "TEXT"

    @abstractmethod
    def check(self, value: object, base: Path) -> object:
        """The value as it is kept. `base`: the folder that relative paths start from."""

    def parse(self, text: str, base: Path) -> object:
        return self.check(text, base)

    def show(self, value: object) -> str:
        """The value for a help text."""
        return str(value)


class Text(Kind):
    def check(self, value: object, base: Path) -> str:  # noqa: ARG002
        if not isinstance(value, str) or not value or "\0" in value:
            raise ValueError(f"{value!r} is not a text")
        return value


class Secret(Kind):
    """A token: visible ASCII, long enough not to be guessed. Never shown."""

    metavar = "TOKEN"
    LOW, HIGH = 16, 512  # limits::kAdminTokenBytesMin, kAdminTokenBytesMax

    def check(self, value: object, base: Path) -> str:  # noqa: ARG002
        is_text = isinstance(value, str) and re.fullmatch(r"[\x21-\x7e]*", value)
        if not is_text or not self.LOW <= len(value) <= self.HIGH:  # type: ignore[arg-type]
            raise ValueError(
                f"a token has {self.LOW} to {self.HIGH} visible ASCII characters and no space; "
                "`openssl rand -hex 24` makes one"
            )
        return str(value)

    def show(self, value: object) -> str:  # noqa: ARG002
        return "..."


class HostNames(Kind):
    """Host names, separated by commas; no ports."""

    metavar = "NAME,..."

    def check(self, value: object, base: Path) -> tuple[str, ...]:  # noqa: ARG002
        names = value.split(",") if isinstance(value, str) else value
        if not isinstance(names, Iterable) or isinstance(names, bytes):
            raise ValueError(f"{value!r} is not a list of host names")
        return tuple(self._name(name) for name in names)

    @staticmethod
    def _name(name: object) -> str:
        stripped = name.strip() if isinstance(name, str) else ""
        if not re.fullmatch(r"[A-Za-z0-9._-]+", stripped):
            raise ValueError(f"{name!r} is not a host name")
        return stripped


class Mode(Kind):
    """Permission bits of a file, in octal: "0660"; a number is what it is (0o660)."""

    metavar = "OCTAL"

    def check(self, value: object, base: Path) -> int:  # noqa: ARG002
        if isinstance(value, str) and re.fullmatch(r"(0o?)?[0-7]{3}", value.strip()):
            value = int(value.strip().removeprefix("0o"), 8)
        if type(value) is not int or not 0 <= value <= 0o777:
            raise ValueError(f"{value!r} is not a file mode such as 0600")
        return value

    def show(self, value: object) -> str:
        return f"{value:04o}"


@dataclass(frozen=True)
class Whole(Kind):
    low: int
    high: int
    metavar = "N"

    def check(self, value: object, base: Path) -> int:  # noqa: ARG002
        if type(value) is not int or not self.low <= value <= self.high:
            raise ValueError(f"{value!r} is not a whole number from {self.low} to {self.high}")
        return value

    def parse(self, text: str, base: Path) -> int:
        stripped = text.strip()
        plain = stripped.isascii() and stripped.removeprefix("-").isdigit()
        return self.check(int(stripped) if plain and len(stripped) < 20 else text, base)


@dataclass(frozen=True)
class Seconds(Kind):
    high: float
    metavar = "SECONDS"

    def check(self, value: object, base: Path) -> float:  # noqa: ARG002
        is_number = isinstance(value, int | float) and not isinstance(value, bool)
        if not is_number or not 0 <= value <= self.high:  # type: ignore[operator]
            raise ValueError(f"{value!r} is not a number of seconds from 0 to {self.high:.0f}")
        return float(value)  # type: ignore[arg-type]

    def parse(self, text: str, base: Path) -> float:
        try:
            return self.check(float(text), base)
        except (ValueError, OverflowError):
            return self.check(text, base)

    def show(self, value: object) -> str:
        return f"{value:g}"


@dataclass(frozen=True)
class Bytes(Kind):
    high: int
    low: int = 0
    metavar = "BYTES"

    def check(self, value: object, base: Path) -> int:  # noqa: ARG002
        size = _bytes_of(value) if isinstance(value, str) else value
        if type(size) is not int or not self.low <= size <= self.high:
            raise ValueError(
                f"{value!r} is not a size from {self.low} to {self.high} bytes "
                "(16777216, '16M', '1G')"
            )
        return size

    def show(self, value: object) -> str:
        if isinstance(value, int) and value:
            for unit, shift in (("G", 30), ("M", 20), ("K", 10)):
                if value % (1 << shift) == 0:
                    return f"{value >> shift}{unit}"
        return str(value)


@dataclass(frozen=True)
class Choice(Kind):
    names: tuple[str, ...]

    @property
    def metavar(self) -> str:  # type: ignore[override]
        return "|".join(self.names)

    def check(self, value: object, base: Path) -> str:  # noqa: ARG002
        if not isinstance(value, str) or value.lower() not in self.names:
            raise ValueError(f"{value!r} is not one of {', '.join(self.names)}")
        return value.lower()


class Switch(Kind):
    metavar = ""

    def check(self, value: object, base: Path) -> bool:  # noqa: ARG002
        if not isinstance(value, bool):
            raise ValueError(f"{value!r} is not true or false")
        return value

    def parse(self, text: str, base: Path) -> bool:
        words = {"1": True, "true": True, "yes": True, "on": True}
        words |= {"0": False, "false": False, "no": False, "off": False}
        return self.check(words.get(text.strip().lower(), text), base)

    def show(self, value: object) -> str:
        return "yes" if value else "no"


class Folder(Kind):
    """A folder that exists; kept as an absolute path."""

    metavar = "DIR"

    def check(self, value: object, base: Path) -> str:
        path = absolute_path(value, base)
        if not path.is_dir():
            raise ValueError(f"there is no folder {str(value)!r}: make it, or name another")
        return str(path)


class PlainFile(Kind):
    """A file that exists; kept as an absolute path."""

    metavar = "FILE"

    def check(self, value: object, base: Path) -> str:
        path = absolute_path(value, base)
        if not path.exists() or path.is_dir():
            raise ValueError(f"there is no file {str(value)!r}")
        return str(path)


class SocketPath(Kind):
    """The path of a Unix socket, kept absolute; or "@name", an abstract one."""

    metavar = "PATH"
    BYTES_MAX = 107  # of sockaddr_un

    def check(self, value: object, base: Path) -> str:
        is_abstract = isinstance(value, str) and value.startswith("@")
        path = str(value) if is_abstract else str(absolute_path(value, base))
        if path == "@" or "\0" in path or len(os.fsencode(path)) > self.BYTES_MAX:
            raise ValueError(f"{path!r} is not a path of 1 to {self.BYTES_MAX} bytes")
        return path


class Places(Kind):
    """Folders of modules, and single module files; all exist; kept as absolute paths."""

    metavar = "DIR"

    def check(self, value: object, base: Path) -> tuple[str, ...]:
        if isinstance(value, str | os.PathLike):
            value = [value]
        if not isinstance(value, Iterable) or isinstance(value, bytes):
            raise ValueError(f"{value!r} is not a list of folders")
        return tuple(self._place(item, base) for item in value)

    def parse(self, text: str, base: Path) -> tuple[str, ...]:
        return self.check([item for item in text.split(os.pathsep) if item], base)

    @staticmethod
    def _place(value: object, base: Path) -> str:
        path = absolute_path(value, base)
        if not path.exists():
            raise ValueError(f"there is no folder or file {str(value)!r}: make it, or name another")
        if path.is_file() and path.suffix not in (".so", ".py"):
            raise ValueError(f"{str(value)!r} is neither a folder nor a .so or .py file")
        return str(path)


def absolute_path(value: object, base: Path) -> Path:
    if not isinstance(value, str | os.PathLike) or not os.fspath(value):
        raise ValueError(f"{value!r} is not a path")
    text = os.fspath(value)
    if not isinstance(text, str):
        raise ValueError(f"{value!r} is not a path in text")
    # abspath, not resolve: a folder that is a symbolic link may be pointed elsewhere later.
    return Path(os.path.abspath(base / Path(text).expanduser()))  # noqa: PTH100


def _bytes_of(text: str) -> int | None:
    match = re.fullmatch(r"\s*(\d{1,15})\s*([kmg]?)(?:i?b)?\s*", text, re.IGNORECASE)
    if match is None:
        return None
    return int(match[1]) << {"": 0, "k": 10, "m": 20, "g": 30}[match[2].lower()]


FOREVER_S = float(365 * 24 * 3600)
