"""The open requests of a client, and who waits for them."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import msgspec

from gristmill.errors import ActorDied, AskTimeoutError
from gristmill.messages import Request, reply_type
from gristmill.ref import Address
from gristmill.transport.arrays import ArrayGoneError
from gristmill.transport.codec import Codec
from gristmill.transport.envelope import ErrorReply, to_exception


class RequestKind(msgspec.Struct, frozen=True, eq=False):
    """What is the same for all requests of a type."""

    name: str
    decode: Callable[[bytes], Any]
    """Decodes the reply."""
    idempotent: bool
    """Whether it may be sent again when its callee's worker dies."""

    @classmethod
    def of(cls, codec: Codec, request: type[Request[Any]]) -> RequestKind:
        """Look a request type up."""
        decoder = codec.decoder(reply_type(request))
        return cls(request.__qualname__, decoder.decode, request.__idempotent__)


class Waiter(msgspec.Struct, eq=False):
    """One open request."""

    to: Address
    kind: RequestKind
    deadline: float | None
    """Monotonic seconds after which nobody waits; None for never."""
    number: int
    done: bool = False
    value: Any = None
    error: BaseException | None = None
    event: threading.Event | None = None
    """Wakes the thread that waits while another one reads."""
    notify: Callable[[], None] | None = None
    """Called once, by whoever brings the outcome."""
    again: tuple[Any, ...] | None = None
    """The envelope to send again when the callee's worker dies: only of an idempotent request."""
    tries: int = 1

    def answer(self, body: bytes) -> None:
        """Take in the encoded reply."""
        try:
            value = self.kind.decode(body)
        except msgspec.MsgspecError as error:
            text = f"{self.to.label} answered {self.kind.name} with something else: {error}"
            self.settle(None, to_exception(ErrorReply("ReplyTypeError", text)))
        except ArrayGoneError as error:
            text = f"{self.to.label} answered {self.kind.name}, but {error}"
            self.settle(None, ActorDied(text))
        else:
            self.settle(value, None)

    def settle(self, value: Any, error: BaseException | None) -> None:  # noqa: ANN401 - a reply
        """Set the outcome; the first one counts."""
        if self.done:
            return
        self.value, self.error = value, error
        self.done = True
        if self.event is not None:
            self.event.set()
        if self.notify is not None:
            self.notify()

    def result(self) -> Any:  # noqa: ANN401 - a reply
        """Give the reply or raise the error."""
        if self.error is not None:
            raise self.error
        return self.value

    def timed_out(self, timeout: float | None) -> AskTimeoutError:
        """Say that there was no outcome within ``timeout`` seconds."""
        return AskTimeoutError(
            f"{self.to.label} is alive and did not answer {self.kind.name} in {timeout:g} s"
        )


OpenRequests = dict[int, Waiter]
"""The requests that have no outcome yet, by number. One operation of a dict needs no lock."""
