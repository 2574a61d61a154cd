"""SIGTERM while an application starts: an exception, as Ctrl-C is one."""

from __future__ import annotations

from typing import NoReturn


class Terminated(BaseException):
    """SIGTERM came."""


def terminate(signum: int, frame: object) -> NoReturn:
    """Be the handler of SIGTERM.

    Raises:
        Terminated: always.
    """
    del signum, frame
    raise Terminated
