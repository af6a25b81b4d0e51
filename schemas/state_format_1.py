"""Reads states of format 1, which contained the viewers, as states of format 2."""

from collections.abc import Iterator

from msgspec.structs import asdict

from schemas.records import (
    Fact,
    Ladder,
    MessageState,
    RawOrigin,
    Viewed,
    ViewerState,
    cause_of,
)

_VERSION = 2


class FirstFormat(MessageState, omit_defaults=True, kw_only=True, gc=False):
    """A state of format 1: viewers had no states of their own."""

    viewers: dict[str, dict[str, Ladder]] = {}  # noqa: RUF012 - msgspec copies it

    @property
    def message(self) -> MessageState:
        """The message's own state in format 2."""
        fields = {name: value for name, value in asdict(self).items() if name != "viewers"}
        return MessageState(**fields | {"version": _VERSION, "viewed": self._viewed()})

    @property
    def viewer_states(self) -> list[ViewerState]:
        """The states of its viewers in format 2."""
        return [
            ViewerState(
                message_key=self.message_key,
                viewer=viewer,
                version=_VERSION,
                attempts=ladders,
            )
            for viewer, ladders in self.viewers.items()
        ]

    def _viewed(self) -> Viewed | None:
        receipts = sorted(self._receipts(), key=_newness)
        if not receipts:
            return None
        gateway, last = receipts[-1]
        cause = cause_of(gateway, last)
        return Viewed(first_at=receipts[0][1].received_at, last=cause, raw=last.raw)

    def _receipts(self) -> Iterator[tuple[str, Fact]]:
        for ladders in self.viewers.values():
            for gateway, ladder in ladders.items():
                for fact in ladder.facts.values():
                    yield gateway, fact


def _newness(receipt: tuple[str, Fact]) -> tuple[int, RawOrigin, str]:
    gateway, fact = receipt
    return fact.received_at, fact.raw, gateway
