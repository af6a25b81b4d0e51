"""A model of the tracker's store: writes are atomic, and a crash loses the last ones."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from processors.runtime.exactly_once.partition_store import Anchor
from processors.tracking.batch_types import Timer


@dataclass(slots=True)
class Image:
    """The content of a store at one moment."""

    states: dict[str, bytes] = field(default_factory=dict)
    timers: set[Timer] = field(default_factory=set)
    anchor: Anchor | None = None
    has_gaps: bool = False

    def copy(self) -> "Image":
        return replace(self, states=dict(self.states), timers=set(self.timers))


class Store:
    """The interface of the real store. Each write makes an image; a crash may return to any.

    With the write-ahead log off RocksDB keeps, after a crash, some of the first writes since the
    last flush: all up to one of them.
    """

    def __init__(self, image: Image | None = None) -> None:
        self.images = [image or Image()]

    @property
    def _now(self) -> Image:
        return self.images[-1]

    @property
    def anchor(self) -> Anchor | None:
        return self._now.anchor

    @property
    def has_gaps(self) -> bool:
        return self._now.has_gaps

    def note_gaps(self) -> None:
        image = self._now.copy()
        image.has_gaps = True
        self.images.append(image)

    @property
    def states(self) -> Mapping[str, bytes]:
        return self._now.states

    @property
    def timers(self) -> set[Timer]:
        return self._now.timers

    def get(self, keys: Sequence[str]) -> list[bytes | None]:
        return [self._now.states.get(key) for key in keys]

    def due(self, until: int, most: int) -> list[Timer]:
        return sorted(timer for timer in self._now.timers if timer.due <= until)[:most]

    def write(
        self,
        states: Mapping[bytes, bytes | None],
        anchor: Anchor | None,
        armed: Mapping[bytes, int],
        spent: Iterable[Timer] = (),
    ) -> None:
        image = self._now.copy()
        for name, value in states.items():
            if value is None:
                image.states.pop(name.decode(), None)
            else:
                image.states[name.decode()] = value
        image.timers.difference_update(spent)
        image.timers.update(Timer(at, name.decode()) for name, at in armed.items())
        image.anchor = anchor or image.anchor
        self.images.append(image)

    def wipe(self) -> None:
        """Remove the files at once: no earlier image returns."""
        self.images = [Image()]

    def flush(self) -> None:
        self.images = self.images[-1:]

    def crash(self, kept: int) -> None:
        """Lose all but the first `kept` writes since the last flush."""
        self.images = [self.images[kept]]
