# SPDX-License-Identifier: MIT
"""Commands in Python: a value of any kind, and errors with a code of their own.

cp users.py modules/ && hrmr
redis-cli -p 8080 USERS.GET 42
curl -d '[42]' http://127.0.0.1:8080/call/USERS.GET
"""

import hrmr

USERS: dict[int, dict[str, object]] = {
    42: {"name": "Ada", "languages": ["en", "fr"], "active": True},
    43: {"name": "Grace", "languages": ["en"], "active": False},
}


@hrmr.command("USERS.GET", arguments=1)
def get(arguments: list[bytes]) -> dict[str, object]:
    return _user(arguments[0])


@hrmr.command("USERS.RENAME", arguments=2)
def rename(arguments: list[bytes]) -> bool:
    """Whether the name is another one now."""
    user, name = _user(arguments[0]), arguments[1].decode()
    before, user["name"] = user["name"], name
    return before != name


@hrmr.command("USERS.IDS", arguments=0)
def ids(_: list[bytes]) -> list[int]:
    return sorted(USERS)


def _user(number: bytes) -> dict[str, object]:
    try:
        return USERS[int(number)]
    except (ValueError, KeyError):
        raise hrmr.CommandError(f"no user {number.decode()}", code="NOTFOUND") from None
