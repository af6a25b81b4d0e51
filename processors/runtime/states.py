"""The states a batch works on: read from the store, decoded when they are needed, changed. Pure."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import cast

from processors.runtime.setaside import SetAside
from schemas.codec import (
    NewerFormatError,
    UndecodableError,
    decode_state,
    decode_viewer,
    viewers_of,
)
from schemas.records import MessageState, ViewerState, split_viewer_key, viewer_key

Read = Callable[[Sequence[str]], list[bytes | None]]
State = MessageState | ViewerState


class States:
    """States by key, each as it was and as it is; messages' and viewers' alike."""

    def __init__(self, read: Read) -> None:
        """`read` gives the stored states of many keys at once."""
        self.read_bytes = 0
        self._read = read
        self._stored: dict[str, bytes | None] = {}
        self._before: dict[str, State | None] = {}
        self._after: dict[str, State | None] = {}

    def load(self, keys: Iterable[str]) -> None:
        """Read the states of these keys, of those not read yet; nothing is decoded."""
        wanted = [key for key in dict.fromkeys(keys) if key not in self._stored]
        for key, value in zip(wanted, self._read(wanted) if wanted else (), strict=True):
            self._stored[key] = value
            self.read_bytes += len(value or b"")

    def unusable(self, key: str) -> SetAside | None:
        """Why a stored state cannot be read; None if it can. Raises `NewerFormatError`."""
        try:
            self._decoded(key)
        except NewerFormatError:
            raise
        except UndecodableError as error:
            return SetAside.state_unreadable(key, str(error))
        return None

    def message(self, key: str) -> MessageState | None:
        """The state of the message with that key, as it is now; None if it is not known."""
        return cast("MessageState | None", self._decoded(key))

    def viewer(self, key: str) -> ViewerState | None:
        """The state of the viewer with that key, as it is now; None if it is not known."""
        return cast("ViewerState | None", self._decoded(key))

    def put(self, key: str, state: State | None) -> None:
        self._after[key] = state

    def before(self, key: str) -> State | None:
        return self._before.get(key)

    def after(self, key: str) -> State | None:
        return self._after[key]

    def changed(self) -> Iterator[str]:
        """The keys whose state is another object than it was."""
        return (key for key, state in self._after.items() if state is not self._before.get(key))

    def _decoded(self, key: str) -> State | None:
        try:
            return self._after[key]
        except KeyError:
            state = self._before[key] = self._after[key] = self._decode(key, self._stored[key])
            return state

    def _decode(self, key: str, value: bytes | None) -> State | None:
        if value is None:
            return None
        if split_viewer_key(key) is not None:
            return decode_viewer(value)
        state = decode_state(value)
        for viewer in viewers_of(value) if b'"viewers":' in value else ():
            # Of the first format: from now on each viewer has a state of its own.
            self._after[viewer_key(key, viewer.viewer)] = viewer
        return state
