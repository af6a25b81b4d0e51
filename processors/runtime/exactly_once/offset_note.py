"""The note that is committed with an offset, as its metadata: its transaction. Pure."""

import re
from typing import NamedTuple, Self

# After this time, no output is left out any more.
KEPT_MS = 24 * 3_600_000

_NUMBER = r":(\d{1,18})"
_NOTE = re.compile(f"2{_NUMBER * 4}(?:{_NUMBER * 2})?", re.ASCII)
_FIRST_FORMAT = re.compile(f"1{_NUMBER * 3}(?:{_NUMBER * 2})?", re.ASCII)  # without outputs


class Window(NamedTuple):
    """The times of the first and last of several transactions, Unix milliseconds."""

    first: int
    last: int


class Note(NamedTuple):
    """The metadata that is committed with the group's offset.

    `time` is that of the transaction, Unix milliseconds (0: not known), `stamp` that of the newest
    transaction that wrote states, `begin` the offset that was committed before that one, `outputs`
    the number of its outputs with an identity of their own (0: not known). While observations are
    tracked again, `window` has the times of the outputs that were visible before.
    """

    time: int = 0
    stamp: int = 0
    begin: int = 0
    window: Window | None = None
    outputs: int = 0

    @classmethod
    def of(cls, metadata: str) -> Self:
        """Read a note; metadata of another program, or of another format, gives an empty one."""
        found = _NOTE.fullmatch(metadata) or _FIRST_FORMAT.fullmatch(metadata)
        if not found:
            return cls()
        time, stamp, begin, *outputs, first, last = (int(each or 0) for each in found.groups())
        return cls(time, stamp, begin, Window(first, last) if last else None, *outputs)

    @property
    def metadata(self) -> str:
        parts = (2, self.time, self.stamp, self.begin, self.outputs, *(self.window or ()))
        return ":".join(map(str, parts))

    @property
    def latest(self) -> int:
        """Return the latest time in the note."""
        return max(self.time, self.window.last if self.window else 0)

    def after(self, time: int, begin: int, *, states: bool, seen: bool, outputs: int = 0) -> Self:
        """Return the note of the next transaction, at that time, which begins at that offset.

        `states`: it writes states, with that number of `outputs`. `seen`: outputs may be left out
        of it; if this transaction is split too, they are left out again.
        """
        window = self.window if seen else None
        if window and time - window.last > KEPT_MS:
            window = None
        if states:
            return type(self)(time, time, begin, window, outputs)
        return self._replace(time=time, window=window)
