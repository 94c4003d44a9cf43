"""admin_token: the token that the built-in commands may need, from where the options say."""

from pathlib import Path

from .errors import OptionError
from .kinds import Secret
from .options import Options


def read_admin_token(options: Options) -> str:
    """The token, or "" when there is none. A file may end in a line end.

    OptionError: the file cannot be read, or what it holds is no token. Neither is shown.
    """
    if options.admin_token is not None:
        return options.admin_token
    if options.admin_token_file is None:
        return ""
    path = Path(options.admin_token_file)
    try:
        text = path.read_text()
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "is not text"
        raise OptionError(f"admin_token_file (--admin-token-file): {path}: {why}") from None
    try:
        return Secret().check(text.strip(), path.parent)
    except ValueError as error:
        raise OptionError(f"admin_token_file (--admin-token-file): {path}: {error}") from None


def is_open_to_others(options: Options) -> bool:
    """Whether other users of the machine may read the file of the token."""
    if options.admin_token is not None or options.admin_token_file is None:
        return False
    return bool(Path(options.admin_token_file).stat().st_mode & 0o077)
