"""What makes a program: a seed, how much of it is left to be made, and where it is to be stuck."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from healthy.programs import Pace

if TYPE_CHECKING:
    from .shared import Shared

Run = Callable[[], Any]
MOST_STEPS = 40
DEEPEST = 4


@dataclass
class Step:
    """A piece of a program: it runs in whichever thread calls it, and returns when all that it has started has ended."""

    words: str
    run: Run
    parts: list[Step] = field(default_factory=list)

    def __call__(self) -> None:
        self.run()

    def text(self, indent: str = "") -> str:
        """Return the tree as text, a line for each step."""
        return "\n".join([indent + self.words, *(part.text(indent + "  ") for part in self.parts)])


@dataclass(frozen=True)
class Maker:
    """Makes the parts of one step. `floor`: what is shared may be used from there on; `stuck`: one of the parts is to be stuck."""

    rng: random.Random
    shared: Sequence[Shared]
    whole: Whole
    floor: int = 0
    depth: int = 0
    stuck: bool = False

    def pace(self) -> Pace:
        """Return timings of its own, for one thread."""
        return Pace(str(self.rng.random()), self.whole.stretch)

    def number(self, least: int, most: int) -> int:
        """Return a number from least to most."""
        return self.rng.randint(least, most)

    def parts(self, count: int, floor: int | None = None) -> list[Step]:
        """Return steps that use of what is shared only what comes from `floor` on; where this one is to be stuck, one of them is."""
        unlucky = self.rng.randrange(count) if self.stuck else -1
        floor = self.floor if floor is None else floor
        return [
            self.whole.step(Maker(self.rng, self.shared, self.whole, floor, self.depth + 1, number == unlucky))
            for number in range(count)
        ]

    def apart(self, count: int) -> list[Step]:
        """Return steps that use nothing shared: they come to their end whatever becomes of the rest."""
        return self.parts(count, len(self.shared))


@dataclass
class Whole:
    """The program: how long its pauses are, what has been made of it, and what in it is no evidence."""

    stretch: float
    kinds: Sequence[tuple[int, Callable[[Maker], Step]]]
    leaves: Sequence[Callable[[Maker], Step]]
    made: int = 0
    doubts: set[str] = field(default_factory=set)

    def step(self, maker: Maker) -> Step:
        """Make one step: of a kind that has parts, as long as there is room, else a pause, or what never ends."""
        self.made += 1
        leaf = maker.depth >= DEEPEST or self.made > MOST_STEPS or maker.rng.random() < (0.2 if maker.depth else 0)
        if not leaf:
            weights, kinds = zip(*self.kinds)
            return maker.rng.choices(kinds, weights)[0](maker)  # type: ignore[no-any-return]
        return maker.rng.choice(self.leaves)(maker) if maker.stuck else pause(maker)


def pause(maker: Maker) -> Step:
    """A step without parts."""
    pace = maker.pace()
    return Step("pause", pace.maybe_long)


def together(runs: Sequence[Run], name: str = "") -> None:
    """Run each in a thread of its own, until all have returned."""
    threads = [threading.Thread(target=run, name=f"{name or 'part'}-{number}") for number, run in enumerate(runs)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
