"""What a worker prints and logs: whole lines, each with its worker and actor in front."""

from __future__ import annotations

import contextlib
import io
import logging
import os
import sys
from collections.abc import Callable


class LabelledLines(io.TextIOBase):
    """A text stream that writes each line at once, with ``[worker actor]`` in front.

    Lines go out with one ``write`` each, so those of several processes never mix.

    Args:
        descriptor: where lines go.
        worker: the worker's name.
        speaker: names the actor whose code runs; empty for none.
        keep: keeps each line for those who ask how the worker died.
    """

    def __init__(
        self,
        descriptor: int,
        worker: str,
        speaker: Callable[[], str],
        keep: Callable[[bytes], None],
    ) -> None:
        self._descriptor = descriptor
        self._keep = keep
        self._worker = worker
        self._speaker = speaker
        self._actor = ""
        self._rest = ""
        """A line that its actor has not finished."""

    @property
    def encoding(self) -> str:  # type: ignore[override]  # typeshed has a plain attribute
        """Always UTF-8."""
        return "utf-8"

    def writable(self) -> bool:
        """It is."""
        return True

    def fileno(self) -> int:
        """Give the descriptor that lines go to."""
        return self._descriptor

    def isatty(self) -> bool:
        """It is no terminal, whatever the descriptor is: lines are labelled, not drawn."""
        return False

    def write(self, text: str) -> int:
        """Write whole lines; keep an unfinished one back until its actor goes on with it."""
        actor = self._speaker()
        if actor != self._actor:
            self.finish()
            self._actor = actor
        lines = (self._rest + text).split("\n")
        self._rest = lines.pop()
        for line in lines:
            self._emit(line)
        return len(text)

    def finish(self) -> None:
        """Write an unfinished line."""
        if self._rest:
            rest, self._rest = self._rest, ""
            self._emit(rest)

    def _emit(self, line: str) -> None:
        label = f"{self._worker} {self._actor}" if self._actor else self._worker
        data = f"[{label}] {line}\n".encode(errors="backslashreplace")
        self._keep(data)
        with contextlib.suppress(OSError):  # the terminal is gone; the worker is not
            os.write(self._descriptor, data)


class WorkerOutput:
    """Puts labelled streams and a log handler in place of the process's own.

    Args:
        worker: the worker's name.
        speaker: names the actor whose code runs; empty for none.
        keep: keeps each line for those who ask how the worker died.
    """

    def __init__(
        self, worker: str, speaker: Callable[[], str], keep: Callable[[bytes], None]
    ) -> None:
        self._streams = tuple(
            LabelledLines(descriptor, worker, speaker, keep) for descriptor in (1, 2)
        )
        sys.stdout, sys.stderr = self._streams
        handler = logging.StreamHandler(sys.stderr)
        handler.setFormatter(logging.Formatter("%(levelname)s %(name)s: %(message)s"))
        root = logging.getLogger()
        root.handlers = [handler]
        root.setLevel(os.environ.get("GRISTMILL_LOG_LEVEL", "WARNING").upper())

    def finish(self) -> None:
        """Write what is left."""
        for stream in self._streams:
            stream.finish()
