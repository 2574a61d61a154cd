"""Channels: named pub/sub for events, with interchangeable backends behind one contract."""

from gristmill.channels.contract import (
    Backend,
    Capabilities,
    ChannelBackend,
    ChannelClosedError,
    FanOut,
)
from gristmill.channels.manager import ChannelManager, backends_of
from gristmill.channels.memory import InMemoryBackend

__all__ = [
    "Backend",
    "Capabilities",
    "ChannelBackend",
    "ChannelClosedError",
    "ChannelManager",
    "FanOut",
    "InMemoryBackend",
    "backends_of",
]
