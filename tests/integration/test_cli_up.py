"""``gristmill up``, ``status``, ``tree`` and ``stop`` with real processes."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Iterator
from pathlib import Path
from textwrap import dedent

import psutil
import pytest

from gristmill import ActorFactory, ActorNotFoundError, NodeBuilder, ObjectRegistry
from gristmill.node.rundir import find_node
from support.actors import Add, Worker
from support.chrome import Chrome
from support.commands import gristmill, until_ready, up
from support.scripts import Script
from support.traces import assert_nothing_left
from support.waiting import eventually

SHOP = """
    import os, time
    from gristmill import Actor, ActorBuilder, Command, NodeBuilder, handles

    class Go(Command):
        pass

    class Pricer(Actor):
        def terminate(self, reason, ctx):
            print("closed", ctx.name)

    class Stuck(Actor):
        def on_start(self, ctx):
            ctx.send_after(0.0, Go())

        @handles
        def go(self, msg: Go) -> None:
            open("stuck", "w").close()
            time.sleep(60)

    class Crashing(Actor):
        def on_start(self, ctx):
            ctx.send_after(0.0, Go())

        @handles
        def go(self, msg: Go) -> None:
            raise ValueError("bad day")

    class Unstartable(Actor):
        def __init__(self):
            raise RuntimeError("no price table")

    one = ActorBuilder(Pricer).name("one")
    app = NodeBuilder("shop").workers(1).pool(Pricer, "pricers", size=2).actor(one)
    stuck = NodeBuilder("stuck").workers(1).actor(ActorBuilder(Stuck).shutdown(60.0))
    crashing = NodeBuilder("crashing").workers(1).actor(ActorBuilder(Crashing).name("c"))
    unstartable = NodeBuilder().workers(1).actor(ActorBuilder(Unstartable).name("u"))
"""


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[Path]:
    """Give a folder with the application's module; nothing of a run may be left at the end."""
    (tmp_path / "shop.py").write_text(dedent(SHOP))
    yield tmp_path
    assert_nothing_left()


def terminate(script: Script, number: int = signal.SIGTERM) -> None:
    os.kill(script.pid, number)


def test_a_node_is_shown_and_stopped_from_another_terminal(shop: Path) -> None:
    with up(shop, "shop:app") as script:
        printed = until_ready(script)
        assert printed.startswith("shop is up: 1 worker, 3 actors")
        assert "pricers-2  running" in printed

        status = gristmill(shop, "status")
        assert status.returncode == 0
        assert "shop  running, 1 worker, 3 actors" in status.stdout
        assert "names: one, pricers-1, pricers-2" in status.stdout
        facts = json.loads(gristmill(shop, "status", "--node", "shop", "--json").stdout)
        assert (facts["node_id"], facts["names"]) == ("shop", ["one", "pricers-1", "pricers-2"])
        assert psutil.pid_exists(facts["workers"][0]["pid"])

        tree = gristmill(shop, "tree")
        assert "pricers  running  one_for_one, 0 of 3 restarts in 5 s" in tree.stdout
        members = json.loads(gristmill(shop, "tree", "--json").stdout)["children"]
        assert [member["id"] for member in members] == ["pricers", "one"]

        wrong = gristmill(shop, "status", "--node", "shoop")
        assert (wrong.returncode, wrong.stdout) == (3, "")
        assert wrong.stderr == "error: no node 'shoop' runs here (nodes: shop)\n"

        taken = gristmill(shop, "up", "shop:app")
        assert taken.returncode == 2
        assert "error: a node 'shop' runs already" in taken.stderr

        stopped = gristmill(shop, "stop")
        assert (stopped.returncode, stopped.stdout) == (0, "shop stopped\n")
        assert script.wait() == 0
        assert script.stderr == "stopped\n"
        assert script.rest().count("closed") == 3


def test_sizes_come_from_flag_environment_and_file(
    shop: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (shop / "release.toml").write_text('[node]\nnode_id = "file"\n[pools.pricers]\nsize = 4\n')
    monkeypatch.setenv("NODE_WORKERS", "2")
    with up(shop, "shop:app", "--node-id", "flag") as script:
        assert until_ready(script).startswith("flag is up: 2 workers, 5 actors")
        terminate(script)
        assert script.wait() == 0


def test_one_ctrl_c_drains(shop: Path) -> None:
    with up(shop, "shop:app") as script:
        until_ready(script)
        script.interrupt()
        assert script.wait() == 130
        assert script.stderr == "draining; press Ctrl-C again to stop at once\nstopped\n"
        assert script.rest().count("closed") == 3


def test_a_stop_writes_the_trace_of_the_last_messages(shop: Path) -> None:
    with up(shop, "shop:app", "--trace", "trace.json", "--trace-window", "60") as script:
        until_ready(script)
        script.interrupt()
        assert script.wait() == 130
        assert "\ntrace: the last " in script.stderr
        assert script.stderr.endswith("\nstopped\n")
    drawing = Chrome((shop / "trace.json").read_bytes())
    assert "Pricer.start" in {shown.name for shown in drawing.messages("w1")}
    wrong = gristmill(shop, "up", "shop:app", "--trace", "no/trace.json")
    assert (wrong.returncode, "there is no folder" in wrong.stderr) == (2, True)


def test_two_ctrl_c_stop_at_once(shop: Path) -> None:
    with up(shop, "shop:stuck") as script:
        until_ready(script)
        eventually((shop / "stuck").exists, "the actor computes")
        script.interrupt()
        eventually(lambda: "draining" in script.stderr, "the first one was seen")
        script.interrupt()
        assert script.wait(2.0) == 130
        assert script.stderr.endswith("stopped at once\n")
        assert_nothing_left(1.5)


def test_ctrl_c_during_the_start(shop: Path) -> None:
    with up(shop, "shop:app") as script:
        eventually(lambda: psutil.Process(script.pid).children(), "the supervisor process starts")
        script.interrupt()
        assert script.wait() == 130
        assert "Traceback" not in script.stderr


def test_sigterm_drains(shop: Path) -> None:
    with up(shop, "shop:app") as script:
        until_ready(script)
        terminate(script)
        assert script.wait() == 0
        assert script.stderr == "SIGTERM: draining, 25 s at most\nstopped\n"
        assert script.rest().count("closed") == 3


def test_stop_now_does_not_wait(shop: Path) -> None:
    with up(shop, "shop:stuck") as script:
        until_ready(script)
        eventually((shop / "stuck").exists, "the actor computes")
        assert gristmill(shop, "stop", "--now").returncode == 0
        assert script.wait(2.0) == 0


def test_restart_intensity_exceeded(shop: Path) -> None:
    with up(shop, "shop:crashing") as script:
        assert script.wait() == 5
        error = script.stderr[script.stderr.index("error: ") :]
        assert error.splitlines()[0] == "error: restart intensity exceeded:"
        assert "root/c: crash: ValueError: bad day" in error
        assert "4 restarts in 5 s, 3 allowed" in error


def test_an_actor_that_cannot_start(shop: Path) -> None:
    result = gristmill(shop, "up", "shop:unstartable")
    assert result.returncode == 1
    assert result.stderr.count("error: ") == 1
    assert "can't start" in result.stderr
    assert "root/u: crash: RuntimeError: no price table" in result.stderr
    assert "Traceback" not in result.stderr


def test_a_module_that_only_workers_cannot_import(shop: Path) -> None:
    (shop / "halves.py").write_text(
        dedent("""
        import sys
        from gristmill import NodeBuilder
        if "gristmill.cli.up" not in sys.modules:
            import no_such_module
        app = NodeBuilder().workers(1)
        """)
    )
    result = gristmill(shop, "up", "halves:app")
    assert result.returncode == 2
    assert "error: can't import halves: ModuleNotFoundError" in result.stderr
    assert "halves.py" in result.stderr
    assert "forkserver.py" not in result.stderr
    assert result.stderr.count("error: ") == 1


def test_the_supervisor_process_is_killed(shop: Path) -> None:
    with up(shop, "shop:app") as script:
        until_ready(script)
        os.kill(find_node("shop").supervisor, signal.SIGKILL)
        assert script.wait(1.5) == 1
        assert script.stderr == "error: the supervisor process is gone (killed by SIGKILL)\n"


def test_the_command_itself_is_killed(shop: Path) -> None:
    with up(shop, "shop:app") as script:
        until_ready(script)
        terminate(script, signal.SIGKILL)
        assert script.wait() == 128 + signal.SIGKILL
        assert_nothing_left(1.5)


def test_an_ordered_stop_may_take_for_ever(shop: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NODE_DRAIN_SECONDS", "1e12")
    with up(shop, "shop:app") as script:
        until_ready(script)
        script.interrupt()
        assert script.wait() == 130
        assert script.stderr.endswith("\nstopped\n")
    with up(shop, "shop:app") as script:
        until_ready(script)
        stopped = gristmill(shop, "stop", "--timeout", "inf")
        assert (stopped.returncode, stopped.stdout) == (0, "shop stopped\n"), stopped.stderr
        assert script.wait() == 0


def test_a_target_that_cannot_be_imported(shop: Path) -> None:
    (shop / "bad.py").write_text("x = 1\nimport nunpy\n")
    result = gristmill(shop, "up", "bad:app")
    assert (result.returncode, result.stdout) == (2, "")
    assert result.stderr == (
        "error: can't import bad: ModuleNotFoundError: No module named 'nunpy' "
        f"({shop / 'bad.py'}:2: import nunpy)\n"
    )


def test_a_built_node_has_what_the_builder_said() -> None:
    registry = ObjectRegistry()
    factory = ActorFactory(registry)
    factory.register("worker", Worker)
    with NodeBuilder("built").workers(1).pool(Worker, "calcs", size=2, args=(5,)).build() as node:
        registry.add_node(node)
        calcs = node.lookup_pool("calcs", routing="round_robin")
        assert [member.name for member in calcs.members] == ["calcs-1", "calcs-2"]
        assert calcs.ask(Add(1, 2)) == 8
        made = factory.create("worker", node, args=(10,), name="made")
        assert made.ask(Add(1, 2)) == 13
        assert registry.lookup("made") == made
        assert [facts.node_id for facts in registry.running_nodes()] == ["built"]
        with pytest.raises(ActorNotFoundError, match="no pool is named 'calc'"):
            node.lookup_pool("calc")
