"""What ``@handles(batch=...)`` accepts is checked when the class is created."""

from __future__ import annotations

from typing import Any, ClassVar

import pytest

from gristmill import Actor, Command, Context, GenStateMachine, Reject, Request, handles, on
from gristmill.behaviours.batches import DEFAULT_WAIT, Batch
from gristmill.errors import ProtocolError, UsageError
from gristmill.facets.transitions import TransitionTable


class Ask(Request[int]):
    """A request."""


class Do(Command):
    """A command."""


def test_a_batch_handler_takes_and_gives_lists() -> None:
    class Both(Actor):
        @handles(batch=64)
        def asks(self, msgs: list[Ask], ctx: Context) -> list[int | Reject]:
            return []

        @handles(batch="auto")
        async def dos(self, msgs: list[Do]) -> None: ...

        @handles
        def plain(self, msg: Other) -> None: ...

    handlers = Both.__protocol__.handlers
    assert handlers[Ask].batch == Batch(64, 0.0, 10.0)
    assert handlers[Ask].wants_context
    assert handlers[Ask].reply is int
    assert handlers[Do].batch == Batch("auto", DEFAULT_WAIT, 10.0)
    assert handlers[Do].is_async
    assert handlers[Other].batch is None


class Other(Command):
    """Another command."""


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"batch": 0}, "from 1 to 4096"),
        ({"batch": 5000}, "from 1 to 4096"),
        ({"batch": True}, "from 1 to 4096"),
        ({"batch": "many"}, 'or "auto"'),
        ({"batch": 8, "batch_wait": -1}, "batch_wait is -1"),
        ({"batch": 8, "batch_wait": float("nan")}, "batch_wait is nan"),
        ({"batch": "auto", "batch_target": 0}, "batch_target is 0"),
        ({"batch": 8, "batch_target": 10}, 'takes effect with batch="auto"'),
        ({"batch_wait": 1.0}, "take effect with batch=... only"),
    ],
)
def test_options_out_of_range_are_refused(options: dict[str, Any], told: str) -> None:
    with pytest.raises(UsageError, match=told):
        handles(**options)


def test_what_is_no_list_is_refused() -> None:
    with pytest.raises(ProtocolError, match=r"NoList.asks takes batches: .*list\[M\]"):

        class NoList(Actor):
            @handles(batch=8)
            def asks(self, msgs: Ask) -> list[int]:
                return []


def test_a_list_of_unions_is_refused() -> None:
    with pytest.raises(ProtocolError, match="no message type"):

        class Mixed(Actor):
            @handles(batch=8)
            def asks(self, msgs: list[Do | Other]) -> None: ...


@pytest.mark.parametrize("answers", [int, None, list])
def test_a_batch_of_requests_is_answered_by_a_list(answers: Any) -> None:
    def asks(self: Any, msgs: list[Ask]) -> Any:
        return []

    asks.__annotations__["return"] = answers
    with pytest.raises(ProtocolError, match=r"returns list\[R\]"):
        type("Wrong", (Actor,), {"asks": handles(batch=8)(asks)})


def test_a_list_of_another_reply_is_refused() -> None:
    with pytest.raises(ProtocolError, match="returns str, but Ask is answered by int"):

        class Wrong(Actor):
            @handles(batch=8)
            def asks(self, msgs: list[Ask]) -> list[str]:
                return []


def test_a_batch_of_commands_is_not_answered() -> None:
    with pytest.raises(ProtocolError, match="nothing waits for an answer"):

        class Wrong(Actor):
            @handles(batch=8)
            def dos(self, msgs: list[Do]) -> list[int]:
                return []


def test_a_state_machine_takes_one_message_at_a_time() -> None:
    with pytest.raises(ProtocolError, match=r"Machine\.dos takes batches, but a state"):

        class Machine(GenStateMachine):
            table: ClassVar[TransitionTable[Any]] = TransitionTable(
                {"a": {"go": "b"}}, initial="a", terminal=["b"]
            )

            @on("a")
            @handles(batch=8)
            def dos(self, msgs: list[Do]) -> None: ...
