"""A real Kafka broker on this machine: one node in KRaft mode, fetched with Maven once."""

from __future__ import annotations

import shutil
import socket
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path

from support.server_process import ServerProcess, free_port

VERSION = "4.1.1"
_POM = f"""<project xmlns="http://maven.apache.org/POM/4.0.0">
<modelVersion>4.0.0</modelVersion>
<groupId>gristmill</groupId><artifactId>broker-for-tests</artifactId><version>1</version>
<dependencies><dependency>
<groupId>org.apache.kafka</groupId><artifactId>kafka_2.13</artifactId><version>{VERSION}</version>
</dependency></dependencies></project>
"""
_FETCH_SECONDS = 300


def kafka_missing() -> str:
    """Say what is missing to fetch and run a broker; nothing if nothing is."""
    missing = [tool for tool in ("java", "mvn") if shutil.which(tool) is None]
    return f"no {' and no '.join(missing)}" if missing else ""


def kafka_libraries() -> Path:
    """Give the folder of the broker's libraries; fetch them into the user's cache at first.

    Raises:
        RuntimeError: Maven could not fetch them.
    """
    cache = Path.home() / ".cache" / "gristmill-tests" / f"kafka-{VERSION}"
    if cache.exists():
        return cache
    cache.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=cache.parent) as folder:
        (Path(folder) / "pom.xml").write_text(_POM)
        done = subprocess.run(
            [
                *("mvn", "-q", "-B", "dependency:copy-dependencies"),
                *("-DoutputDirectory=lib", "-DincludeScope=runtime"),
            ],
            cwd=folder,
            capture_output=True,
            text=True,
            timeout=_FETCH_SECONDS,
            check=False,
        )
        if done.returncode:
            raise RuntimeError(f"Maven could not fetch Kafka {VERSION}:\n{done.stdout[-2000:]}")
        (Path(folder) / "lib").rename(cache)
    return cache


class KafkaBroker(ServerProcess):
    """One broker that is its own controller."""

    name = "kafka"
    start_seconds = 40.0
    session_seconds = 2.0
    """How short a session may be."""

    def __init__(self, libraries: Path) -> None:
        super().__init__()
        self._libraries = libraries
        self.address = f"127.0.0.1:{self.port}"
        controller = free_port()
        data = self.folder / "data"
        data.mkdir()
        (data / "meta.properties").write_text(
            "version=1\ncluster.id=Z3Jpc3RtaWxsLXRlc3RzLQ\nnode.id=1\n"
        )
        settings = {
            "process.roles": "broker,controller",
            "node.id": 1,
            "controller.quorum.voters": f"1@127.0.0.1:{controller}",
            "listeners": f"PLAINTEXT://{self.address},CONTROLLER://127.0.0.1:{controller}",
            "advertised.listeners": f"PLAINTEXT://{self.address}",
            "controller.listener.names": "CONTROLLER",
            "inter.broker.listener.name": "PLAINTEXT",
            "log.dirs": data,
            "offsets.topic.replication.factor": 1,
            "offsets.topic.num.partitions": 4,
            "transaction.state.log.replication.factor": 1,
            "transaction.state.log.min.isr": 1,
            "group.initial.rebalance.delay.ms": 0,
            "group.min.session.timeout.ms": 500,
            "broker.session.timeout.ms": 500,  # a killed one is soon forgotten, and may come back
            "broker.heartbeat.interval.ms": 100,
            "auto.create.topics.enable": "false",
            "log.cleaner.enable": "false",
            "num.io.threads": 2,
            "num.network.threads": 2,
        }
        lines = (f"{key}={value}" for key, value in settings.items())
        (self.folder / "server.properties").write_text("\n".join(lines))

    def command(self) -> Sequence[str]:
        """Give the command line."""
        return [
            *("java", "-Xmx256m", "-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC"),
            *("-cp", f"{self._libraries}/*", "kafka.Kafka", "server.properties"),
        ]

    def answers(self) -> bool:
        """Tell whether it serves."""
        try:
            with socket.create_connection(("127.0.0.1", self.port), 0.5):
                return True
        except OSError:
            return False
