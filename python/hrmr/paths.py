"""Where the installed package keeps the files that are not Python."""

from pathlib import Path

from . import __path__ as package_folders
from .errors import HrmrError


def include_dir() -> Path:
    """The folder for -I: it holds hrmr/abi.h and hrmr/module.hpp."""
    return _find("sdk/include", "hrmr/abi.h")


def cmake_dir() -> Path:
    """The folder for -Dhrmr_DIR or CMAKE_PREFIX_PATH: it holds hrmrConfig.cmake."""
    return _find("sdk/cmake/hrmr", "hrmrConfig.cmake")


def bundled_modules_dir() -> Path:
    """The modules that come with HRMR."""
    return _find("modules", ".")


def static_dir() -> Path:
    """The pages that come with HRMR."""
    return _find("static_html", ".")


def _find(folder: str, file: str) -> Path:
    # An editable install spreads one package over two folders, hence the search.
    for root in package_folders:
        found = Path(root) / folder
        if (found / file).exists():
            return found
    raise HrmrError(f"this installation lacks hrmr/{folder}: install HRMR again")
