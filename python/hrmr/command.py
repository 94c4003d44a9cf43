"""command: registers a function under a name, for Redis clients, lines and POST /call/NAME."""

import inspect
import re
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

from .errors import HrmrError, RouteError
from .route import ROUTES_NAME

CommandFunction = Callable[[list[bytes]], Any]
AnyCommand = TypeVar("AnyCommand", bound=CommandFunction)

# How many arguments a command takes: exactly so many, or from ... to, None being any number.
Arguments = int | tuple[int, int | None] | None

NAME = re.compile(r"[A-Za-z0-9._:-]{1,64}", re.ASCII)
ARGUMENTS_MAX = 2**32 - 2  # of the engine's 32 bits, the last one is "any number"


class CommandError(HrmrError):
    """What a command raises to answer with an error of its own.

    code: one word of capitals, digits and `_`, by which programs tell errors apart. Redis clients
    get `CODE message`, HTTP clients {"error": {"code": ..., "message": ...}} with status 500.
    """

    def __init__(self, message: str, code: str = "ERR") -> None:
        if not re.fullmatch(r"[A-Z0-9_]{1,32}", code, re.ASCII):
            raise ValueError(f"an error code is 1 to 32 of A-Z, 0-9 and _, not {code!r}")
        super().__init__(message)
        self.hrmr_error_code = code

    @property
    def code(self) -> str:
        """The error's code: "ERR" unless another was given."""
        return self.hrmr_error_code


@dataclass(frozen=True)
class Command:
    """A name and the function that is called by it."""

    name: str
    minimum: int
    maximum: int | None
    function: CommandFunction

    def as_tuple(self) -> tuple[bytes, int, int | None, CommandFunction]:
        return (self.name.encode(), self.minimum, self.maximum, self.function)


def make_command(name: str, arguments: Arguments, function: CommandFunction) -> Command:
    """A checked Command. RouteError says what is wrong, and with which function."""
    shown = getattr(function, "__qualname__", repr(function))
    if not isinstance(name, str) or not NAME.fullmatch(name):
        raise RouteError(
            f"{shown}: a command's name is 1 to 64 letters, digits, '.', '_', ':', '-', "
            f"not {name!r}"
        )
    if not callable(function):
        raise RouteError(f"{shown}: a command needs a function")
    if inspect.iscoroutinefunction(function) or inspect.isasyncgenfunction(function):
        raise RouteError(
            f"{shown}: `async def` commands are not supported; use `def`, "
            "commands run on threads of their own and may block"
        )
    if inspect.isgeneratorfunction(function):
        raise RouteError(f"{shown}: a command returns its value, it cannot `yield` it")
    if not _takes_a_list(function):
        raise RouteError(f"{shown}: a command takes one argument, the list of its arguments")
    minimum, maximum = _bounds(arguments, shown)
    return Command(name, minimum, maximum, function)


def command(name: str, arguments: Arguments = None) -> Callable[[AnyCommand], AnyCommand]:
    """Registers the decorated function in the module that is being loaded.

    name: 1 to 64 letters, digits, '.', '_', ':', '-'; compared without regard to case.
    arguments: how many it takes: 2, or (1, 3), or (1, None) for one and more; None: any number.
        A call with another number is answered with an error, and the function is not called.

    The function takes a list of bytes and returns None, bool, int (64 bits), float, str, bytes, or
    a list, tuple, dict or set of these. An exception becomes an error reply; CommandError says
    which.
    In a file that is not being loaded by a server the decorator only checks.
    """
    refuse_bare_command(name, "hrmr")
    namespace = sys._getframe(1).f_globals

    def register(function: AnyCommand) -> AnyCommand:
        made = make_command(name, arguments, function)
        routes = namespace.get(ROUTES_NAME)
        if routes is not None:
            routes.register(made)
        return function

    return register


def refuse_bare_command(name: object, owner: str) -> None:
    """RouteError when the decorator was written without its parentheses."""
    if callable(name):
        raise RouteError(f'@{owner}.command needs a name: @{owner}.command("USERS.GET")')


def _bounds(arguments: Arguments, shown: str) -> tuple[int, int | None]:
    if arguments is None:
        return (0, None)
    pair = arguments if isinstance(arguments, tuple) else (arguments, arguments)
    if len(pair) == 2:
        minimum, maximum = pair
        is_number = type(minimum) is int and (maximum is None or type(maximum) is int)
        most = ARGUMENTS_MAX if maximum is None else maximum
        if is_number and 0 <= minimum <= most <= ARGUMENTS_MAX:
            return (minimum, maximum)
    raise RouteError(
        f"{shown}: arguments is a number, or (least, most) with None for any number, "
        f"not {arguments!r}"
    )


def _takes_a_list(function: CommandFunction) -> bool:
    try:
        signature = inspect.signature(function)
    except (TypeError, ValueError):
        return True  # a builtin that does not tell: the call itself will
    try:
        signature.bind([])
    except TypeError:
        return False
    return True
