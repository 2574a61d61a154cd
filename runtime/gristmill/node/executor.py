"""``node.executor()``: a :class:`concurrent.futures.Executor` on the workers of a node."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import BrokenExecutor, Executor, Future
from typing import Any, ParamSpec, TypeVar

import msgspec

from gristmill.errors import (
    ActorCrashed,
    ActorDied,
    NodeStoppedError,
    UsageError,
)
from gristmill.importing import import_path
from gristmill.node.client.calls import Calls, batches
from gristmill.node.client.post import ClientPost
from gristmill.node.client.reading import Bell
from gristmill.node.client.requests import Waiter
from gristmill.ref import Address
from gristmill.worker.turns.bodies import Bodies
from gristmill.worker.turns.functions import BatchResult, RunBatch, types_of

P = ParamSpec("P")
T = TypeVar("T")

_IDLE = 1.0
"""Seconds without a call after which the executor's thread ends."""


class ExecutorShutDownError(UsageError, RuntimeError):
    """A function was submitted to an executor that was shut down."""


class CallDied(ActorDied, BrokenExecutor):
    """The worker died that ran the function. The executor goes on."""


class ExecutorGone(NodeStoppedError, BrokenExecutor):  # noqa: N818 - the name says what happened
    """The node of the executor has ended."""


class RemoteTraceback(Exception):  # noqa: N818 - the cause of an error, and none itself
    """Shows where a function raised in its worker: the cause of an :class:`ActorCrashed`."""


class _Call(msgspec.Struct, eq=False):
    """A batch that waits for a worker, or is under way in one."""

    future: Future[Any]
    request: RunBatch
    decode: Callable[[Any], Any]
    """Decodes one result."""
    whole: bool
    """Whether the outcome is the list of results, and not the only one."""

    def settle(self, outcome: Callable[[], BatchResult]) -> None:
        """Bring the outcome to the future, whose callbacks run here."""
        try:
            values = [self.decode(body) for body in self._checked(outcome()).values]
        except ActorDied as error:
            died = CallDied(str(error), error.death, actor=error.actor, key=error.key)
            self.future.set_exception(died)
        except NodeStoppedError as error:
            self.future.set_exception(ExecutorGone(str(error)))
        except Exception as error:  # whatever became of the call is its outcome
            self.future.set_exception(error)
        else:
            self.future.set_result(values if self.whole else values[0])

    def _checked(self, result: BatchResult) -> BatchResult:
        error = result.error
        if error is not None:
            crash = ActorCrashed(f"{self.request.function} raised {error}")
            crash.error = error
            raise crash from RemoteTraceback(f"\n{error.traceback.rstrip()}")
        return result


class _Open(msgspec.Struct, eq=False):
    """A call that was sent, or could not be."""

    runner: Address
    call: _Call
    waiter: Waiter | None = None
    error: Exception | None = None

    @property
    def ended(self) -> bool:
        """Whether there is an outcome."""
        return self.error is not None or (self.waiter is not None and self.waiter.done)

    def outcome(self) -> BatchResult:
        """Give what the runner answered, or raise what became of the call instead."""
        if self.waiter is None:
            raise self.error or NodeStoppedError("the call was never sent")
        result: BatchResult = self.waiter.result()
        return result


class NodeExecutor(Executor):
    """Runs plain importable functions on a node's workers, one call in each at a time.

    Arguments and results are plain data, Structs, arrays or refs, decoded by the annotations of
    the function. Safe from any thread. One thread brings all results; callbacks of futures run in
    it, and it ends when there is nothing to do.
    """

    def __init__(self, post: ClientPost, runners: Sequence[Address]) -> None:
        self._post = post
        self._calls = Calls(post)
        self._free = deque(runners)
        self._queue: deque[_Call] = deque()
        self._changed = threading.Condition()
        self._open: list[_Open] = []
        self._bell = Bell()
        self._thread: threading.Thread | None = None
        self._shut = False

    def submit(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        """Call a function on a worker.

        Returns:
            Its future. It can be cancelled until a worker is free for it. Its exception is an
            ``ActorCrashed`` whose cause shows the remote traceback, a :class:`CallDied`, or what
            is wrong with the arguments: those are encoded now, so nobody sees what becomes of
            them afterwards. What waits keeps its large arrays in shared memory, or as copies.

        Raises:
            UsageError: no worker could import the function.
            ExecutorShutDownError: the executor was shut down.
        """
        path = import_path(fn)
        try:
            call = self._calls.encode(path, args, kwargs)
        except Exception as error:  # it ends this call, and not the one that makes it
            return _failed(error)
        return self._enqueue(fn, RunBatch(path, Bodies.of(call)), whole=False)

    def map(
        self,
        fn: Callable[..., T],
        *iterables: Iterable[Any],
        timeout: float | None = None,
        chunksize: int = 1,
    ) -> Iterator[T]:
        """Call a function with the items of ``iterables``; give the results in order.

        Args:
            fn: a function that takes as many arguments as there are iterables.
            iterables: its arguments; all are taken and encoded at once.
            timeout: seconds from now until the last result must be there.
            chunksize: calls in one message, at most; many make short functions cheap. Arguments of
                more than 32 MiB without their large arrays are several messages.

        Raises:
            PayloadTooLargeError: an argument does not fit into a message.
            TimeoutError: a result was not there in time.
            UsageError: no worker could import the function, or an argument can't travel.
        """
        if chunksize < 1:
            raise UsageError(f"chunksize is {chunksize}; it is how many calls go in one message")
        deadline = None if timeout is None else time.monotonic() + timeout
        path = import_path(fn)
        calls = (self._calls.encode(path, args, {}) for args in zip(*iterables, strict=False))
        futures: deque[Future[list[T]]] = deque()
        try:
            for chunk in batches(path, calls, chunksize):
                futures.append(self._enqueue(fn, chunk, whole=True))
        except BaseException:
            _cancel(futures)
            raise
        return _in_order(futures, deadline)

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Take no more calls.

        Args:
            wait: wait until those that were submitted have ended.
            cancel_futures: cancel those that wait for a worker.
        """
        with self._changed:
            self._shut = True
            cancelled = list(self._queue) if cancel_futures else []
            if cancel_futures:
                self._queue.clear()
            thread = self._thread
            self._changed.notify_all()
        for call in cancelled:
            if call.future.cancel():
                call.future.set_running_or_notify_cancel()
        if wait and thread is not None and thread is not threading.current_thread():
            thread.join()

    # --- calls out ---

    def _enqueue(
        self,
        fn: Callable[..., Any],
        request: RunBatch,
        *,
        whole: bool,
    ) -> Future[Any]:
        decode = self._post.codec.decoder(types_of(fn).result).decode
        call = _Call(Future(), request, decode, whole)
        with self._changed:
            if self._shut:
                raise ExecutorShutDownError("the executor was shut down; make a new one")
            self._queue.append(call)
            self._send_queued()
            if self._thread is None:
                self._thread = threading.Thread(
                    target=self._serve, name="gristmill-executor", daemon=True
                )
                self._thread.start()
            self._changed.notify_all()
        return call.future

    def _send_queued(self) -> None:
        """Give calls to the workers that are free. Under the lock."""
        while self._queue and self._free:
            call = self._queue.popleft()
            if not call.future.set_running_or_notify_cancel():
                continue
            runner = self._free.popleft()
            sent = _Open(runner, call)
            self._open.append(sent)
            try:
                sent.waiter = self._post.send_request(
                    runner, call.request, None, wait=False, notify=self._ring
                )
            except Exception as error:  # it ends this call, and not the one that sent it
                sent.error = error
                self._ring()

    # --- results in ---

    def _ring(self) -> None:
        self._bell.ring()

    def _serve(self) -> None:
        """Read until calls have ended, bring their outcomes to the futures, send the next ones."""
        while self._wait_for_work():
            bell = self._bell = Bell()
            ended = self._take_ended()
            if not ended:
                self._post.wait_for(bell, None)
            for one in ended:
                one.call.settle(one.outcome)

    def _wait_for_work(self) -> bool:
        """Wait for an open call; False when the thread has no more to do."""
        with self._changed:
            while not self._open:
                if self._shut or not self._changed.wait(_IDLE):
                    self._thread = None
                    return False
        return True

    def _take_ended(self) -> list[_Open]:
        with self._changed:
            ended = [one for one in self._open if one.ended]
            for one in ended:
                self._open.remove(one)
                self._free.append(one.runner)
            self._send_queued()
        return ended


def _in_order(futures: deque[Future[list[T]]], deadline: float | None) -> Iterator[T]:
    """Give the results of batches; whoever stops early cancels those that still wait."""
    try:
        while futures:
            remaining = None if deadline is None else deadline - time.monotonic()
            yield from futures.popleft().result(remaining)
    finally:
        _cancel(futures)


def _cancel(futures: Iterable[Future[Any]]) -> None:
    for future in futures:
        future.cancel()


def _failed(error: Exception) -> Future[Any]:
    future: Future[Any] = Future()
    future.set_exception(error)
    return future
