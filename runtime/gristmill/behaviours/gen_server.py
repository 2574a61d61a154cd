"""``GenServer``: request and reply, after OTP's behaviour of that name."""

from __future__ import annotations

from gristmill.behaviours.actor import Actor


class GenServer(Actor):
    """An actor that answers requests: what a handler of a ``Request[R]`` returns is the reply.

    The rest of OTP's callback results are calls on the context:

    - reply later: take ``reply = ctx.defer_reply()``, return ``DEFERRED``, and call
      ``reply(value)`` once, from any later handler, or wherever the reply was sent to. If the
      actor ends before that, the asker is told at once;
    - reply and go on: ``ctx.continue_with(message)``: handled next, behind the reply and before
      anything that waits in the mailbox; from ``on_start`` before the first message;
    - reply and stop: ``ctx.stop(reason)`` and return the reply, which leaves before the end; in
      ``on_start`` it makes the start fail with that reason;
    - reply and wait for the next message: ``ctx.idle_timeout(seconds, message)``: handled when
      nothing comes within that time.
    """
