# ruff: noqa: N802 - named by the conformance row's id
"""Conformance groups 1, 6 and 8: starts that fail, are refused, or never end; odd messages."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
import zmq

from gristmill import (
    ActorNotFoundError,
    AskTimeoutError,
    Ignore,
    Node,
    Strategy,
    SupervisorSpec,
)
from gristmill.errors import AlreadyStartedError, StartFailedError, StartTimeoutError, UsageError
from gristmill.node.rundir import find_node
from gristmill.supervision import ChildSpec, NoProc, SpecError
from gristmill.transport.codec import Codec
from gristmill.worker.specs import actor_spec, child_spec
from support.actors import read_lines
from support.bonding import peer
from support.bonds import Chooser, Finish, Odd, Patient, Peer, Ping, Slow, Unlink
from support.processes import worker_pids
from support.waiting import eventually


@pytest.fixture
def log(tmp_path: Path) -> Path:
    """Give the file that the actors write to."""
    return tmp_path / "log"


def described(kind: type, name: str, *args: object) -> ChildSpec:
    """Describe a child."""
    return child_spec(actor_spec(Codec(None), kind, args=args, name=name), name)


def test_ST03_a_supervisor_whose_child_raises_is_gone(node: Node, log: Path) -> None:
    good, bad = described(Peer, "st03-a", str(log)), described(Odd, "st03-b", "raise")
    with pytest.raises(StartFailedError, match="ValueError: no start"):
        node.start_supervisor(SupervisorSpec("st03", children=(good, bad)))
    assert {"st03-a", "st03-b"}.isdisjoint(node.status().names)
    assert "terminate st03-a shutdown" in read_lines(log)
    (ref,) = node.start_supervisor(SupervisorSpec("st03", children=(good,)))
    ref.ask(Ping())


@pytest.mark.parametrize("junk", [5, None, "st04", ChildSpec("st04", b"")])
def test_ST04_what_is_no_supervisor_is_refused(node: Node, junk: object) -> None:
    with pytest.raises(SpecError, match="is no SupervisorSpec"):
        node.start_supervisor(junk)  # type: ignore[arg-type]  # that is the test


@pytest.mark.parametrize(
    ("junk", "what"),
    [
        (5, "is no spec"),
        (ChildSpec("a"), "has no start"),
        (ChildSpec("a", b""), "describes no actor"),
        (ChildSpec("a", b"junk"), "describes no actor"),
    ],
)
def test_ST04_a_supervisor_with_what_is_no_child_is_refused(
    node: Node, junk: ChildSpec, what: str
) -> None:
    for children in ((junk,), (SupervisorSpec("inner", children=(junk,)),)):
        with pytest.raises(SpecError, match=what):
            node.start_supervisor(SupervisorSpec("st04", children=children))
    assert "st04" not in str(node.status().tree)


@pytest.mark.parametrize("where", ["constructor", "on_start"])
def test_ST05_a_supervisor_whose_children_choose_not_to_run_runs_without_them(
    node: Node, log: Path, tmp_path: Path, where: str
) -> None:
    switch = tmp_path / "switch"
    name = f"st05-{where}"
    children = (
        described(Chooser, name, str(switch), where),
        described(Peer, f"{name}-b", str(log)),
    )
    found = node.start_supervisor(SupervisorSpec(name, children=children))
    assert [ref.name for ref in found] == [f"{name}-b"]
    assert found[0].ask(Ping())
    assert name not in node.status().names


@pytest.mark.parametrize("where", ["constructor", "on_start"])
def test_ST06_who_spawns_an_actor_that_chooses_not_to_run_is_told(
    node: Node, tmp_path: Path, where: str
) -> None:
    switch = tmp_path / "switch"
    for _ in range(2):  # nothing of it is kept
        with pytest.raises(Ignore, match="st06 chose not to run"):
            node.spawn(Chooser, args=(str(switch), where), name="st06")
    switch.write_text("run\n")
    ref = node.spawn(Chooser, args=(str(switch), where), name="st06")
    assert ref.ask(Ping()) == 1
    ref.stop()


def test_ST11_a_name_that_somebody_else_holds(node: Node, log: Path) -> None:
    holder = peer(node, log, "st11")
    born = holder.ask(Ping())
    before = node.status().actors
    with pytest.raises(AlreadyStartedError, match=f"taken by actor #{holder.address.key} "):
        node.spawn(Peer, args=(str(log),), name="st11")
    free, taken = described(Peer, "st11-a", str(log)), described(Peer, "st11", str(log))
    for spec in (
        SupervisorSpec("st11-s", children=(free, taken)),
        SupervisorSpec("st11-s", children=(SupervisorSpec("inner", children=(taken,)),)),
    ):
        with pytest.raises(AlreadyStartedError, match=f"taken by actor #{holder.address.key} "):
            node.start_supervisor(spec)
    twice = SupervisorSpec("inner", children=(free,))
    with pytest.raises(AlreadyStartedError, match="two of the children have the name 'st11-a'"):
        node.start_supervisor(SupervisorSpec("st11-s", children=(free, twice)))
    assert node.status().actors == before
    assert node.lookup("st11").ask(Ping()) == born
    holder.stop()


@pytest.mark.parametrize("how", ["waiting", "computing"])
def test_ST13_a_start_that_takes_too_long_is_undone(
    node: Node, log: Path, tmp_path: Path, how: str
) -> None:
    gate = tmp_path / "gate"
    begun = time.monotonic()
    with pytest.raises(StartTimeoutError, match=r"st13: it did not start within 0\.2 s"):
        node.spawn(Slow, args=(str(gate), how), name="st13", start_timeout=0.2)
    assert 0.2 <= time.monotonic() - begun < 2.0
    assert "st13" not in node.status().names
    gate.touch()
    ref = node.spawn(Slow, args=(str(gate), how), name="st13", start_timeout=5.0)
    assert ref.ask(Ping()) == 1
    ref.stop()


def test_ST13_a_start_that_ends_while_it_is_undone_does_not_count(
    node: Node, tmp_path: Path
) -> None:
    gate = tmp_path / "gate"
    begun = time.monotonic()
    with pytest.raises(StartTimeoutError):
        node.spawn(Slow, args=(str(gate), "nap"), name="st13-n", start_timeout=0.1)
    assert time.monotonic() - begun < 0.5  # its worker was not killed for it
    with pytest.raises(ActorNotFoundError):
        node.lookup("st13-n")


def test_ST13_a_restart_that_takes_too_long_is_a_failure(tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    gate.touch()
    with Node(workers=1, max_restarts=1000, within=1.0) as own:
        own.spawn(Odd, args=("well",))  # has imported what the next start needs
        ref = own.spawn(Slow, args=(str(gate), "waiting"), name="st13-r", start_timeout=0.1)
        gate.unlink()
        ended = own.monitor(ref)
        ref.tell(Finish("crash"))
        assert ended.wait(5.0) is not None
        text = "StartTimeoutError: it did not start within 0.1 s"
        eventually(lambda: text in str(own.status().tree), "a start that failed")
        gate.touch()
        assert ref.ask(Ping()) == 1


@pytest.mark.parametrize("bad", [0, -1.0])
def test_ST13_a_start_timeout_that_is_none(node: Node, bad: float) -> None:
    with pytest.raises(UsageError, match="start_timeout is"):
        node.spawn(Odd, args=("well",), start_timeout=bad)


def test_SD14_a_stop_that_takes_too_long_still_happens(node: Node, log: Path) -> None:
    ref = node.spawn(Patient, args=(str(log), 0.4), name="sd14")
    ended = node.monitor(ref)
    begun = time.monotonic()
    with pytest.raises(AskTimeoutError, match=r"sd14 did not stop within 0\.1 s; it still will"):
        ref.stop(timeout=0.1)
    assert time.monotonic() - begun < 0.35
    assert ended.wait(5.0) is not None
    assert read_lines(log) == ["stopped"]
    eventually(lambda: "sd14" not in node.status().names, "a free name")
    assert node.monitor(ref).wait(1.0) == NoProc()


@pytest.mark.parametrize(
    ("how", "what"),
    [("raise", "ValueError: no start"), ("exit", "exited with code 3"), ("junk", "returned 5")],
)
def test_DA16_a_start_that_goes_wrong_is_an_error_reply(node: Node, how: str, what: str) -> None:
    dynamic = SupervisorSpec(f"da16-{how}", strategy=Strategy.DYNAMIC)
    node.start_supervisor(dynamic)
    with pytest.raises(StartFailedError, match=what):
        node.spawn(Odd, args=(how,), name="da16", supervisor=dynamic.id)
    ref = node.spawn(Odd, args=("well",), name="da16", supervisor=dynamic.id)
    ref.stop()


def test_DA17_a_pool_by_keys_is_a_partition_supervisor(node: Node, log: Path) -> None:
    pool = node.pool(Peer, 3, args=(str(log),), name="da17", routing="consistent_hash")
    by_key = {key: pool.member(key) for key in map(str, range(50))}
    assert set(by_key.values()) == set(pool.members)
    assert all(pool.member(key) == ref for key, ref in by_key.items())
    again = node.lookup_pool("da17", routing="consistent_hash")
    assert all(again.member(key) == ref for key, ref in by_key.items())
    with pytest.raises(ActorNotFoundError, match="no pool is named 'da17-x'"):
        node.lookup_pool("da17-x")
    with pytest.raises(UsageError, match="1 actor or more"):
        node.pool(Peer, 0, args=(str(log),))
    with pytest.raises(AlreadyStartedError):
        node.pool(Peer, 4, args=(str(log),), name="da17", routing="consistent_hash")
    assert len(node.lookup_pool("da17")) == 3


def test_DA22_junk_for_the_supervisor_process_changes_nothing(
    log: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    with Node(workers=1) as own:
        ref = peer(own, log, "da22")
        before = worker_pids(own)
        control = find_node(own.node_id).control
        unknown = Codec(None).encode(Unlink(ref))
        send_junk(control, b"", b"junk", b"\xc1", b"\x92\xa4Call\x01", unknown)
        seen: list[str] = []

        def logged() -> bool:
            seen.append(capfd.readouterr().err)
            return "".join(seen).count("undecodable control message") == 5

        eventually(logged, "a line for each")
        assert worker_pids(own) == before
        assert ref.ask(Ping())


def send_junk(control: str, *bodies: bytes) -> None:
    """Send what is no message to a supervisor process."""
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    with context.socket(zmq.DEALER) as socket:
        socket.setsockopt(zmq.LINGER, 1000)
        socket.connect(control)
        for body in bodies:
            socket.send(body)
    context.term()
