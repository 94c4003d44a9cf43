"""What an installed HRMR consists of."""

from pathlib import Path

import hrmr
import pytest


@pytest.mark.parametrize(
    "name",
    [
        "_core.pyi",
        "py.typed",
        "static_html/index.html",
        "modules/hello.so",
        "modules/echo.so",
        "modules/files.so",
        "modules/http.so",
        "sdk/include/hrmr/abi.h",
        "sdk/include/hrmr/module.hpp",
        "sdk/cmake/hrmr/hrmrConfig.cmake",
        "sdk/LICENSE",
    ],
)
def test_the_wheel_carries(name: str) -> None:
    assert (Path(hrmr.__file__).parent / name).is_file()
