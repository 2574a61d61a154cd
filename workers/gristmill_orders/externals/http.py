"""What the externals over HTTP share: time limits, retries, and what an answer, or none, means.

Every request carries an idempotency key or only reads, so it may be sent again. It is, when nobody
could be reached, when the other side is busy (429, 503) or failed (another 5xx), and when the
connection broke; never when the other side has answered, and not when the time is up.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from email.utils import parsedate_to_datetime
from random import Random
from typing import TypeVar

import httpx
import msgspec
from tenacity import (
    AsyncRetrying,
    RetryCallState,
    retry_if_exception,
    stop_after_attempt,
    stop_before_delay,
)

from gristmill_orders.externals.faults import ExternalError

T = TypeVar("T")

LARGEST_ANSWER = 65_536
"""Bytes; whoever answers with more does not answer what was asked."""
_KEY = "Idempotency-Key"
_NOT_DONE = frozenset({429, 503})
_IN_PROGRESS = 409
"""The first request with this key is still being worked on (IETF draft, Idempotency-Key header)."""


class HttpLimits(msgspec.Struct, frozen=True, kw_only=True):
    """How long to wait for an external, and how often to try."""

    timeout_seconds: float = 5.0
    """For one attempt, from the connection to the end of the answer."""
    connect_seconds: float = 1.0
    attempts: int = 3
    first_wait_seconds: float = 0.05
    """The longest wait before the second attempt; it doubles each time, and each is jittered."""
    longest_wait_seconds: float = 1.0
    patience_seconds: float = 8.0
    """No further attempt begins later than this, whatever ``Retry-After`` says."""


class Refusal(msgspec.Struct, frozen=True):
    """The other side has answered, and said no."""

    status: int
    reason: str


class _Problem(msgspec.Struct, frozen=True):
    """The part of a problem document (RFC 9457) that is for people."""

    title: str = ""
    detail: str = ""


class _UnansweredError(ExternalError):
    """One attempt without an answer; ``again``: another one may help, not before ``after``."""

    def __init__(
        self, message: str, *, uncertain: bool, again: bool, after: float | None = None
    ) -> None:
        super().__init__(message, uncertain=uncertain)
        self.again = again
        self.after = after


class HttpExternal:
    """One external, spoken to in JSON over HTTP; for one actor incarnation, on its loop.

    Args:
        name: the external, as it stands in errors.
        url: where it is; paths are appended to it.
        limits: how long to wait and how often to try.
        random: jitters the waits.
        sleep: waits for so many seconds.
    """

    def __init__(
        self,
        name: str,
        url: str,
        limits: HttpLimits,
        *,
        random: Random,
        sleep: Callable[[float], Awaitable[None]],
    ) -> None:
        self.name = name
        self._url = url.rstrip("/")
        self._limits = limits
        self._random = random
        self._sleep = sleep
        self._client: httpx.AsyncClient | None = None

    async def post(self, path: str, key: str, body: msgspec.Struct, answer: type[T]) -> T | Refusal:
        """Ask for something to be done once per ``key``; give the answer, or that it was refused.

        Raises:
            ExternalError: there was no answer, or one that can't be read.
        """
        headers = {_KEY: key, "Content-Type": "application/json"}
        status, content = await self._send("POST", path, headers, msgspec.json.encode(body))
        if status >= 300:
            return Refusal(status, _reason(content))
        return self._read(content, answer)

    async def get(self, path: str, answer: type[T]) -> T | None:
        """Look something up; None if there is no such thing.

        Raises:
            ExternalError: there was no answer, or one that can't be read.
        """
        status, content = await self._send("GET", path, {}, None)
        if status == 404:
            return None
        if status >= 300:
            raise ExternalError(f"{self.name} answered {status}: {_reason(content)}")
        return self._read(content, answer)

    def close(self) -> None:
        """Close the connections, soon; the external can't be used any more."""
        client, self._client = self._client, None
        if client is None:
            return
        try:
            task = asyncio.get_running_loop().create_task(client.aclose())
        except RuntimeError:  # the worker's loop is over, and its process too in a moment
            return
        _closing.add(task)
        task.add_done_callback(_closing.discard)

    def _read(self, content: bytes, answer: type[T]) -> T:
        try:
            return msgspec.json.decode(content, type=answer)
        except msgspec.MsgspecError as error:
            raise ExternalError(
                f"{self.name} answered what can't be read: {error}", uncertain=True
            ) from None

    async def _send(
        self, method: str, path: str, headers: dict[str, str], body: bytes | None
    ) -> tuple[int, bytes]:
        limits = self._limits
        uncertain = False
        retrying = AsyncRetrying(
            sleep=self._sleep,
            stop=stop_after_attempt(limits.attempts) | stop_before_delay(limits.patience_seconds),
            wait=self._wait,
            retry=retry_if_exception(lambda e: isinstance(e, _UnansweredError) and e.again),
            reraise=True,
        )
        try:
            async for attempt in retrying:
                with attempt:
                    try:
                        return await self._attempt(method, path, headers, body)
                    except _UnansweredError as error:
                        uncertain = uncertain or error.uncertain
                        raise
        except _UnansweredError as error:
            raise ExternalError(str(error), uncertain=uncertain) from error.__cause__
        raise AssertionError("tenacity neither returned nor raised")

    def _wait(self, state: RetryCallState) -> float:
        """Full jitter under a growing bound, and never less than the other side asked for."""
        limits = self._limits
        growing = limits.first_wait_seconds * 2.0 ** (state.attempt_number - 1)
        wait = self._random.uniform(0.0, min(growing, limits.longest_wait_seconds))
        error = state.outcome.exception() if state.outcome is not None else None
        asked = error.after if isinstance(error, _UnansweredError) else None
        return wait if asked is None else asked + wait

    async def _attempt(
        self, method: str, path: str, headers: dict[str, str], body: bytes | None
    ) -> tuple[int, bytes]:
        client = self._client = self._client or self._open()
        try:
            async with (
                asyncio.timeout(self._limits.timeout_seconds),
                client.stream(
                    method, f"{self._url}/{path}", headers=headers, content=body
                ) as response,
            ):
                content = await self._content(response)
        except (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout) as error:
            text = f"{self.name} can't be reached: {_told(error)}"
            raise _UnansweredError(text, uncertain=False, again=True) from error
        except (httpx.TimeoutException, TimeoutError) as error:
            text = f"{self.name} did not answer within {self._limits.timeout_seconds:g} s"
            raise _UnansweredError(text, uncertain=True, again=False) from error
        except httpx.HTTPError as error:
            text = f"{self.name} broke the connection off: {_told(error)}"
            raise _UnansweredError(text, uncertain=True, again=True) from error
        status = response.status_code
        if status >= 500 or status in {429, _IN_PROGRESS}:
            raise _UnansweredError(
                f"{self.name} answered {status}: {_reason(content)}",
                uncertain=status not in _NOT_DONE,
                again=True,
                after=_retry_after(response.headers.get("Retry-After")),
            )
        return status, content

    async def _content(self, response: httpx.Response) -> bytes:
        content = bytearray()
        async for part in response.aiter_bytes():
            content += part
            if len(content) > LARGEST_ANSWER:
                raise ExternalError(
                    f"{self.name} answered with more than {LARGEST_ANSWER} bytes", uncertain=True
                )
        return bytes(content)

    def _open(self) -> httpx.AsyncClient:
        limits = self._limits
        timeout = httpx.Timeout(limits.timeout_seconds, connect=limits.connect_seconds)
        return httpx.AsyncClient(timeout=timeout, headers={"Accept": "application/json"})


_closing: set[asyncio.Task[None]] = set()
"""Clients that are being closed; asyncio itself keeps only weak references to tasks."""


def _reason(content: bytes) -> str:
    """Say what an answer that is a refusal or a failure says for people."""
    try:
        problem = msgspec.json.decode(content, type=_Problem)
    except msgspec.MsgspecError:
        problem = _Problem()
    return problem.detail or problem.title or "it gave no reason"


def _told(error: Exception) -> str:
    return str(error) or type(error).__name__


def _retry_after(value: str | None) -> float | None:
    """Read ``Retry-After`` (RFC 9110): seconds, or a date; None if it says neither."""
    if value is None:
        return None
    if value.strip().isdecimal():
        return float(value)
    try:
        return max(0.0, parsedate_to_datetime(value).timestamp() - time.time())
    except ValueError:
        return None
