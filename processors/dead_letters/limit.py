"""The limits on dead letters: when a source is stopped, and when it resumes. Pure.

A broken mapping, or a sender of invalid bodies, turns every body of a source into a dead letter.
The bodies of each source are counted in the order of processing. Past a limit the source is
stopped: its bodies are kept whole, as dead letters `source_stopped`, at almost no cost. One in
`TRY_EVERY` is still normalised. After `GOOD_ENOUGH` good ones in a row, the source resumes by
itself. Other sources are not affected, though their bodies lie on the same partitions.
"""

from collections import Counter, OrderedDict, deque
from collections.abc import Iterable, Mapping
from typing import NamedTuple

from providers.rejection import Code
from schemas.coordinates import Coordinates
from service.problem_sentences import sentence

LOOK_BACK = 1000
LEAST = 200
TRY_EVERY = 10
GOOD_ENOUGH = 10

# The name of a source is a header of a raw record, so it may be any text: old names are dropped.
MOST_SOURCES = 1000


class Source(NamedTuple):
    """A source: its provider, and its name in the sources file."""

    provider: str
    name: str


class Limits(NamedTuple):
    """The share of the last bodies, and the run, that may be dead letters; 0: no limit."""

    ratio: float
    run: int


class Flood(NamedTuple):
    """A limit was passed: `dead` of `bodies` became dead letters, most of them for `code`."""

    source: Source
    dead: int
    bodies: int
    code: Code
    first: Coordinates
    setting: str

    def __str__(self) -> str:
        fields = {
            "source": self.source.name,
            "provider": self.source.provider,
            "dead_letters": self.dead,
            "bodies": self.bodies,
            "code": self.code,
            "example": "{}/{}/{}".format(*self.first),
            "setting": self.setting,
            "good": GOOD_ENOUGH,
            "tried": TRY_EVERY,
        }
        return sentence("source_stopped", fields)


class Window:
    """The last bodies of a source: their codes, and whether the source is stopped."""

    __slots__ = ("_dead", "_first", "_good", "_last", "_run", "_run_from", "_waited", "flood")

    def __init__(self) -> None:
        self._reset()

    def _reset(self) -> None:
        self.flood: Flood | None = None
        self._last: deque[Code | None] = deque(maxlen=LOOK_BACK)
        self._dead = self._run = 0
        self._first: Coordinates | None = None
        self._run_from: Coordinates | None = None
        self._waited = self._good = 0

    def copy(self) -> "Window":
        other = Window()
        for name in Window.__slots__:
            setattr(other, name, getattr(self, name))
        other._last = self._last.copy()
        return other

    def wants(self) -> bool:
        """Whether to normalise the next body; otherwise it is kept whole."""
        if self.flood is None or self._waited + 1 >= TRY_EVERY:
            return True
        self._waited += 1
        return False

    def add(self, source: Source, at: Coordinates, code: Code | None, limits: Limits) -> None:
        """Count a body that was normalised: the code of its first dead letter, if it has one."""
        if code is None:
            self.good()
            return
        if self.flood is not None:
            self._count_trial(code)
            return
        self._append(code)
        self._first = self._first if self._dead else at
        self._run_from = self._run_from or at
        self._dead, self._run = self._dead + 1, self._run + 1
        self.flood = self._exceeded(source, limits)

    def good(self) -> None:
        """Count a body that was normalised without a dead letter."""
        if self.flood is not None:
            self._count_trial(None)
            return
        self._append(None)
        self._run, self._run_from = 0, None

    def _append(self, code: Code | None) -> None:
        if len(self._last) == LOOK_BACK:
            self._dead -= self._last[0] is not None
        self._last.append(code)

    def _count_trial(self, code: Code | None) -> None:
        self._waited = 0
        self._good = self._good + 1 if code is None else 0
        if self._good >= GOOD_ENOUGH:
            self._reset()

    def _exceeded(self, source: Source, limits: Limits) -> Flood | None:
        """Return the limit that the last body exceeds; None if it exceeds none."""
        if self._run_from and limits.run and self._run > limits.run:
            known = (self._run, self._run, self._commonest(), self._run_from)
            return Flood(source, *known, "BLUETICK_DEAD_LETTER_RUN")
        bodies = len(self._last)
        if self._first and limits.ratio and bodies >= LEAST and self._dead > limits.ratio * bodies:
            known = (self._dead, bodies, self._commonest(), self._first)
            return Flood(source, *known, "BLUETICK_DEAD_LETTER_RATIO")
        return None

    def _commonest(self) -> Code:
        [(code, _)] = Counter(code for code in self._last if code).most_common(1)
        return code


class Windows:
    """The windows of the most recent sources; they count committed bodies only."""

    def __init__(self, limits: Limits, most: int = MOST_SOURCES) -> None:
        self.limits = limits
        self._most = most
        self._kept: OrderedDict[Source, Window] = OrderedDict()

    def begin(self) -> "Round":
        """Start to count further bodies; `keep` adds them once they are committed."""
        return Round(self._kept, self.limits)

    def keep(self, counted: "Round") -> None:
        for source, window in counted.windows.items():
            self._kept[source] = window
            self._kept.move_to_end(source)
        while len(self._kept) > self._most:
            self._kept.popitem(last=False)

    def floods(self) -> list[Flood]:
        """Return the reason for each stopped source."""
        return [window.flood for window in self._kept.values() if window.flood]

    def __len__(self) -> int:
        return len(self._kept)


class Round:
    """The windows of the sources of one round, including its own bodies."""

    def __init__(self, kept: Mapping[Source, Window], limits: Limits) -> None:
        self.windows: dict[Source, Window] = {}
        self._kept = kept
        self._limits = limits

    def add(self, source: Source, at: Coordinates, code: Code | None) -> None:
        """Count a body that was normalised."""
        self.window(source).add(source, at, code, self._limits)

    def window(self, source: Source) -> Window:
        """Return the window of a source: whether it wants the next body, and good ones counted."""
        window = self.windows.get(source)
        if window is None:
            known = self._kept.get(source)
            window = self.windows[source] = known.copy() if known else Window()
        return window


def stopped(floods: Iterable[Flood]) -> Counter[str]:
    """Return the number of stopped sources of each provider."""
    return Counter(flood.source.provider for flood in floods)
