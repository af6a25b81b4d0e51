"""The first format of a message's state, which held its viewers, read as the second one."""

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
    """A state as `messages` held it before viewers had states of their own."""

    viewers: dict[str, dict[str, Ladder]] = {}  # noqa: RUF012 - msgspec copies it

    @property
    def message(self) -> MessageState:
        """The message's own state in the second format."""
        fields = {name: value for name, value in asdict(self).items() if name != "viewers"}
        return MessageState(**fields | {"version": _VERSION, "viewed": self._viewed()})

    @property
    def viewer_states(self) -> list[ViewerState]:
        """The states of its viewers in the second format."""
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
