"""The differences between two states of one message, or of one viewer. Pure.

Fields that depend on the order of arrival, or on the path of an observation, are left out:
`stalled_since`, `revision`, and whether a fact came by a replay.
"""

from collections.abc import Iterator
from typing import Any, NamedTuple

import msgspec

from schemas.codec import decode_by_key
from schemas.records import MessageState, ViewerState

State = MessageState | ViewerState

# By name of the field: mappings whose keys are data. The keys of the last one are a person's.
_KEYED = ("attempts", "facts", "audience", "described_at", "contradictions", "inbound")
_FIRST = ("status", "attempts", "contradictions", "inbound", "replied_at")
PERSONAL = ("inbound",)


class Difference(NamedTuple):
    """A field that differs, with its path; None for a side without the field."""

    path: tuple[str, ...]
    a: Any
    b: Any

    @property
    def keyed(self) -> bool:
        """Whether it is an entry of a mapping on one side only."""
        return len(self.path) > 1 and self.path[-2] in _KEYED and None in (self.a, self.b)

    @property
    def field(self) -> str:
        """Return the field's name, the same for every message, to count by."""
        path = self.path[:-1] if self.keyed else self.path
        shown = list(path)
        for index, name in enumerate(path[:-1]):
            if name in PERSONAL:
                shown[index + 1] = "*"
        return ".".join(shown)


def same(key: str, a: bytes, b: bytes) -> bool:
    """Whether two encoded states of that key are equal."""
    return a == b or not differences(decode_by_key(key, a), decode_by_key(key, b))


def differences(a: State, b: State) -> list[Difference]:
    """Return all fields that differ, the most important ones first."""
    found = list(_walk((), _comparable(a), _comparable(b)))
    return sorted(found, key=lambda one: (_rank(one.path[0]), one.path))


def _rank(name: str) -> int:
    return _FIRST.index(name) if name in _FIRST else len(_FIRST)


def _comparable(state: State) -> dict[str, Any]:
    fields: dict[str, Any] = msgspec.to_builtins(state)
    fields.pop("stalled_since", None)
    fields.pop("revision", None)
    for ladder in fields.get("attempts", {}).values():
        for fact in ladder["facts"].values():
            fact.pop("replay", None)
    fields.get("viewed", {}).get("last", {}).pop("replay", None)
    for reply in fields.get("inbound", {}).values():
        reply.pop("replay", None)
    disputed = fields.get("contradictions", ())
    fields["contradictions"] = {f"{c['gateway']} {c['failure']}": c["evidence"] for c in disputed}
    return fields


def _walk(path: tuple[str, ...], a: Any, b: Any) -> Iterator[Difference]:
    if path and path[-1] in _KEYED and None in (a, b):
        a, b = a or {}, b or {}  # an empty mapping is left out
    if not (isinstance(a, dict) and isinstance(b, dict)) or _opaque(path):
        # By bytes, not by ==: 1, 1.0 and true are equal in Python.
        if msgspec.json.encode(a, order="sorted") != msgspec.json.encode(b, order="sorted"):
            yield Difference(path, a, b)
        return
    for name in sorted(a.keys() | b.keys()):
        yield from _walk((*path, name), a.get(name), b.get(name))


def _opaque(path: tuple[str, ...]) -> bool:
    """Whether it is the caller's own data, or a message's text: compared as a whole."""
    return path[:1] in (("payload",), ("content",), ("content_rank",))
