"""Workers that are replaced while everyone goes on: the code is loaded anew, nothing is lost."""

from __future__ import annotations

import fcntl
import os
import signal
import sys
import threading
from collections import defaultdict
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from textwrap import dedent
from types import ModuleType

import numpy as np
import psutil
import pytest

from gristmill import ActorBuilder, Node, Strategy, SupervisorSpec
from gristmill.errors import ReloadError, UsageError
from support.actors import Hold, Worker, read_lines
from support.moving import (
    Answer,
    Chained,
    Count,
    Later,
    Ledger,
    Mover,
    Nap,
    Passed,
    PassOn,
    Pump,
    Seen,
    Total,
    Where,
)
from support.processes import all_delivered, kill, supervisor_pid, worker_pids
from support.transports import transport  # noqa: F401 - a fixture, used by all tests
from support.waiting import eventually

CODE = """
    from gristmill import Actor, Request, handles

    class Version(Request[str]):
        pass

    class Shop(Actor):
        @handles
        def version(self, msg: Version) -> str:
            return {version!r}
"""


@pytest.fixture
def shop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    """Give a module that lies on the disk, where it can be changed."""
    monkeypatch.syspath_prepend(str(tmp_path))
    write(tmp_path, CODE.format(version="old"))
    yield import_module("changing")
    del sys.modules["changing"]


def write(folder: Path, code: str) -> None:
    """Change the module; its size must change too, see ``py_compile``."""
    (folder / "changing.py").write_text(dedent(code))


@contextmanager
def asking(ask: Callable[[], object], threads: int = 2) -> Iterator[list[object]]:
    """Have threads ask again and again in the block; gives the answers, and raises errors."""
    answers: list[object] = []
    over = threading.Event()

    def go_on() -> None:
        while not over.is_set():
            answers.append(ask())

    with ThreadPoolExecutor(threads) as pool:
        futures = [pool.submit(go_on) for _ in range(threads)]
        try:
            yield answers
        finally:
            over.set()
        for future in futures:
            future.result()


def test_changed_code_is_taken_up_without_an_ask_that_fails(
    shop: ModuleType, tmp_path: Path
) -> None:
    with Node(workers=2, max_restarts=0) as node:
        shops = [node.spawn(shop.Shop, name=f"shop-{n}") for n in range(4)]
        before = worker_pids(node)
        version = shop.Version()
        with asking(lambda: tuple(ref.ask(version, timeout=10.0) for ref in shops)) as answers:
            eventually(lambda: len(answers) > 10, "asks are under way")
            write(tmp_path, CODE.format(version="newer"))
            reloaded = node.reload()
            done = len(answers)
            eventually(lambda: len(answers) > done + 10, "asks are answered again", 10.0)
        assert reloaded.workers == 2
        assert answers[0] == ("old",) * 4
        assert answers[-1] == ("newer",) * 4
        after = worker_pids(node)
        assert before.keys() == after.keys()
        assert not set(before.values()) & set(after.values())
        status = node.status()
        assert (status.worker_replacements, status.worker_restarts) == (2, 0)
        assert node.dead_letters() == []
        node.spawn(shop.Shop, name="later", placement="dedicated")
        assert node.lookup("later").ask(version) == "newer"


@pytest.mark.parametrize(
    ("code", "why"),
    [
        ("def", "SyntaxError"),
        ("import no_such_module", "No module named 'no_such_module'"),
        ("x = 1", "Shop"),
    ],
)
def test_code_that_is_broken_changes_nothing_and_says_why(
    shop: ModuleType, tmp_path: Path, code: str, why: str
) -> None:
    with Node(workers=2) as node:
        ref = node.spawn(shop.Shop)
        before = worker_pids(node)
        write(tmp_path, code)
        with pytest.raises(ReloadError, match=why) as caught:
            node.reload()
        assert str(caught.value).startswith("nothing was reloaded: can't import changing")
        assert ref.ask(shop.Version()) == "old"
        assert worker_pids(node) == before
        write(tmp_path, CODE.format(version="mended"))
        node.reload()
        assert ref.ask(shop.Version()) == "mended"


def test_a_worker_that_cannot_come_up_changes_nothing(shop: ModuleType, tmp_path: Path) -> None:
    code = CODE.format(version="mortal") + "    import os\n    os.register_at_fork(%s)\n"
    with Node(workers=1) as node:
        ref = node.spawn(shop.Shop)
        write(tmp_path, code % "after_in_child=lambda: os._exit(7)")
        with pytest.raises(ReloadError, match=r"nothing was reloaded: .* exited with code 7"):
            node.reload()
        assert ref.ask(shop.Version()) == "old"


def test_messages_keep_their_order_and_none_is_lost(tmp_path: Path) -> None:
    log = tmp_path / "log"
    count = 2000
    with Node(workers=2, max_restarts=0) as node:
        target = node.spawn(Mover, args=(str(log),), placement="w1")
        near = node.spawn(Mover, placement="w1")
        far = node.spawn(Mover, placement="w2")
        with ThreadPoolExecutor(3) as pool:
            pumps = [
                pool.submit(sender.ask, Pump(target, name, count), timeout=60.0)
                for sender, name in ((near, "near"), (far, "far"))
            ]
            own = pool.submit(
                lambda: [target.tell(Count("client", n)) for n in range(1, count + 1)]
            )
            for _ in range(2):
                node.reload()
            own.result()
            for pump in pumps:
                assert pump.result() == count
        target.ask(Where())
        eventually(lambda: len(read_lines(log)) >= 3 * count, "all have come", 30.0)
        assert order_of(log) == {
            name: list(range(1, count + 1)) for name in ("near", "far", "client")
        }
        eventually(lambda: node.counters().balanced, "every message is accounted for")
        assert node.counters().dropped == {}
        assert node.dead_letters() == []


def order_of(log: Path) -> dict[str, list[int]]:
    """Give the numbers that came from each sender, in the order in which they were handled."""
    found: defaultdict[str, list[int]] = defaultdict(list)
    for line in read_lines(log):
        sender, number = line.split()
        found[sender].append(int(number))
    return found


def test_what_a_replaced_worker_has_said_comes_before_what_the_new_one_says(tmp_path: Path) -> None:
    log = tmp_path / "log"
    with Node(workers=2, max_restarts=0) as node:
        events = node.subscribe("passed", Passed, capacity=1_000_000)
        target = node.spawn(Mover, args=(str(log),), placement="w2")
        mover = node.spawn(Mover, placement="w1")
        count = 0
        with ThreadPoolExecutor(1) as pool:
            for _ in range(2):
                reload = pool.submit(node.reload)
                while not reload.done():
                    count += 1
                    mover.tell(PassOn(target, count))
                reload.result()
        mover.ask(Where())
        target.ask(Where())
        numbers = list(range(1, count + 1))
        eventually(lambda: len(read_lines(log)) >= count, "all have come", 30.0)
        assert order_of(log) == {"passed": numbers}
        seen = [event.n for event in [events.get(timeout=5.0), *events.drain()] if event]
        assert seen == numbers


def test_keyed_actors_go_on_where_they_are(tmp_path: Path) -> None:
    log = tmp_path / "log"
    with Node(workers=2, max_restarts=0) as node:
        group = node.keyed(Mover, "movers", args=(str(log),), max_restarts=0)
        keys = [f"key-{n}" for n in range(8)]
        before = {group.ask(key, Where()) for key in keys}
        count = 0
        with ThreadPoolExecutor(1) as pool:
            reload = pool.submit(node.reload)
            while not reload.done():
                count += 1
                for key in keys:
                    group.tell(key, Count(key, count))
            reload.result()
        after = {group.ask(key, Where()) for key in keys}
        assert not before & after
        eventually(lambda: len(read_lines(log)) >= count * len(keys), "all have come", 30.0)
        assert order_of(log) == {key: list(range(1, count + 1)) for key in keys}
        eventually(lambda: node.counters().balanced, "every message is accounted for")
        assert node.counters().dropped == {}
        assert node.dead_letters() == []


def test_chains_of_asks_that_come_back_to_the_worker_get_their_answers() -> None:
    with Node(workers=2, max_restarts=0) as node:
        first = [node.spawn(Mover, placement="w1") for _ in range(3)]
        middle = [node.spawn(Mover, placement="w2") for _ in range(3)]
        last = [node.spawn(Mover, placement="w1") for _ in range(3)]
        chains = [Chained([b, c]) for b, c in zip(middle, last, strict=True)]

        def ask() -> int:
            number = threading.get_ident() % 3
            return first[number].ask(chains[number], timeout=20.0)

        with asking(ask, threads=3) as answers:
            eventually(lambda: len(answers) > 10, "chains are under way")
            node.reload()
            done = len(answers)
            eventually(lambda: len(answers) > done + 10, "chains come back again", 10.0)
        assert len(set(answers)) == 2


def test_handlers_under_way_finish_and_deferred_replies_come() -> None:
    with Node(workers=1) as node:
        mover, other = node.spawn(Mover), node.spawn(Mover)
        with ThreadPoolExecutor(3) as pool:
            nap = pool.submit(mover.ask, Nap(0.6))
            behind = other.request(Later())
            old = other.ask(Where())
            reload = pool.submit(node.reload)
            assert nap.result() == "rested"
            assert not reload.done()  # it waits for the reply that was deferred
            other.tell(Answer())
            assert behind.result() == old
            reload.result()
        assert other.ask(Where()) != old


def test_durable_actors_replay_and_count_every_message_once(tmp_path: Path) -> None:
    count = 300
    with Node(workers=2, journal=tmp_path / "journal", max_restarts=0) as node:
        ledger = node.spawn(Ledger, name="ledger", placement="w1")
        near = node.spawn(Mover, name="near", placement="w1")
        far = node.spawn(Mover, name="far", placement="w2")
        with ThreadPoolExecutor(3) as pool:
            pumps = [
                pool.submit(s.ask, Pump(ledger, s.name, count, "at_least_once"), timeout=60.0)
                for s in (near, far)
            ]
            for _ in range(2):
                node.reload()
            for n in range(1, count + 1):
                ledger.tell(Count("client", n), delivery="at_least_once")
            for pump in pumps:
                pump.result()
        all_delivered(ledger)
        lines = eventually(
            lambda: seen if len(seen := ledger.ask(Seen())) >= 3 * count else None, "all", 20.0
        )
        for sender in ("near", "far", "client"):
            own = [line for line in lines if line.startswith(sender)]
            assert own == [f"{sender} {n}" for n in range(1, count + 1)]


def test_arrays_that_wait_in_a_mailbox_go_along() -> None:
    with Node(workers=1) as node:
        mover = node.spawn(Mover)
        asked = [mover.request(Total(np.full(100_000, float(n)))) for n in range(60)]
        node.reload()
        assert [each.result() for each in asked] == [n * 100_000.0 for n in range(60)]


@pytest.mark.parametrize("victim", ["old", "new"])
def test_a_worker_that_dies_in_a_reload_is_restarted(victim: str) -> None:
    with Node(workers=1, max_restarts=100) as node:
        mover, napping = node.spawn(Mover, name="mover"), node.spawn(Mover)
        (old,) = worker_pids(node).values()
        napping.request(Nap(30.0))  # it can't be replaced before
        with ThreadPoolExecutor(1) as pool:
            reload = pool.submit(node.reload)
            eventually(lambda: state(node) == "handing over", "a new worker is up", 10.0)
            new = set(children_of_servers(node)) - {old}
            kill(old if victim == "old" else new.pop())
            if victim == "old":
                assert reload.result(20.0).workers == 1
            else:
                with pytest.raises(ReloadError, match="killed by SIGKILL"):
                    reload.result(20.0)
                assert mover.ask(Where()) == old
                kill(old)
        assert eventually(lambda: answer(node), "it is there again", 10.0) != old


def test_a_worker_that_has_left_its_place_to_one_that_died_is_started_again(
    tmp_path: Path,
) -> None:
    gate, journal = tmp_path / "gate", tmp_path / "journal"
    with Node(workers=1, journal=journal, max_restarts=0) as node, ThreadPoolExecutor(1) as pool:
        node.spawn(Mover, name="mover")
        held = node.spawn(Worker).request(Hold(str(gate)))  # it can't be replaced before
        (old,) = worker_pids(node).values()
        reload = pool.submit(node.reload)
        eventually(lambda: state(node) == "handing over", "a new worker is up", 10.0)
        eventually(lambda: answer(node, 0.2) == 0, "the old one is about to leave", 10.0)
        (new,) = set(children_of_servers(node)) - {old}
        with stopped(supervisor_pid(node)):
            gate.touch()
            held.result(10.0)
            eventually(lambda: is_free(journal / "w1.lock"), "the old one has left", 10.0)
            kill(new)
            eventually(lambda: not psutil.pid_exists(new), "the new one is dead")
        with pytest.raises(ReloadError, match="killed by SIGKILL"):
            reload.result(20.0)
        assert eventually(lambda: answer(node), "it is there again", 10.0) not in {old, new}


@contextmanager
def stopped(pid: int) -> Iterator[None]:
    """Have a process stand still in the block."""
    kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        kill(pid, signal.SIGCONT)


def is_free(lock: Path) -> bool:
    """Tell whether no process holds a lock file."""
    with lock.open("r+") as file:
        try:
            fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            return False
    return True


def state(node: Node) -> str:
    """Give the state of the only worker."""
    (worker,) = node.status().workers
    return worker.state


def answer(node: Node, timeout: float = 1.0) -> int:
    """Ask the actor where it is; 0 while it is nowhere."""
    try:
        pid: int = node.lookup("mover").ask(Where(), timeout=timeout)
    except Exception:  # its worker has just died
        return 0
    return pid


def children_of_servers(node: Node) -> list[int]:
    """Give the worker processes: the children of the fork servers."""
    supervisor = psutil.Process(supervisor_pid(node))
    return [child.pid for server in supervisor.children() for child in server.children()]


def test_strategies_hold_and_cost_nothing() -> None:
    group = SupervisorSpec(
        "group",
        strategy=Strategy.ONE_FOR_ALL,
        max_restarts=0,
        children=tuple(ActorBuilder(Mover).name(f"member-{n}").child_spec() for n in range(4)),
    )
    with Node(workers=2, supervisors=[group], max_restarts=0) as node:
        before = worker_pids(node).values()
        node.reload()
        members = [node.lookup(f"member-{n}") for n in range(4)]
        assert {ref.ask(Where()) for ref in members} == set(worker_pids(node).values())
        assert not set(before) & set(worker_pids(node).values())


def test_sighup_of_the_supervisor_process(capfd: pytest.CaptureFixture[str]) -> None:
    with Node(workers=1) as node:
        before = worker_pids(node)
        os.kill(supervisor_pid(node), signal.SIGHUP)
        eventually(lambda: node.status().worker_replacements == 1, "it is replaced", 10.0)
        assert worker_pids(node) != before
    assert "reload: 1 workers in" in capfd.readouterr().err


def test_a_reload_is_refused_while_another_one_is_under_way() -> None:
    with Node(workers=1) as node:
        node.spawn(Mover).request(Nap(1.0))
        with ThreadPoolExecutor(1) as pool:
            first = pool.submit(node.reload)
            eventually(lambda: state(node) == "handing over", "a new worker is up", 10.0)
            with pytest.raises(UsageError, match="being reloaded already"):
                node.reload()
            assert first.result().workers == 1


def test_a_node_in_one_process_says_that_it_cannot() -> None:
    with (
        Node(workers=1, in_process=True) as node,
        pytest.raises(UsageError, match="start the program again"),
    ):
        node.reload()
