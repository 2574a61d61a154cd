"""``GenServer``: request and reply, after OTP's behaviour of that name."""

from __future__ import annotations

from gristmill.behaviours.actor import Actor


class GenServer(Actor):
    """An actor that answers requests.

    A reply may come later than the handler's end (``ctx.defer_reply()``), and what an actor does
    between two messages can be put behind the reply with ``ctx.send_after(0, ...)``.
    """
