"""One configured value with its origin, and how to show it without its secrets."""

from __future__ import annotations

import re
from typing import Any

import msgspec

MASK = "***"
_SECRET_NAME = re.compile(r"password|passwd|secret|token|key", re.IGNORECASE)
# Greedy up to the last @, because passwords with a raw @ or / in them exist.
_USER_INFO = re.compile(r"://([^:@/\s]*:)?\S*@")
_SECRET_PARAMETER = re.compile(
    r"([?&;][^=&;#\s]*(?:password|passwd|secret|token|key)[^=&;#\s]*=)[^&;#\s]+", re.IGNORECASE
)


class Setting(msgspec.Struct, frozen=True):
    """A value that is in effect, and where it came from."""

    section: str
    """``node``, or ``pools.payment`` for an entry of a table."""
    key: str
    value: Any
    origin: str
    """``command line``, ``environment NODE_WORKERS``, ``release.toml:12`` or ``default``."""
    secret: bool = False
    """The whole value is a secret. Passwords inside URLs are masked for every setting."""


def is_secret(key: str) -> bool:
    """Tell whether the name of a key says that its value is a secret."""
    return _SECRET_NAME.search(key) is not None


def redacted(setting: Setting) -> Setting:
    """Give the setting with every secret in its value masked, fit to be shown or logged.

    Secrets are the whole value of a secret setting (an empty one stays empty), the user part of
    URLs, and what lies under a key or URL parameter that is named like a secret.
    """
    value = msgspec.to_builtins(setting.value)
    return msgspec.structs.replace(setting, value=_masked(value, secret=setting.secret))


def _masked(value: object, *, secret: bool) -> object:
    match value:
        case dict():
            return {
                key: _masked(item, secret=secret or is_secret(str(key)))
                for key, item in value.items()
            }
        case list() | tuple():
            return [_masked(item, secret=secret) for item in value]
        case None | "":
            return value
        case _ if secret:
            return MASK
        case str():
            text = _USER_INFO.sub(lambda found: f"://{found[1] or ''}{MASK}@", value)
            return _SECRET_PARAMETER.sub(rf"\1{MASK}", text)
        case _:
            return value
