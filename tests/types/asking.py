"""What the type checkers must know; checked by ``tests/unit/test_types.py``, never run."""

from __future__ import annotations

from typing import assert_type

from gristmill import Node, Ref
from support.actors import Add, GetQuote, Note, Notes, Quote, Worker


async def infers(node: Node) -> None:
    ref = node.spawn(Worker, args=(1,))
    assert_type(ref, Ref[Worker])
    assert_type(ref.ask(GetQuote("a")), Quote)
    assert_type(ref.ask(Add(1, 2), timeout=None), int)
    assert_type(await ref.ask_async(Notes()), list[int])
    assert_type(list(ref.ask_many([GetQuote("a")])), list[Quote])
    assert_type(node.pool(Worker, 2).ask(Add(1, 2)), int)
    ref.tell(Note(1))


def refuses(node: Node, ref: Ref[Worker]) -> None:
    ref.ask(GetQuote("a", "three"))  # error: argument
    ref.ask(Note(1))  # error: a command is not asked
    ref.tell(Add(1, 2))  # error: a request is not told
    GetQuote("a").sku = "b"  # error: frozen
    node.spawn(int)  # error: no actor
    text: str = ref.ask(Add(1, 2))  # error: an int
    del text
