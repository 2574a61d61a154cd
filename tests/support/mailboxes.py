"""Mailboxes that are filled before their actors look at them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from gristmill import Node, Ref


@contextmanager
def in_one_go(node: Node, ref: Ref[Any]) -> Iterator[None]:
    """Have an actor handle what it is sent in the block when the block ends, without a pause."""
    node.suspend(ref)
    yield
    node.resume(ref)
