"""What every client of Kafka here needs: settings, topics, records as deliveries."""

from __future__ import annotations

import re
import time
import zlib
from collections.abc import Callable, Mapping
from typing import Any, Final, TypeVar

from gristmill.channels.driver import BrokerDownError
from gristmill.channels.records import Delivery
from gristmill.config import ChannelConfig

PUBLISHER: Final = "gristmill-publisher"
NUMBER: Final = "gristmill-number"
ANSWER_SECONDS: Final = 10.0

T = TypeVar("T")

_TOPIC = re.compile(r"[a-zA-Z0-9._-]{1,249}")
_NO_NAME = re.compile(r"[^a-zA-Z0-9._-]")


def settings_of(config: ChannelConfig, **more: object) -> dict[str, Any]:
    """Give librdkafka's settings, common ones and others; dots are written as underscores."""
    common: dict[str, Any] = {
        "bootstrap.servers": ",".join(config.kafka_brokers),
        "client.id": "gristmill",
        "log_level": 0,  # what matters comes as an error
        "reconnect.backoff.ms": 50,
        "reconnect.backoff.max.ms": 1000,
        "socket.connection.setup.timeout.ms": 5000,
        "allow.auto.create.topics": False,
    }
    return common | {key.replace("_", "."): value for key, value in more.items()}


def as_name(text: str) -> str:
    """Give a name that Kafka allows, another one for every text."""
    plain = _NO_NAME.sub("_", text)
    return plain if plain == text else f"{plain}-{zlib.crc32(text.encode()):08x}"


def asked(question: Callable[[], T]) -> T:
    """Ask a broker; again for a while if it says that something is just changing.

    Raises:
        BrokerDownError: it gave no answer.
    """
    from confluent_kafka import KafkaException  # noqa: PLC0415 - only where it is turned on

    until = time.monotonic() + ANSWER_SECONDS
    while True:
        try:
            return question()
        except KafkaException as error:
            if not error.args[0].retriable() and error.args[0].code() not in _changing():
                raise BrokerDownError(error.args[0].str()) from error
            if time.monotonic() > until:
                raise BrokerDownError(error.args[0].str()) from error
        time.sleep(0.05)


def _changing() -> tuple[int, ...]:
    from confluent_kafka import KafkaError  # noqa: PLC0415 - only where it is turned on

    return (
        KafkaError.NOT_LEADER_FOR_PARTITION,
        KafkaError.LEADER_NOT_AVAILABLE,
        KafkaError.UNKNOWN_TOPIC_OR_PART,
    )


class Topics:
    """Makes sure that topics exist."""

    def __init__(self, config: ChannelConfig) -> None:
        self._config = config
        self._known: set[str] = set()
        self._admin: Any = None

    def ensure(self, name: str) -> None:
        """Make a topic unless it is there.

        Raises:
            BrokerDownError: nobody answers.
            ValueError: a topic can't have this name.
        """
        if name in self._known:
            return
        if not _TOPIC.fullmatch(name):
            raise ValueError(
                f"{name!r} can't name a topic of Kafka: use letters, digits, '.', '_' and '-', "
                "249 at most"
            )
        from confluent_kafka.admin import AdminClient  # noqa: PLC0415 - only where it is on

        if self._admin is None:
            self._admin = AdminClient(settings_of(self._config))
        known = asked(lambda: self._admin.list_topics(name, ANSWER_SECONDS))
        if known.topics[name].error is None:
            pass
        elif known.controller_id not in known.brokers:
            # nobody makes topics by order here (librdkafka's mock cluster), but for who asks
            asking = settings_of(self._config, allow_auto_create_topics=True)
            made = asked(lambda: AdminClient(asking).list_topics(name, ANSWER_SECONDS))
            error = made.topics[name].error
            if error is not None:
                raise BrokerDownError(f"topic {name!r}: {error.str()}")
        else:
            self._create(name)
        self._known.add(name)

    def _create(self, name: str) -> None:
        from confluent_kafka import KafkaError, KafkaException  # noqa: PLC0415 - only when on
        from confluent_kafka.cimpl import NewTopic  # noqa: PLC0415 - where it is defined

        topic = NewTopic(name, self._config.partitions, config={"retention.ms": "-1"})
        try:
            self._admin.create_topics([topic], request_timeout=ANSWER_SECONDS)[name].result()
        except KafkaException as error:
            if error.args[0].code() != KafkaError.TOPIC_ALREADY_EXISTS:
                raise BrokerDownError(f"topic {name!r}: {error.args[0].str()}") from error


def delivery_of(message: Any, deaths: int = 0) -> Delivery:  # noqa: ANN401 - its class has no types
    """Give a record as a delivery. One that no program of ours has written has what it has."""
    headers: Mapping[str, bytes | None] = dict(message.headers() or ())
    number = headers.get(NUMBER) or b"0"
    publisher = headers.get(PUBLISHER) or b""
    return Delivery(
        message.partition(),
        str(message.offset()),
        (message.key() or b"").decode(errors="replace"),
        publisher.decode(errors="replace"),
        int(number) if number.isdigit() else 0,
        message.value() or b"",
        deaths,
        headers={
            name: (value or b"").decode(errors="replace")
            for name, value in headers.items()
            if name not in (PUBLISHER, NUMBER)
        },
    )
