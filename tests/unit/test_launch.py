"""What is looked at before the supervisor process is started."""

from __future__ import annotations

import resource

import pytest

from gristmill import Node
from gristmill.errors import NodeStartError
from gristmill.node.processes.launch import check_open_files


@pytest.mark.parametrize("allowed", [64, 128, resource.RLIM_INFINITY])
def test_workers_need_open_files(monkeypatch: pytest.MonkeyPatch, allowed: int) -> None:
    monkeypatch.setattr(resource, "getrlimit", lambda _: (allowed, allowed))
    check_open_files(15, journaled=False)
    check_open_files(6, journaled=True)
    if allowed == 64:
        with pytest.raises(NodeStartError, match=r"workers=16. needs 66 open files .* and 64 are"):
            Node(workers=16).start()
        with pytest.raises(NodeStartError, match=r"workers=7. needs 69 open files"):
            check_open_files(7, journaled=True)
    else:
        check_open_files(47, journaled=False)
