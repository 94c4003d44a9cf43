"""HRMR: a hot-reloadable module router. One port, many modules, code swapped while it serves.

A module, in a file of its own:

    import hrmr

    @hrmr.route("GREET ")
    def greet(request: hrmr.Request) -> str:
        return f"hello {request.text}\\n"

A program that serves a folder of them:

    with hrmr.Server(port=8080, modules=["modules"]) as server:
        server.wait()
"""

from . import _core
from ._core import Request
from .command import CommandError, command
from .errors import (
    BuildError,
    ClientError,
    ConfigError,
    HrmrError,
    ModuleError,
    NotRunningError,
    OptionError,
    RouteError,
    StartError,
)
from .options import Options
from .outcome import Outcome, ReloadReport
from .response import Response, ResponseError
from .route import route
from .server import ModuleInfo, Server
from .state import State

__version__: str = _core.VERSION
ABI: tuple[int, int] = _core.ABI_VERSION

__all__ = [
    "ABI",
    "BuildError",
    "ClientError",
    "CommandError",
    "ConfigError",
    "HrmrError",
    "ModuleError",
    "ModuleInfo",
    "NotRunningError",
    "OptionError",
    "Options",
    "Outcome",
    "ReloadReport",
    "Request",
    "Response",
    "ResponseError",
    "RouteError",
    "Server",
    "StartError",
    "State",
    "__version__",
    "command",
    "route",
]
