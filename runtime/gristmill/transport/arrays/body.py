"""``ArrayBody``: an encoded message whose large arrays lie beside it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Self, TypeAlias

from gristmill.transport.arrays.pool import SharedArray
from gristmill.transport.arrays.wire import ArrayGoneError

if TYPE_CHECKING:
    from gristmill.transport.arrays.layout import Array

Beside: TypeAlias = "SharedArray | Array | ArrayGoneError"
"""An array that lies beside a body, or why it can't be had."""


class ArrayBody(bytes):
    """Bytes that refer to arrays by their places. Whoever keeps the body keeps the arrays.

    The decoder finds them through the buffer that it reads, so a body is decoded like any other.
    """

    arrays: Sequence[Beside]

    def __new__(cls, encoded: bytes, arrays: Sequence[Beside]) -> Self:
        """Put a body and its arrays together."""
        body = super().__new__(cls, encoded)
        body.arrays = arrays
        return body
