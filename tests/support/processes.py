"""The processes of a node, as a killer finds them."""

from __future__ import annotations

import os
import signal
from collections.abc import Container

import psutil

from gristmill import Node
from gristmill.node.client.post import ClientPost
from gristmill.node.rundir import find_node
from gristmill.ref import AnyRef
from support.waiting import eventually


def supervisor_pid(node: Node) -> int:
    """Give the supervisor process's id."""
    return find_node(node.node_id).supervisor


def fork_server_pid(node: Node) -> int:
    """Give the fork server's id: the supervisor process's only child."""
    (child,) = psutil.Process(supervisor_pid(node)).children()
    return child.pid


def worker_pids(node: Node) -> dict[str, int]:
    """Give the ids of the living workers by name."""
    return {worker.name: worker.pid for worker in node.status().workers if worker.pid}


def next_pid(node: Node, worker: str, dead: Container[int]) -> int:
    """Give the id of a worker, once it lives in a process that is none of the ``dead``."""

    def living() -> int:
        pid = worker_pids(node).get(worker, 0)
        return 0 if pid in dead else pid

    return eventually(living, f"{worker} has been started again")


def kill(pid: int, number: int = signal.SIGKILL) -> None:
    """Send a signal."""
    os.kill(pid, number)


def all_delivered(ref: AnyRef, within: float = 10.0) -> None:
    """Wait until every at-least-once message of this client is acknowledged."""
    post = ref._post
    assert isinstance(post, ClientPost)
    assert post.wait_until(lambda: post.undelivered == 0, within)
