"""Messages with arrays, and actors that take, keep, make and pass them on."""

from __future__ import annotations

from typing import Annotated, Any, NotRequired, TypedDict

import msgspec
import numpy as np
import numpy.typing as npt

from gristmill import DEFERRED, Actor, Command, Context, Event, Ref, Request, handles
from support.actors import wait_at

Numbers = npt.NDArray[np.float64]


class Pair(msgspec.Struct, frozen=True):
    """Two arrays inside of a message."""

    left: Numbers
    right: Numbers


class Sum(Request[float]):
    """Sum everything up."""

    numbers: Numbers
    more: dict[str, list[Pair]] = msgspec.field(default_factory=dict)


class SumOnce(Request[float], idempotent=True):
    """Sum up; wait for ``gate`` if there is one, and say that it has begun."""

    numbers: Numbers
    gate: str = ""
    begun: str = ""


class Make(Request[Numbers]):
    """Make an array."""

    size: int
    value: float


class MakeLater(Request[Numbers]):
    """Make an array in place, and answer when the handler has finished."""

    size: int
    value: float


class Scribble(Request[str]):
    """Try to write to the array; tell what came of it."""

    numbers: Numbers


class Keep(Command):
    """Keep the array."""

    numbers: Numbers


class Slide(Command):
    """Look at the array, once."""

    numbers: Numbers


class Kept(Request[list[float]]):
    """Give the first item of every array that was kept, and forget them."""


class PassOn(Request[float]):
    """Have somebody else sum it up, every second number of it."""

    numbers: Numbers
    to: Ref[Any]


class TellOn(Command):
    """Have somebody else keep it."""

    numbers: Numbers
    to: Ref[Any]


class Frame(Event):
    """An array for whoever wants it."""

    numbers: Numbers


class Show(Command):
    """Publish frames."""

    size: int
    values: list[float]


class Lent(Request[int]):
    """Tell how many segments of this worker others hold."""


class Burn(Command):
    """Crash."""

    numbers: Numbers


class Crowd(Command):
    """Wait for ``gate`` with the mailbox filling up."""

    gate: str


class Artist(Actor):
    """Takes, keeps, makes and passes on."""

    def __init__(self, numbers: Numbers | None = None) -> None:
        self._kept: list[Numbers] = [] if numbers is None else [numbers]

    @handles
    def sum(self, msg: Sum) -> float:
        """Sum up."""
        pairs = [pair for group in msg.more.values() for pair in group]
        return float(msg.numbers.sum() + sum(p.left.sum() + p.right.sum() for p in pairs))

    @handles
    def sum_once(self, msg: SumOnce) -> float:
        """Wait, then sum up."""
        if msg.gate:
            with open(msg.begun, "a") as file:  # noqa: PTH123 - a str
                file.write("begun\n")
            wait_at(msg.gate)
        return float(msg.numbers.sum())

    @handles
    def make(self, msg: Make) -> Numbers:
        """Make an ordinary array."""
        return np.full(msg.size, msg.value)

    @handles
    def make_later(self, msg: MakeLater, ctx: Context) -> Numbers:
        """Make one in place."""
        made = ctx.empty(msg.size)
        made.fill(msg.value)
        ctx.defer_reply()(made)
        made.fill(-1.0)
        return DEFERRED  # type: ignore[return-value]  # stands for the reply

    @handles
    def scribble(self, msg: Scribble) -> str:
        """Try every way that numpy has."""
        try:
            msg.numbers.flags.writeable = True
        except ValueError as error:
            return str(error)
        return "it can be written"

    @handles
    def keep(self, msg: Keep) -> None:
        """Keep."""
        self._kept.append(msg.numbers)

    @handles
    def slide(self, msg: Slide) -> None:
        """Look."""
        assert (msg.numbers == msg.numbers[0]).all()

    @handles
    def kept(self, msg: Kept) -> list[float]:
        """Tell and forget."""
        kept, self._kept = self._kept, []
        assert all((numbers == numbers[0]).all() for numbers in kept)
        return [float(numbers[0]) for numbers in kept]

    @handles
    async def pass_on(self, msg: PassOn, ctx: Context) -> float:
        """Ask somebody else."""
        return await ctx.ask(msg.to, Sum(msg.numbers[::2]), timeout=10.0)

    @handles
    async def tell_on(self, msg: TellOn, ctx: Context) -> None:
        """Tell somebody else."""
        await ctx.tell(msg.to, Keep(msg.numbers))

    @handles
    def show(self, msg: Show, ctx: Context) -> None:
        """Publish."""
        for value in msg.values:
            ctx.publish("frames", Frame(np.full(msg.size, value)))

    @handles
    def lent(self, msg: Lent, ctx: Context) -> int:
        """Look into the pool of this worker."""
        return ctx._host._core.arrays.pool.lent  # type: ignore[attr-defined,no-any-return]  # ours

    @handles
    def burn(self, msg: Burn) -> None:
        """Crash."""
        raise ValueError(f"{msg.numbers.size} numbers are too many")

    @handles
    def crowd(self, msg: Crowd) -> None:
        """Wait."""
        wait_at(msg.gate)


class Viewer(Actor):
    """Keeps the frames of a channel."""

    channels = ("frames",)

    def __init__(self) -> None:
        self._frames: list[Numbers] = []

    @handles
    def frame(self, msg: Frame) -> None:
        """Keep it."""
        self._frames.append(msg.numbers)

    @handles
    def kept(self, msg: Kept) -> list[float]:
        """Tell."""
        return [float(numbers[0]) for numbers in self._frames]


class Drawn(msgspec.Struct, frozen=True, tag=True):
    """What an album keeps."""

    numbers: Numbers


class Album(Actor):
    """Durable: keeps what it is told, whatever dies."""

    def __init__(self) -> None:
        self._pages: list[Numbers] = []

    def apply(self, event: Drawn) -> None:
        """Keep."""
        self._pages.append(event.numbers)

    @handles
    def keep(self, msg: Keep, ctx: Context) -> None:
        """Persist."""
        ctx.persist(Drawn(msg.numbers))

    @handles
    def kept(self, msg: Kept) -> list[float]:
        """Tell."""
        return [float(numbers[0]) for numbers in self._pages]


BUFFER = np.zeros(50_000)


def fill(value: float) -> Numbers:
    """Give the one array that every call gives, filled."""
    BUFFER.fill(value)
    return BUFFER


def halves(numbers: Numbers) -> list[Numbers]:
    """Give views of the argument, and the dtype's own order kept."""
    middle = len(numbers) // 2
    return [numbers[:middle], numbers[middle:]]


class Summary(TypedDict):
    """What there is to say about an array."""

    mean: Annotated[float, "metres"]
    numbers: NotRequired[Numbers]


class Summarise(Request[Summary]):
    """Say all of it."""

    numbers: Numbers


class Positive(Request[bool]):
    """Are all above 0?"""

    numbers: Numbers


class Peak(Request[int]):
    """Where is the largest?"""

    numbers: Numbers


class Mean(Request[Annotated[float, "metres"]]):
    """What is the mean?"""

    numbers: Numbers


class First(Request[float | None]):
    """What is the first, if any?"""

    numbers: Numbers


class Hits(Request[list["Hit"]]):
    """Which are 1?"""

    numbers: Numbers


class Hit(msgspec.Struct, frozen=True):
    """Where there is one."""

    place: int


class Statistician(Actor):
    """Answers with what numpy gives."""

    @handles
    def summarise(self, msg: Summarise) -> Summary:
        """Say all of it."""
        return {"mean": float(msg.numbers.mean()), "numbers": msg.numbers}

    @handles
    def positive(self, msg: Positive) -> bool:
        """Compare."""
        return (msg.numbers > 0).all()  # type: ignore[return-value]  # a numpy.bool

    @handles
    def peak(self, msg: Peak) -> int:
        """Find."""
        return msg.numbers.argmax()  # type: ignore[return-value]  # a numpy.int64

    @handles
    def mean(self, msg: Mean) -> Annotated[float, "metres"]:
        """Compute."""
        return msg.numbers.astype(np.float32).mean()  # type: ignore[return-value]  # a numpy.float32

    @handles
    def first(self, msg: First) -> float | None:
        """Look."""
        return msg.numbers.astype(np.float32)[0] if msg.numbers.size else None

    @handles
    def hits(self, msg: Hits) -> list[Hit]:
        """Search."""
        return [Hit(place) for place in np.flatnonzero(msg.numbers == 1)]
