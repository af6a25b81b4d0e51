"""Progress of a command: bars on a terminal, else a line every few seconds."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, ProgressColumn, TaskID, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bars
from rich.table import Column

# Drawing every step would cost more than the step itself.
_DRAW_SECONDS = 0.1
_LINE_SECONDS = 5.0
# Narrower consoles have a short bar, and no remaining time.
_WIDE = 100


Words = str | Callable[[], str]
"""Further text, or a function that returns it when the bar is drawn."""


class Count:
    """One counted quantity: done, total, and further text."""

    def __init__(
        self, what: str, total: int | None, form: Callable[[int], str], draw: Callable[[], None]
    ) -> None:
        self.what = what
        self.done = 0
        self.total = total
        self._words: Words = ""
        self._began = time.monotonic()
        self._form = form
        self._draw = draw

    def advance(self, more: int = 1) -> None:
        self.show(self.done + more, self.total)

    def expect(self, total: int) -> None:
        self.show(self.done, total)

    def show(self, done: int, total: int | None, words: Words = "") -> None:
        self.done, self.total, self._words = done, total, words or self._words
        self._draw()

    @property
    def words(self) -> str:
        return self._words if isinstance(self._words, str) else self._words()

    def rate(self, count: int) -> float:
        """Return `count` per second since this began."""
        return count / max(0.001, time.monotonic() - self._began)

    @property
    def of(self) -> str:
        return "" if self.total is None else f"{self._form(self.done)} of {self._form(self.total)}"

    def line(self) -> str:
        """Return the progress as one line of text."""
        return " ".join(filter(None, (f"{self.what}:", self.of, self.words)))


class Progress:
    """The counts of a command, drawn on a console."""

    def __init__(self, console: Console, bars: Bars) -> None:
        self.console = console
        self._terminal = console.is_terminal
        self._bars = bars
        self._counts: dict[TaskID, Count] = {}
        self._drawn = 0.0
        self._printed = time.monotonic()

    def count(
        self, what: str, total: int | None = None, form: Callable[[int], str] = "{:,}".format
    ) -> Count:
        """Begin to count something; `form` writes its numbers."""
        one = Count(what, total, form, self.draw)
        self._counts[self._bars.add_task("", total=total, of="", words="")] = one
        return one

    def say(self, text: str) -> None:
        """Print a line above the bars."""
        self.console.print(text, highlight=False, markup=False, soft_wrap=True)

    def draw(self, *, now: bool = False) -> None:
        """Draw the counts, unless they were drawn a moment ago."""
        at = time.monotonic()
        if not self._terminal:
            if at - self._printed > _LINE_SECONDS:
                self._printed = at
                self.say("; ".join(one.line() for one in self._counts.values()))
        elif now or at - self._drawn > _DRAW_SECONDS:
            self._drawn = at
            for task, one in self._counts.items():
                self._bars.update(
                    task,
                    description=one.what,
                    completed=one.done,
                    total=one.total,
                    of=one.of,
                    words=one.words,
                )


def _columns(width: int) -> Iterator[ProgressColumn]:
    """Yield the columns of the bars; a narrow console wraps texts, and cuts no number."""
    yield TextColumn("{task.description}", markup=False, table_column=Column())
    yield BarColumn(40 if width >= _WIDE else 10)
    yield TextColumn("{task.fields[of]}")
    yield TextColumn("{task.fields[words]}", markup=False, table_column=Column())
    if width >= _WIDE:
        yield TimeRemainingColumn()


@contextmanager
def shown(console: Console | None = None, *, transient: bool = False) -> Iterator[Progress]:
    """Show progress on standard error, or on another console; transient bars disappear."""
    console = console or Console(stderr=True, highlight=False)
    with Bars(
        *_columns(console.width),
        console=console,
        transient=transient,
        disable=not console.is_terminal,
    ) as bars:
        progress = Progress(console, bars)
        try:
            yield progress
        finally:
            progress.draw(now=True)
