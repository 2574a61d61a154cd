"""Smith-Waterman alignment of reads: the best local score of each against a reference.

A message carries a batch of reads. The scores are computed along anti-diagonals, for all reads of
a batch at once, and held against a plain dynamic programme; that one must give the published
score and alignment of a small example.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from gristmill import Actor, Node, Request, handles
from harness.example import main, require

Sequences = npt.NDArray[np.uint8]
MATCH, MISMATCH, GAP = 3, -3, -2
_BATCH = 64
_CHECKED = 12
"""Reads that the plain programme does too."""


class Align(Request[list[int]]):
    """What is the best local score of each read?"""

    reads: Sequences


class Aligner(Actor):
    """Knows the reference.

    Args:
        reference: what reads are aligned to.
    """

    def __init__(self, reference: Sequences) -> None:
        self._reference = reference

    @handles
    def align(self, msg: Align) -> list[int]:
        """Answer."""
        return scores(msg.reads, self._reference)


def scores(reads: Sequences, reference: Sequences) -> list[int]:
    """Give the best local score of each read, all of one length.

    Args:
        reads: one a row.
        reference: what they are aligned to.
    """
    count, length = reads.shape
    padded = np.full(len(reference) + 2 * length, 255, np.uint8)
    padded[length : length + len(reference)] = reference
    backwards = padded[::-1]
    before = np.zeros((count, length + 1), np.int32)
    last = np.zeros_like(before)
    best = np.zeros(count, np.int32)
    for diagonal in range(length + len(reference) - 1):
        # the reference's letters beside letters 0, 1, ... of a read on this diagonal
        start = len(padded) - 1 - (length + diagonal)
        letters = backwards[start : start + length]
        now = np.zeros_like(last)
        step = np.where(reads == letters, MATCH, MISMATCH)
        inner = before[:, :-1] + step
        np.maximum(inner, last[:, 1:] + GAP, out=inner)
        np.maximum(inner, last[:, :-1] + GAP, out=inner)
        np.maximum(inner, 0, out=inner)
        inner[:, letters == 255] = 0  # outside of the reference
        now[:, 1:] = inner
        np.maximum(best, inner.max(axis=1), out=best)
        before, last = last, now
    return [int(score) for score in best]


def aligned(read: str, reference: str) -> tuple[int, str, str]:
    """Give the best local score of two sequences and their alignment, by the plain programme."""
    table = [[0] * (len(reference) + 1) for _ in range(len(read) + 1)]
    best = (0, 0, 0)
    for i, a in enumerate(read, 1):
        for j, b in enumerate(reference, 1):
            step = MATCH if a == b else MISMATCH
            table[i][j] = max(
                0, table[i - 1][j - 1] + step, table[i - 1][j] + GAP, table[i][j - 1] + GAP
            )
            best = max(best, (table[i][j], i, j))
    score, i, j = best
    one, other = "", ""
    while table[i][j]:
        step = MATCH if read[i - 1] == reference[j - 1] else MISMATCH
        if table[i][j] == table[i - 1][j - 1] + step:
            one, other, i, j = read[i - 1] + one, reference[j - 1] + other, i - 1, j - 1
        elif table[i][j] == table[i - 1][j] + GAP:
            one, other, i = read[i - 1] + one, "-" + other, i - 1
        else:
            one, other, j = "-" + one, reference[j - 1] + other, j - 1
    return score, one, other


def alone(reads: Sequences, reference: Sequences) -> list[int]:
    """Align all reads in one process, in the same batches."""
    return [
        s for at in range(0, len(reads), _BATCH) for s in scores(reads[at:][:_BATCH], reference)
    ]


class Alignment:
    """Implements :class:`harness.example.Example` and its job."""

    name = "alignment"

    def __init__(self, *, quick: bool) -> None:
        count, length, size = (512, 60, 200) if quick else (2048, 100, 400)
        random = np.random.default_rng(3)
        letters = np.frombuffer(b"ACGT", np.uint8)
        self._reference = random.choice(letters, size)
        starts = random.integers(0, size - length, count)
        self._reads = np.stack([self._reference[at : at + length] for at in starts])
        wrong = random.random(self._reads.shape) < 0.1
        self._reads[wrong] = random.choice(letters, int(wrong.sum()))
        self._scores = alone(self._reads, self._reference)
        reference = self._reference.tobytes().decode()
        for read, score in zip(self._reads[:_CHECKED], self._scores, strict=False):
            found, _, _ = aligned(read.tobytes().decode(), reference)
            require(found == score, f"a read scores {score}; the plain programme says {found}")

    def start(self, node: Node, workers: int) -> Alignment:
        """Start a pool."""
        self._pool = node.pool(Aligner, workers, args=(self._reference,))
        return self

    @property
    def alone(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        """All reads."""
        return alone, (self._reads, self._reference)

    def run(self) -> list[int]:
        """Align on all workers."""
        starts = range(0, len(self._reads), _BATCH)
        requests = (Align(self._reads[at : at + _BATCH]) for at in starts)
        found = self._pool.ask_many(requests)
        return [score for batch in found for score in batch]

    def check(self, outcome: list[int]) -> None:
        """Hold it against the plain programme, and that against a published example."""
        require(outcome == self._scores, "the scores are not those of one process")
        example = aligned("TGTTACGG", "GGTTGACTA")  # en.wikipedia.org/wiki/Smith-Waterman_algorithm
        require(example == (13, "GTT-AC", "GTTGAC"), f"the published example became {example}")


if __name__ == "__main__":
    main(Alignment, __doc__ or "")
