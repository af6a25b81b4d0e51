"""When so many bodies of a provider become dead letters that going on makes it worse. Pure.

A mapping that broke, or a provider that changed, turns every body into a dead letter: nothing is
lost, but all of it has to be retried, and nobody hears of the messages meanwhile. So a provider's
bodies are counted in the order they are met, and past a limit they are left where they are.
"""

from collections import Counter, deque
from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple

from processors.providers.base import Coordinates
from processors.refusal import Code

LOOK_BACK = 1000
LEAST = 200


class Limits(NamedTuple):
    """The share of the last bodies, and how many in a row, may become dead letters; 0: any."""

    ratio: float
    run: int


class Body(NamedTuple):
    """One body, and the code of its first dead letter; None if it has none."""

    at: Coordinates
    code: Code | None


@dataclass(frozen=True, slots=True)
class Window:
    """What is remembered of a provider: its last bodies, and those in a row up to now.

    `run_from` is where the first of these lies.
    """

    last: tuple[Body, ...] = ()
    run: int = 0
    run_from: Coordinates | None = None


class Flood(NamedTuple):
    """A limit was passed: `dead` of `bodies` became dead letters, most of them for `code`."""

    provider: str
    dead: int
    bodies: int
    code: Code
    first: Coordinates
    setting: str

    def __str__(self) -> str:
        many = (
            f"{self.dead} bodies in a row"
            if self.dead == self.bodies
            else f"{self.dead} of the last {self.bodies} bodies"
        )
        where = "{}/{}/{}".format(*self.first)
        return (
            f"{self.provider} is stopped: {many} would be dead letters, most of them {self.code}, "
            f"the first {where}, and {self.setting} allows no more; look at it (bluetick "
            f"dead-letters show {where}), fix or roll back what changed, or raise that setting, "
            "then restart normalise"
        )


def judge(
    provider: str, window: Window, bodies: Iterable[Body], limits: Limits
) -> tuple[Window, Flood | None]:
    """Count further bodies of a provider: what is remembered then, and the limit passed, if any.

    It does not matter how the bodies are cut into calls. After a flood the window is the one up to
    the body that passed the limit.
    """
    last = deque(window.last, maxlen=LOOK_BACK)
    dead = sum(body.code is not None for body in last)
    run, run_from = window.run, window.run_from
    flood = None
    for body in bodies:
        if len(last) == LOOK_BACK:
            dead -= last[0].code is not None
        last.append(body)
        if body.code is None:
            run, run_from = 0, None
            continue
        dead += 1
        run, run_from = run + 1, run_from or body.at
        if flood := _flood(provider, last, dead, (run, run_from), limits):
            break
    return Window(tuple(last), run, run_from), flood


def _flood(
    provider: str,
    last: deque[Body],
    dead: int,
    row: tuple[int, Coordinates],
    limits: Limits,
) -> Flood | None:
    """The limit that is passed with the last body, a dead letter; None if there is none."""
    run, run_from = row
    if limits.run and run > limits.run:
        code = _commonest(last)
        return Flood(provider, run, run, code, run_from, "BLUETICK_DEAD_LETTER_RUN")
    if limits.ratio and len(last) >= LEAST and dead > limits.ratio * len(last):
        first = next(body.at for body in last if body.code is not None)
        code = _commonest(last)
        return Flood(provider, dead, len(last), code, first, "BLUETICK_DEAD_LETTER_RATIO")
    return None


def _commonest(last: Iterable[Body]) -> Code:
    [(code, _)] = Counter(body.code for body in last if body.code).most_common(1)
    return code
