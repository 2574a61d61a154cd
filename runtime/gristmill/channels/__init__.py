"""Channels: named pub/sub for events, with interchangeable backends behind one contract."""

from gristmill.channels.contract import (
    Backend,
    Capabilities,
    ChannelBackend,
    ChannelClosedError,
    ChannelFullError,
    ChannelUnavailableError,
    FanOut,
    Listen,
    Start,
    dead_letter_channel,
)
from gristmill.channels.servers import backends_of, check_servers

__all__ = [
    "Backend",
    "Capabilities",
    "ChannelBackend",
    "ChannelClosedError",
    "ChannelFullError",
    "ChannelUnavailableError",
    "FanOut",
    "Listen",
    "Start",
    "backends_of",
    "check_servers",
    "dead_letter_channel",
]
