"""The states of a batch: read from the store, decoded when needed, and changed. Pure."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import cast

from msgspec.structs import replace

from processors.tracking.tracking_dead_letters import SetAside
from schemas.codec import (
    NewerFormatError,
    UndecodableError,
    decode_by_key,
    viewers_of,
)
from schemas.records import MessageState, ViewerState, viewer_key

Read = Callable[[Sequence[str]], list[bytes | None]]
State = MessageState | ViewerState


class States:
    """States of messages and viewers by key, each before and after the batch."""

    def __init__(self, read: Read) -> None:
        """`read` returns the stored states of many keys."""
        self.read_bytes = 0
        self._read = read
        self._stored: dict[str, bytes | None] = {}
        self._before: dict[str, State | None] = {}
        self._after: dict[str, State | None] = {}

    def load(self, keys: Iterable[str]) -> None:
        """Read the states of the keys that are not read yet; decode nothing."""
        wanted = [key for key in dict.fromkeys(keys) if key not in self._stored]
        for key, value in zip(wanted, self._read(wanted) if wanted else (), strict=True):
            self._stored[key] = value
            self.read_bytes += len(value or b"")

    def unusable(self, key: str) -> SetAside | None:
        """Return why a stored state cannot be read; None if it can. Raises `NewerFormatError`."""
        try:
            self._decoded(key)
        except NewerFormatError:
            raise
        except UndecodableError as error:
            return SetAside.state_unreadable(str(error))
        return None

    def message(self, key: str) -> MessageState | None:
        """Return the present state of the message with that key; None if it has none."""
        return cast("MessageState | None", self._decoded(key))

    def viewer(self, key: str) -> ViewerState | None:
        """Return the present state of the viewer with that key; None if it has none."""
        return cast("ViewerState | None", self._decoded(key))

    def put(self, key: str, state: State | None) -> None:
        self._after[key] = state

    def before(self, key: str) -> State | None:
        return self._before.get(key)

    def after(self, key: str) -> State | None:
        return self._after[key]

    def changed(self) -> Iterator[str]:
        """Return the keys whose state is another object than before."""
        return (key for key, state in self._after.items() if state is not self._before.get(key))

    def _decoded(self, key: str) -> State | None:
        try:
            return self._after[key]
        except KeyError:
            return self._decode(key, self._stored[key])

    def _decode(self, key: str, value: bytes | None) -> State | None:
        state: State | None = None
        if value is not None:
            state = decode_by_key(key, value)
        self._before[key] = self._after[key] = state
        if value is not None and isinstance(state, MessageState) and b'"viewers":' in value:
            self._split_viewers(key, state, value)
        return state

    def _split_viewers(self, key: str, state: MessageState, value: bytes) -> None:
        """Give each viewer of a state in the first format its own state; all are written."""
        viewers = viewers_of(value)
        if viewers:
            self._before[key] = replace(state)  # another object: the message counts as changed
        for viewer in viewers:
            self._after[viewer_key(key, viewer.viewer)] = viewer
