"""The messages of a number, or one message, among the records of `messages` and `inbound`. Pure."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from providers.fields import phone
from schemas.codec import UndecodableError, decode_by_key, decode_inbound
from schemas.privacy import Key, all_hashes, hashed_number
from schemas.records import MessageState, RawOrigin, ViewerState, message_of, split_viewer_key

_SLASHES = 2  # in a message key: provider/account/message_id


class Wanted(NamedTuple):
    """Whose records are meant: those of a message key, or of a number in all of its forms."""

    key: str | None
    number: str
    forms: frozenset[str]
    keys: tuple[Key, ...]

    @classmethod
    def of(cls, text: str, keys: Sequence[Key]) -> "Wanted":
        """Read what the user typed: a message key has two slashes, anything else is a number."""
        text = text.strip()
        if text.count("/") >= _SLASHES:
            return cls(text, "", frozenset(), tuple(keys))
        number = phone(text) or ""
        forms = {number, *(hashed_number(key, number) for key in keys)}
        return cls(None, number, frozenset(forms), tuple(keys))

    def is_viewer(self, viewer: str, message_key: str) -> bool:
        return viewer in self.forms or viewer in all_hashes(self.keys, self.number, message_key)


class Matches:
    """The keys of `messages` to delete; add all records of `inbound`, then those of `messages`.

    `raw` has, by key, the raw bodies that a state names.
    """

    def __init__(self, wanted: Wanted) -> None:
        self._wanted = wanted
        self._senders: set[str] = set()
        self._found: set[str] = set()
        self._viewers: dict[str, set[str]] = {}
        self._sent: set[str] = set()
        self._raw: dict[str, list[RawOrigin]] = {}

    def add_inbound(self, value: bytes | None) -> None:
        """Add a record of `inbound`: its sender is in no state."""
        if self._wanted.key is not None or not _mentions(value, self._wanted.forms):
            return
        try:
            one = decode_inbound(value)
        except UndecodableError:
            return
        if {one.sender, one.recipient} & self._wanted.forms:
            self._senders.add(one.message_key)

    def add_state(self, key: str, value: bytes | None) -> None:
        """Add a record of `messages`, a later one of a key after the earlier ones."""
        for known in (self._found, self._sent, self._viewers.get(message_of(key), set())):
            known.discard(key)
        self._raw.pop(key, None)
        if value is None:
            return
        split = split_viewer_key(key)
        if split is not None:
            self._viewers.setdefault(split[0], set()).add(key)
        if key in self._senders:
            self._sent.add(key)
        if self._matches(key, split, value):
            self._found.add(key)
        if key in self._found or key in self._sent:
            self._raw[key] = _origins(key, value)

    @property
    def keys(self) -> list[str]:
        """The keys to delete: with a message also its viewers; sorted."""
        own = self._found | self._sent
        return sorted(own.union(*(self._viewers.get(key, ()) for key in own)))

    @property
    def raw(self) -> list[RawOrigin]:
        """The raw bodies behind the states to delete; sorted."""
        return sorted({one for key in self.keys for one in self._raw.get(key, ())})

    def _matches(self, key: str, split: tuple[str, str] | None, value: bytes) -> bool:
        wanted = self._wanted
        if wanted.key is not None:
            return wanted.key in (key, message_of(key))
        if split is not None:
            return wanted.is_viewer(split[1], split[0])
        if not _mentions(value, wanted.forms):
            return False
        state = _decoded(key, value)
        return isinstance(state, MessageState) and state.recipient in wanted.forms


def _mentions(value: bytes | None, forms: frozenset[str]) -> bool:
    """Whether a value may hold one of the forms: fast, and nearly always false."""
    return value is not None and any(form.encode() in value for form in forms)


def _decoded(key: str, value: bytes) -> MessageState | ViewerState | None:
    try:
        return decode_by_key(key, value)
    except UndecodableError:
        return None


def _origins(key: str, value: bytes) -> list[RawOrigin]:
    state = _decoded(key, value)
    return [] if state is None else list(_of_state(state))


def _of_state(state: MessageState | ViewerState) -> Iterator[RawOrigin]:
    for attempt in state.attempts.values():
        yield from (fact.raw for fact in attempt.facts.values())
    if isinstance(state, MessageState):
        yield from (reply.raw for reply in state.inbound.values())
