"""``gristmill dead-letters``: the messages that nobody handled."""

from __future__ import annotations

import base64
from typing import Any

import msgspec
from rich.table import Table
from rich.text import Text

from gristmill.cli.nodes import ANSWER, attached, counted
from gristmill.cli.output import console, print_json
from gristmill.errors import GristmillError, UsageError
from gristmill.node.client.connection import Connection
from gristmill.node.status import NodeStatus
from gristmill.transport import control as c


def show_all(node_id: str | None, *, as_json: bool) -> None:
    """Print the dead letters that a node keeps."""
    with attached(node_id) as (connection, _):
        letters = _get(connection)
        status: NodeStatus = connection.call(c.GetStatus(), NodeStatus, timeout=ANSWER)
    if as_json:
        print_json([as_data(letter) for letter in letters])
        return
    out = console()
    if letters:
        out.print(_table(letters))
    out.print(f"{counted(len(letters), 'dead letter')} of {status.dead_letters:,} kept")
    if status.dead_letters_evicted:
        out.print(f"{status.dead_letters_evicted:,} gave way to later ones", style="yellow")


def show_one(node_id: str | None, number: int, *, as_json: bool) -> None:
    """Print all that is known of a dead letter.

    Raises:
        UsageError: the node keeps none of this number.
    """
    with attached(node_id) as (connection, _):
        letter = next((each for each in _get(connection) if each.number == number), None)
    if letter is None:
        raise UsageError(f"there is no dead letter {number}; see gristmill dead-letters list")
    if as_json:
        print_json(as_data(letter))
        return
    out = console()
    out.print(Text.assemble((letter.message_type or "?", "bold"), f"  to {letter.target or '?'}"))
    out.print(f"reason  {letter.reason}")
    out.print(f"worker  {letter.worker or 'client'}")
    out.print(f"body    {msgspec.json.encode(_body(letter)).decode()}")
    if letter.error is not None and letter.error.traceback:
        out.print(letter.error.traceback.rstrip())


def resend(node_id: str | None, numbers: list[int], *, every: bool, as_json: bool) -> None:
    """Send dead letters again, each to the actor that it was for.

    Raises:
        UsageError: no number was given, or both numbers and all; or one of them can't be sent:
            says which, the others are.
    """
    if bool(numbers) == every:
        raise UsageError("give the numbers of dead letters, or --all")
    sent: list[c.DeadLetter] = []
    failed: list[str] = []
    with attached(node_id) as (connection, _):
        for number in [each.number for each in _get(connection)] if every else numbers:
            try:
                sent.append(connection.resend(number, ANSWER))
            except GristmillError as error:
                failed.append(str(error))
    if as_json:
        print_json({"sent": [letter.number for letter in sent], "failed": failed})
    else:
        for letter in sent:
            console().print(f"{letter.number}  {letter.message_type} sent to {letter.target}")
    if failed:
        raise UsageError("\n  ".join([f"{counted(len(failed), 'dead letter')} not sent:", *failed]))


def as_data(letter: c.DeadLetter) -> dict[str, Any]:
    """Give a dead letter as plain data; ``body`` is decoded, as JSON has it."""
    fields = {name: getattr(letter, name) for name in letter.__struct_fields__}
    error = letter.error and {f: getattr(letter.error, f) for f in ("type", "message", "traceback")}
    return fields | {"body": _body(letter), "error": error}


def _get(connection: Connection) -> list[c.DeadLetter]:
    letters: list[c.DeadLetter]
    letters = connection.call(c.GetDeadLetters(), list[c.DeadLetter], timeout=ANSWER)
    return letters


def _body(letter: c.DeadLetter) -> Any:  # noqa: ANN401 - what the message holds
    """Decode a body without its type; base64 text of one that can't be."""
    try:
        return msgspec.to_builtins(msgspec.msgpack.decode(letter.body), str_keys=True)
    except (msgspec.MsgspecError, TypeError, UnicodeDecodeError):
        return base64.b64encode(letter.body).decode()


def _table(letters: list[c.DeadLetter]) -> Table:
    table = Table(box=None, pad_edge=False, header_style="dim")
    table.add_column("number", justify="right")
    for name in ("to", "message", "worker", "reason"):
        table.add_column(name)
    for letter in letters:
        reason = letter.reason.splitlines()[0] if letter.reason else ""
        kind = letter.message_type.rpartition(":")[2]
        table.add_row(str(letter.number), letter.target, kind, letter.worker, reason)
    return table
