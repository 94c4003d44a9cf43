"""The errors that leave this package. Each message is one line, written for people."""


class HrmrError(Exception):
    """The base of all of them. `exit_code` is what the command line exits with."""

    exit_code = 1


class OptionError(HrmrError, ValueError):
    """An option with a wrong value; the message names the flag, variable, key or argument."""

    exit_code = 2


class ConfigError(OptionError):
    """A configuration file that cannot be read; the message names the file and the key."""


class StartError(HrmrError):
    """The server could not start: the port is taken, the address does not exist, ..."""


class NotRunningError(HrmrError):
    """The call needs a running server."""


class RouteError(HrmrError, ValueError):
    """A route that cannot be registered."""


class ModuleError(HrmrError):
    """A Python module that cannot be loaded."""


class BuildError(HrmrError):
    """`hrmr build` cannot begin: no sources, no compiler, two sources for one module."""


class ClientError(HrmrError):
    """A running server could not be reached or did not answer."""
