"""How a node is stopped: SIGTERM and Ctrl-C, to one process or to all, and the exit codes."""

from __future__ import annotations

import os
import pty
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from textwrap import dedent

import pytest

from gristmill import Node
from gristmill.errors import UsageError
from support.actors import read_lines
from support.commands import READY, gristmill, until_ready, up
from support.traces import assert_nothing_left
from support.waiting import eventually

SHOP = """
    import time
    from pathlib import Path
    from gristmill import Actor, ActorBuilder, Command, NodeBuilder, handles

    def say(*words):
        with open("words", "a") as file:
            print(*words, file=file)

    class Go(Command):
        n: int

    class Clerk(Actor):
        def __init__(self, rounds: int = 0) -> None:
            self.rounds = rounds

        def on_start(self, ctx):
            for n in range(self.rounds):
                ctx.ref.tell(Go(n))

        @handles
        def go(self, msg: Go) -> None:
            Path("begun").touch()
            time.sleep(0.05)
            say("handled", msg.n)

        def terminate(self, reason, ctx):
            say("closed", ctx.name)

    def clerk(name, rounds=0):
        return ActorBuilder(Clerk).args(rounds).name(name).shutdown(60.0)

    app = NodeBuilder("shop").workers(2).actor(clerk("a", 20), clerk("b"), clerk("c"), clerk("d"))
    slow = NodeBuilder("slow").workers(1).actor(clerk("a", 1000)).drain(0.5)
"""


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[Path]:
    """Give a folder with the application's module; nothing of a run may be left at the end."""
    (tmp_path / "shop.py").write_text(dedent(SHOP))
    yield tmp_path
    assert_nothing_left()


def words_in(shop: Path) -> list[str]:
    """Give what the actors have said."""
    return read_lines(shop / "words")


@pytest.mark.parametrize("to_all", [False, True], ids=["command", "group"])
def test_sigterm_works_off_what_was_accepted_in_order(shop: Path, to_all: bool) -> None:
    with up(shop, "shop:app") as script:
        until_ready(script)
        eventually((shop / "begun").exists, "the first message is handled")
        (os.killpg if to_all else os.kill)(script.pid, signal.SIGTERM)
        assert script.wait() == 0
        assert script.stderr == "SIGTERM: draining, 25 s at most\nstopped\n"
        words = words_in(shop)
        assert [word for word in words if "handled" in word] == [f"handled {n}" for n in range(20)]
        closed = [word for word in words if "closed" in word]
        assert closed == ["closed d", "closed c", "closed b", "closed a"]


def test_a_drain_ends_at_its_limit(shop: Path) -> None:
    with up(shop, "shop:slow") as script:
        until_ready(script)
        eventually((shop / "begun").exists, "the first message is handled")
        begun = time.monotonic()
        os.killpg(script.pid, signal.SIGTERM)
        assert script.wait() == 0
        assert time.monotonic() - begun < 10.0  # far less than the messages take
        assert "SIGTERM: draining, 0.5 s at most" in script.stderr


def test_the_limit_comes_from_the_configuration(shop: Path) -> None:
    (shop / "release.toml").write_text("[node]\ndrain_seconds = 0.25\n")
    with up(shop, "shop:app") as script:
        until_ready(script)
        os.killpg(script.pid, signal.SIGTERM)
        assert script.wait() == 0
        assert "SIGTERM: draining, 0.25 s at most" in script.stderr


def test_ctrl_c_in_a_drain_stops_at_once(shop: Path) -> None:
    with up(shop, "shop:app") as script:
        until_ready(script)
        eventually((shop / "begun").exists, "the first message is handled")
        os.killpg(script.pid, signal.SIGTERM)
        eventually(lambda: "draining" in script.stderr, "it drains")
        os.killpg(script.pid, signal.SIGTERM)  # says nothing new
        script.interrupt()
        assert script.wait() == 130
        assert script.stderr.endswith("stopped at once\n")


def test_stop_drains_within_its_timeout(shop: Path) -> None:
    with up(shop, "shop:app") as script:
        until_ready(script)
        assert gristmill(shop, "stop").returncode == 0
        assert script.wait() == 0
        assert len([word for word in words_in(shop) if "handled" in word]) == 20


def test_a_hang_up_of_all_is_one_reload_and_no_stop(shop: Path) -> None:
    with up(shop, "shop:app") as script:
        until_ready(script)
        os.killpg(script.pid, signal.SIGHUP)
        eventually(lambda: "reloaded: 2 workers" in script.stderr, "it is reloaded", 15.0)
        os.kill(script.pid, signal.SIGTERM)
        assert script.wait() == 0
        assert "not reloaded" not in script.stderr
        assert "[shop] reload" not in script.stderr


def test_a_terminal_that_is_closed_ends_the_node_in_order(shop: Path) -> None:
    master, slave = pty.openpty()
    code = (
        "import os, sys; os.setsid(); os.close(os.open(sys.argv[1], os.O_RDWR)); "
        "os.execv(sys.executable, [sys.executable, '-m', 'gristmill', 'up', 'shop:app'])"
    )
    command = [sys.executable, "-c", code, os.ttyname(slave)]
    with (shop / "said").open("wb") as said:
        process = subprocess.Popen(command, cwd=shop, stdout=said, stderr=said)
    os.close(slave)
    eventually(lambda: READY in (shop / "said").read_text(), "it is up", 15.0)
    os.close(master)
    assert process.wait(15.0) == 0
    assert "draining" in (shop / "said").read_text()
    closed = [word for word in words_in(shop) if "closed" in word]
    assert closed == ["closed d", "closed c", "closed b", "closed a"]


def test_a_drain_must_be_a_time() -> None:
    for wrong in (-1.0, True, "long", float("nan")):
        with pytest.raises(UsageError, match="drain is"):
            Node(drain=wrong)  # type: ignore[arg-type]  # that is what is tested
