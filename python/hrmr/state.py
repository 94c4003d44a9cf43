"""State: what one generation of a module hands to the next."""

from typing import NamedTuple

SCHEMA_MAX = 2**64 - 1


class State(NamedTuple):
    """What save_state returned, and what load(config, previous) is handed.

    schema: the module's own number for the layout of the content, 0 to 2**64 - 1.
    """

    schema: int
    content: bytes


def checked_state(saved: object) -> State:
    """A State of what save_state returned: a State, a tuple of the same, or only the content, as
    schema 0. TypeError and ValueError say what is wrong."""
    schema, content = saved if isinstance(saved, tuple) and len(saved) == 2 else (0, saved)
    if type(schema) is not int:
        raise TypeError(f"a schema number is an int, not {type(schema).__name__}")
    if not 0 <= schema <= SCHEMA_MAX:
        raise ValueError(f"a schema number is 0 to 2**64 - 1, not {schema}")
    if not isinstance(content, bytes | bytearray | memoryview):
        raise TypeError(
            "save_state must return bytes or hrmr.State(schema, content) with bytes, "
            f"not {type(content).__name__}"
        )
    return State(schema, bytes(content))
