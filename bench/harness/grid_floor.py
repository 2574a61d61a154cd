"""The floor of METG: the grid on raw pyzmq PUSH/PULL sockets, as Task Bench does it on MPI.

One process a core, with a block of adjacent points. What a task gives goes to every task of
another process that needs it in a message of its own, as soon as it is there; a task waits for
what it needs. Where tasks need nothing, a driver sends each in a message, and gets a message back.

Run as a script this is one of the processes: ``grid_floor.py DIRECTORY NUMBER WORKERS CORE``.
"""

from __future__ import annotations

import os
import struct
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from types import TracebackType
from typing import Self

import zmq

from gristmill.metg.blocks import Block
from gristmill.metg.grid import KERNELS, Grid, Output, perform

_WINDOW = 512
"""Tasks that are under way at once for each process, where they need nothing."""
_LIMIT_MS = 300_000
"""How long the driver waits for a message."""
_output = struct.Struct("<3I")
"""Step and point of a task, and the point that needs what it gives."""
_task = struct.Struct("<3I")
"""Step, point, iterations."""


class RawGrid:
    """The processes; does the same as :class:`gristmill.metg.running.NodeGrid`.

    Args:
        cores: the core of each process.
    """

    def __init__(self, cores: list[int]) -> None:
        self._cores = cores
        self._directory = tempfile.TemporaryDirectory(prefix="grid-")
        self._processes: list[subprocess.Popen[str]] = []
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self._pull = self._context.socket(zmq.PULL)
        self._pull.setsockopt(zmq.RCVTIMEO, _LIMIT_MS)
        self._pull.bind(f"ipc://{self._directory.name}/driver")
        self._push: list[zmq.Socket[bytes]] = []

    def __enter__(self) -> Self:
        for number, core in enumerate(self._cores):
            place = (self._directory.name, str(number), str(len(self._cores)), str(core))
            command = [sys.executable, "-m", "harness.grid_floor", *place]
            folder = Path(__file__).parents[1]
            pipe = subprocess.PIPE
            self._processes.append(
                subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True, cwd=folder)
            )
        for process in self._processes:
            assert process.stdout is not None
            process.stdout.readline()  # its sockets are bound
        for number in range(len(self._cores)):
            push = self._context.socket(zmq.PUSH)
            push.connect(f"ipc://{self._directory.name}/{number}")
            self._push.append(push)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for process in self._processes:
            process.kill()
            process.communicate()
        self._context.destroy(linger=0)
        self._directory.cleanup()

    def run(self, grid: Grid, steps: int, kernel: str, iterations: int) -> float:
        """Do all tasks of so many steps; give the seconds."""
        order = f"{grid.pattern} {grid.width} {steps} {kernel} {iterations}"
        for process in self._processes:
            assert process.stdin is not None
            assert process.stdout is not None
            process.stdin.write(order + "\n")
            process.stdin.flush()
            process.stdout.readline()
        begin = time.perf_counter()
        if grid.pattern == "trivial":
            done = self._hand_out(grid, steps, iterations)
        else:
            for push in self._push:
                push.send(b"begin")
            done = sum(int(self._pull.recv()) for _ in self._push)
        seconds = time.perf_counter() - begin
        if done != grid.tasks(steps):
            raise RuntimeError(f"{done} tasks were done where there are {grid.tasks(steps)}")
        return seconds

    def _hand_out(self, grid: Grid, steps: int, iterations: int) -> int:
        pack, receive, pushes = _task.pack, self._pull.recv, self._push
        workers, tasks = len(pushes), grid.tasks(steps)
        window = min(tasks, _WINDOW * workers)
        for number in range(tasks):
            if number >= window:
                receive()
            step, point = divmod(number, grid.width)
            pushes[number % workers].send(pack(step, point, iterations))
        for _ in range(window):
            receive()
        for push in pushes:
            push.send(b"")
        return sum(int(receive()) for _ in pushes)


Receivers = dict[int, list[tuple[zmq.Socket[bytes], int]]]
"""For points the sockets of the processes that need their outputs, with the points there."""


class _Process:
    """One process's sockets, and what has come for it."""

    def __init__(self, directory: str, number: int, workers: int) -> None:
        self._number, self._workers, self._directory = number, workers, directory
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self._pull = self._context.socket(zmq.PULL)
        self._pull.bind(f"ipc://{directory}/{number}")
        self._pushes: dict[str, zmq.Socket[bytes]] = {}
        self._arrived: dict[tuple[int, int, int], Output] = {}

    def serve(self) -> None:
        print("bound", flush=True)
        for line in sys.stdin:
            pattern, width, steps, kernel, iterations = line.split()
            grid = Grid(pattern, int(width))
            print("ready", flush=True)
            if pattern == "trivial":
                done = self._take_tasks(grid, kernel)
            else:
                done = self._do_block(grid, int(steps), kernel, int(iterations))
            self._to("driver").send(b"%d" % done)

    def _take_tasks(self, grid: Grid, kernel: str) -> int:
        receive, send, unpack = self._pull.recv, self._to("driver").send, _task.unpack
        compute, done = KERNELS[kernel], 0
        while frame := receive():
            step, point, iterations = unpack(frame)
            send(_output.pack(*perform(grid, step, point, (), compute, iterations), 0))
            done += 1
        return done

    def _do_block(self, grid: Grid, steps: int, kernel: str, iterations: int) -> int:
        block = Block(grid, self._number, self._workers)
        compute, done = KERNELS[kernel], 0
        known: dict[int, Output] = {}
        plans = {
            (grid.phase(step), grid.phase(step + 1)): (
                block.tasks(step),
                self._sockets(block, step),
            )
            for step in range(min(steps, grid.width + 2))
        }
        self._pull_until_begin()
        for step in range(steps):
            given: dict[int, Output] = {}
            tasks, receivers = plans[grid.phase(step), grid.phase(step + 1)]
            if step + 1 == steps:
                receivers = {}
            for point, needs in tasks:
                inputs = [known.get(need) or self._await(step, need, point) for need in needs]
                given[point] = output = perform(grid, step, point, inputs, compute, iterations)
                for socket, receiver in receivers.get(point, ()):
                    socket.send(_output.pack(*output, receiver))
            done += len(given)
            known = given
        return done

    def _sockets(self, block: Block, step: int) -> Receivers:
        return {
            point: [(self._to(str(home)), receiver) for home, receiver in receivers]
            for point, receivers in block.receivers(step).items()
        }

    def _pull_until_begin(self) -> None:
        while (frame := self._pull.recv()) != b"begin":
            self._take(frame)

    def _await(self, step: int, need: int, point: int) -> Output:
        wanted = (step - 1, need, point)
        while wanted not in self._arrived:
            self._take(self._pull.recv())
        return self._arrived.pop(wanted)

    def _take(self, frame: bytes) -> None:
        step, place, receiver = _output.unpack(frame)
        self._arrived[step, place, receiver] = (step, place)

    def _to(self, name: str) -> zmq.Socket[bytes]:
        push = self._pushes.get(name)
        if push is None:
            push = self._pushes[name] = self._context.socket(zmq.PUSH)
            push.connect(f"ipc://{self._directory}/{name}")
        return push


def _main(directory: str, number: str, workers: str, core: str) -> None:
    os.sched_setaffinity(0, {int(core)})  # before the context, so that its threads are there too
    _Process(directory, int(number), int(workers)).serve()


if __name__ == "__main__":
    _main(*sys.argv[1:])
