"""Programs as people run them: what they print, and what they get wrong."""

from __future__ import annotations

from pathlib import Path

import pytest

from gristmill import Node
from gristmill.errors import WorkerBootError
from support.actors import Add, Worker
from support.processes import kill, worker_pids
from support.scripts import running, running_on_stdin
from support.traces import assert_nothing_left
from support.waiting import eventually


def test_a_preloaded_module_that_fails_to_import() -> None:
    with pytest.raises(
        WorkerBootError, match=r"(?s)can't import support.broken_module.*no such table"
    ):
        Node(workers=2, preload=["support.broken_module"]).start()
    with pytest.raises(WorkerBootError, match="can't import no_such_module"):
        Node(workers=2, preload=["no_such_module"]).start()
    assert_nothing_left(1.5)


def test_a_script_that_fails_in_the_workers(tmp_path: Path) -> None:
    source = """
        from gristmill import Node

        if __name__ != "__main__":
            raise ImportError("only in the workers")
        if __name__ == "__main__":
            with Node(workers=2) as node:
                print("up")
    """
    with running(tmp_path, source) as script:
        assert script.wait() == 1
        assert "only in the workers" in script.stderr
        assert "up" not in script.rest()
    assert_nothing_left(1.5)


def test_a_script_without_a_main_guard(tmp_path: Path) -> None:
    source = """
        from gristmill import Node

        with Node(workers=2) as node:
            print("up")
    """
    with running(tmp_path, source) as script:
        assert script.wait() == 1
        assert "if __name__ == '__main__':" in script.stderr
        assert "up" not in script.rest()
    assert_nothing_left(1.5)


def test_a_class_on_stdin(tmp_path: Path) -> None:
    actor = """
        from gristmill import Actor, Node

        class Pricer(Actor):
            pass

        with Node(workers=1) as node:
            node.spawn(Pricer)
    """
    with running_on_stdin(tmp_path, actor) as script:
        assert script.wait() == 1
        assert "ActorTypeError: actor Pricer: " in script.stderr
        assert "move them into a .py file" in script.stderr
    message = """
        from gristmill import Request

        class GetPrice(Request[int]):
            sku: str
    """
    with running_on_stdin(tmp_path, message) as script:
        assert script.wait() == 1
        assert "MessageTypeError: message type GetPrice: " in script.stderr
        assert "move them into a .py file" in script.stderr
    assert_nothing_left(1.5)


def test_a_script_prints_through_its_workers_in_labelled_whole_lines(tmp_path: Path) -> None:
    source = """
        from concurrent.futures import ThreadPoolExecutor

        from gristmill import Actor, Node, Request, handles

        class Say(Request[None]):
            text: str

        class Talker(Actor):
            @handles
            def say(self, msg: Say, ctx: object) -> None:
                for part in msg.text.split():
                    print(part, end=" ")
                print()
                ctx.log.warning("said %s", msg.text)

        if __name__ == "__main__":
            with Node(workers=2) as node:
                talkers = [node.spawn(Talker, name=f"talker-{n}") for n in (1, 2)]
                with ThreadPoolExecutor(2) as threads:
                    for talker in talkers:
                        threads.submit(lambda t=talker: list(
                            t.ask_many(Say(f"one two {i}") for i in range(50))))
    """
    with running(tmp_path, source) as script:
        lines = script.rest().splitlines()
        assert script.wait() == 0
        logged = script.stderr.splitlines()
    for number in (1, 2):
        said = [line for line in lines if line.startswith(f"[w{number} talker-{number}]")]
        assert [x.split("] ")[1].strip() for x in said] == [f"one two {i}" for i in range(50)]
        assert sum(f"[w{number} talker-{number}] WARNING" in line for line in logged) == 50
    assert len(lines) == 100


def test_a_module_that_starts_threads_is_loaded_anew_in_each_worker(
    capfd: pytest.CaptureFixture[str],
) -> None:
    with Node(workers=2, preload=["support.threaded_module"]) as node:
        refs = [node.spawn(Worker, placement=place) for place in ("w1", "w2")]
        kill(worker_pids(node)["w1"])
        eventually(lambda: node.status().worker_restarts == 1, "another worker")
        assert refs[1].ask(Add(1, 2)) == 3
        assert refs[0].ask(Add(1, 2)) == 3
    assert "support.threaded_module starts threads" in capfd.readouterr().err
    assert_nothing_left(1.5)


@pytest.mark.parametrize(
    ("own", "found"), [("", "10000 10 10"), ("gc.set_threshold(123, 4, 5)", "123 4 5")]
)
def test_workers_collect_garbage_as_their_modules_say(tmp_path: Path, own: str, found: str) -> None:
    source = f"""
        import gc

        from gristmill import Actor, Node, Request, handles

        {own}

        class Thresholds(Request[str]):
            pass

        class Worker(Actor):
            @handles
            def tell(self, query: Thresholds) -> str:
                return " ".join(map(str, gc.get_threshold()))

        if __name__ == "__main__":
            with Node(workers=1) as node:
                print(node.spawn(Worker).ask(Thresholds()))
    """
    with running(tmp_path, source) as script:
        assert script.wait() == 0, script.stderr
        assert found in script.rest()
    assert_nothing_left(1.5)


def test_a_client_loads_numpy_with_its_first_array(tmp_path: Path) -> None:
    source = """
        import sys
        from typing import Any

        from gristmill import Actor, Node, Request, handles


        class Grid(Request[Any]):
            rows: int


        class Maker(Actor):
            @handles
            def grid(self, msg: Grid) -> Any:
                import numpy as np

                return np.ones((msg.rows, 1000)) if msg.rows else None


        if __name__ == "__main__":
            with Node(workers=2) as node:
                maker = node.spawn(Maker)
                print(maker.ask(Grid(0)), "numpy" in sys.modules)
                small, large = maker.ask(Grid(1)), maker.ask(Grid(100))
                print(small.sum(), large.sum(), "numpy" in sys.modules)
    """
    with running(tmp_path, source) as script:
        assert script.line() == "None False"
        assert script.line() == "1000.0 100000.0 True"
        assert script.wait() == 0, script.stderr
    assert_nothing_left(1.5)
