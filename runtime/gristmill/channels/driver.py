"""What a broker's client code provides; everything else about channels is the same for all."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Protocol

from gristmill.channels.contract import Capabilities, ChannelBackend, Listen, Start
from gristmill.channels.intake import Intake
from gristmill.channels.records import DeadRecord, Delivery, Publication


class BrokerDownError(Exception):
    """The broker does not answer, or the connection broke: it is tried again."""


class BrokerRefusedError(Exception):
    """The broker will never take an event: it is too large, or its channel can't exist."""

    def __init__(self, sent: int, reason: str) -> None:
        super().__init__(reason)
        self.sent = sent
        """How many events of the batch it has taken before this one."""


class Producer(Protocol):
    """Publishes, on one thread."""

    def send(self, batch: Sequence[Publication]) -> None:
        """Publish events in order, and wait until they are safe.

        Sent again after a failure, they are not published twice.

        Raises:
            BrokerDownError: none, some or all of them are safe.
            BrokerRefusedError: one of them will never be.
        """

    def interrupt(self) -> None:
        """Have a :meth:`send` under way give up soon; from any thread."""

    def close(self) -> None:
        """Let go of the connection."""


class Source(Protocol):
    """One member of a group, or one subscriber on its own; used on one thread.

    It keeps the partitions of its :class:`~gristmill.channels.intake.Intake` as the broker assigns
    them, and puts into it what it fetches. Every method raises :class:`BrokerDownError`.
    """

    lost: int
    """Events that the broker had dropped before they were fetched."""

    def poll(self, intake: Intake, seconds: float) -> bool:
        """Acknowledge what was handled, fetch what there is, and say that this member lives.

        Args:
            intake: says what was handled, and gets what is there.
            seconds: how long to wait for more.

        Returns:
            Whether more may be there already.
        """

    def acknowledge(self, intake: Intake) -> None:
        """Acknowledge what was handled, and nothing else."""

    def bury(self, dead: DeadRecord) -> None:
        """Put an event into the dead-letter channel, for sure."""

    def close(self, intake: Intake) -> None:
        """Leave in order: acknowledge, and let others have the partitions."""

    def drop(self) -> None:
        """Let go of a connection that is broken."""


class Driver(Protocol):
    """Everything about one kind of broker."""

    @property
    def kind(self) -> ChannelBackend:
        """What it is."""

    @property
    def capabilities(self) -> Capabilities:
        """What it promises."""

    def check(self) -> None:
        """Make sure that the broker can be reached.

        Raises:
            ChannelUnavailableError: it can't.
        """

    def producer(self) -> Producer:
        """Make a producer; it connects when it is first used."""

    def source(self, listen: Listen, member: str, *, lasting: bool) -> Source:
        """Make a source.

        Args:
            listen: what to hear.
            member: the name of the member.
            lasting: whether it has successors of the same name, which take over at once.
        """

    def read(self, channel: str, start: Start | Mapping[int, str]) -> Iterator[Delivery]:
        """Give the events of a channel up to its present end, each partition in order.

        Args:
            channel: its name.
            start: where to begin, or the position to begin behind, by partition.

        Raises:
            ChannelUnavailableError: the broker can't be reached.
        """

    def begin(self, channel: str, group: str, start: Start) -> None:
        """Give a group its position, unless it has one; before it has members.

        Raises:
            ChannelUnavailableError: the broker can't be reached.
        """

    def lag(self, channel: str, group: str) -> int:
        """Count the events that a group has not handled.

        Raises:
            ChannelUnavailableError: the broker can't be reached.
        """
