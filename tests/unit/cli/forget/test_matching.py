"""Whose states are found: by number in all of its forms, by message key, with viewers."""

import pytest
from msgspec.structs import replace

from cli.forget.matching import Matches, Wanted
from schemas.codec import encode
from schemas.privacy import Key, hashed_number, hashed_viewer
from schemas.records import (
    STATE_VERSION,
    Attempt,
    Fact,
    InboundRecord,
    Ladder,
    MessageState,
    RawOrigin,
    ViewerState,
    viewer_key,
)

KEYS = (Key("k2", 10, "fedcba9876543210"), Key("k1", 0, "0123456789abcdef"))
NUMBER, OTHER = "420777123456", "420777654321"
RAW = RawOrigin("raw.p", 1, 20, 0)
FACT = Fact(status="sent", provider_status="sent", received_at=1, raw=RAW)
STATE = MessageState(
    message_key="p/-/1",
    version=STATE_VERSION,
    provider="p",
    account="-",
    first_seen_at=1,
    updated_at=1,
    recipient=NUMBER,
    attempts={"sms": Attempt(channel="sms", status="sent", facts={"sent": FACT})},
)
INBOUND = InboundRecord(
    message_key="p/-/in",
    provider="p",
    account="-",
    channel="sms",
    gateway="sms",
    received_at=1,
    raw=RAW,
    sender=NUMBER,
)


def viewed(viewer: str, message: str = "p/-/1") -> ViewerState:
    seen = {"whatsapp": Ladder(status="read", facts={"read": replace(FACT, status="read")})}
    return ViewerState(message_key=message, viewer=viewer, version=STATE_VERSION, attempts=seen)


def found(
    target: str,
    *states: MessageState | ViewerState,
    inbound: InboundRecord | None = None,
    dropped: str = "",
) -> Matches:
    matches = Matches(Wanted.of(target, KEYS))
    if inbound is not None:
        matches.add_inbound(encode(inbound))
    for state in states:
        key = state.message_key
        if isinstance(state, ViewerState):
            key = viewer_key(key, state.viewer)
        matches.add_state(key, encode(state))
    if dropped:
        matches.add_state(dropped, None)
    return matches


@pytest.mark.parametrize("target", [NUMBER, f"+{NUMBER}", " +420 777 123 456 ", f"00{NUMBER}"])
@pytest.mark.parametrize("held", [NUMBER, *(hashed_number(key, NUMBER) for key in KEYS)])
def test_a_recipient_in_every_form(target: str, held: str) -> None:
    """With its raw body; a number that only contains it is another one."""
    matches = found(target, replace(STATE, recipient=held), viewed(OTHER))
    assert matches.keys == ["p/-/1", viewer_key("p/-/1", OTHER)]
    assert matches.raw == [RAW]
    assert found(target, replace(STATE, recipient=f"1{NUMBER}")).keys == []
    assert found(target, replace(STATE, recipient=OTHER, content={"text": NUMBER})).keys == []


@pytest.mark.parametrize(
    "held",
    [
        NUMBER,
        *(hashed_number(key, NUMBER) for key in KEYS),
        *(hashed_viewer(key, NUMBER, "p/-/1") for key in KEYS),
    ],
)
def test_a_viewer_in_every_form(held: str) -> None:
    """The state of the viewer alone: the message is another person's."""
    matches = found(NUMBER, replace(STATE, recipient=OTHER), viewed(held), viewed(OTHER))
    assert matches.keys == [viewer_key("p/-/1", held)]
    assert matches.raw == [RAW]


def test_a_hash_for_another_message_is_another_viewer() -> None:
    assert found(NUMBER, viewed(hashed_viewer(KEYS[0], NUMBER, "p/-/2"))).keys == []


@pytest.mark.parametrize("held", [NUMBER, hashed_number(KEYS[1], NUMBER)])
def test_a_sender(held: str) -> None:
    """It is in the record of `inbound` alone; a state that is gone is not deleted again."""
    state = replace(STATE, message_key="p/-/in", recipient=None)
    assert found(NUMBER, state, inbound=replace(INBOUND, sender=held)).keys == ["p/-/in"]
    assert found(NUMBER, inbound=INBOUND).keys == []
    assert found(NUMBER, state, inbound=replace(INBOUND, sender=OTHER)).keys == []


def test_the_newest_record_of_a_key_counts() -> None:
    """A dropped state is gone; a newer state may have another recipient."""
    assert found(NUMBER, STATE, dropped="p/-/1").keys == []
    assert found(NUMBER, STATE, replace(STATE, recipient=OTHER)).keys == []
    assert found(NUMBER, replace(STATE, recipient=OTHER), STATE).keys == ["p/-/1"]


def test_a_message_key() -> None:
    """The message with all of its viewers, or one viewer by the key of its state."""
    states = (STATE, viewed(OTHER), viewed(NUMBER), replace(STATE, message_key="p/-/12"))
    viewers = sorted(viewer_key("p/-/1", one) for one in (NUMBER, OTHER))
    assert found("p/-/1", *states).keys == sorted(["p/-/1", *viewers])
    assert found(viewers[0], *states).keys == [viewers[0]]


def test_a_state_that_cannot_be_read_is_passed_over() -> None:
    """By number; its key is enough to delete it by key."""
    for target, keys in ((NUMBER, []), ("p/-/1", ["p/-/1"])):
        matches = Matches(Wanted.of(target, ()))
        matches.add_inbound(f'"{NUMBER}"'.encode())
        matches.add_state("p/-/1", f'"{NUMBER}"'.encode())
        assert matches.keys == keys
