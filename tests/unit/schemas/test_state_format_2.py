"""States as the earlier release wrote them: read as today's, and tracked on."""

import json
from pathlib import Path
from typing import NamedTuple

import pytest

from processors.replay.case_file import steps_of
from processors.replay.pipeline_in_memory import Delivery, run
from processors.tracking.next_state import track
from processors.tracking.state_diff import differences, same
from schemas.codec import NewerFormatError, decode_by_key, decode_state, encode
from schemas.records import STATE_VERSION, MessageState, ViewerState, split_viewer_key
from tests import HOME
from tests.unit.messages import KEY, Folded, inbound, seen

LIVES = HOME / "tests/unit/processors/replay/lives"


class Recorded(NamedTuple):
    """What the earlier release had on `messages` after the deliveries of a life."""

    life: str
    key: str
    state: bytes


def recorded() -> list[Recorded]:
    lines = (Path(__file__).parent / "states_of_format_2.jsonl").read_text().splitlines()
    told = map(json.loads, lines)
    return [Recorded(one["life"], one["key"], encode(one["state"])) for one in told]


RECORDED = recorded()
# What the earlier rules made of these lives cannot be put right without the raw bodies.
DIFFER = {
    "placeholder-then-text": {"content", "content_rank"},
    "picture-then-its-link": {"content", "content_rank"},
    "edit-of-their-message": {"content", "content_rank"},
    "channel-post-then-silence": {"receipts"},
    "story-then-silence": {"receipts"},
}


@pytest.mark.parametrize("one", RECORDED, ids=lambda one: f"{one.life} {one.key[:6]}")
def test_a_state_of_the_second_format_is_todays(one: Recorded) -> None:
    """It is what today's code makes of the same bodies, but for what the rules changed."""
    steps = steps_of((LIVES / f"{one.life}.life.json").read_bytes())
    outcome = run([step for step in steps if isinstance(step, Delivery)])
    split = split_viewer_key(one.key)
    today: MessageState | ViewerState = (
        outcome.messages[one.key]
        if split is None
        else next(v for v in outcome.viewers.values() if v.viewer == split[1])
    )

    old = decode_by_key(one.key, one.state)

    assert b'"version":2' in one.state
    assert old.version == STATE_VERSION
    found = {difference.path[0] for difference in differences(old, today)}
    assert found <= DIFFER.get(one.life, set())
    assert same(one.key, one.state, encode(today)) == (not found)
    assert decode_by_key(one.key, encode(old)) == old


def second_format(state: MessageState, **fields: object) -> MessageState:
    """A state with what the second format had, read back."""
    told = json.loads(encode(state))
    told = {k: v for k, v in told.items() if k not in ("content_rank", "revision", "receipts")}
    return decode_state(encode(told | {"version": 2} | fields))


def test_a_content_goes_on_to_be_corrected() -> None:
    """The placeholder that the earlier release kept gives way to the text, which is published."""
    old = second_format(
        Folded(inbound(5, content={"type": "unknown"})).state,
        described_at={"content": 5, "direction": 5},
    )

    step = track(old, KEY, inbound(5, content={"type": "text", "text": "hi"}))

    assert step.outcome == "corrected"
    assert [out.record.revision for out in step.outputs] == [1]  # type: ignore[union-attr]


def test_a_repeat_of_an_old_content_publishes_nothing() -> None:
    """What the earlier release published is known."""
    told = inbound(5, content={"type": "text", "text": "hi"})
    old = second_format(Folded(told).state, described_at={"content": 5, "direction": 5})

    step = track(old, KEY, told)

    assert (step.outcome, step.outputs, step.state) == ("duplicate", [], old)


@pytest.mark.parametrize(("at", "kept"), [(5, "420777000009"), (9, None)])
def test_a_recipient_of_an_inbound_message(at: int, kept: str | None) -> None:
    """One that the message named stays; one that a later receipt named was the sender."""
    state = Folded(inbound(5, recipient="420777000009"), seen("read", 9, direction="unknown")).state

    old = second_format(state, described_at={"recipient": at}, replied_at=7)

    assert (old.recipient, old.replied_at) == (kept, None)


def test_a_newer_format_is_refused() -> None:
    """A state of a later release is never half understood."""
    state = json.loads(encode(Folded(seen("sent", 1)).state))
    with pytest.raises(NewerFormatError, match=r"state format 4 is newer than 3"):
        decode_state(encode(state | {"version": 4}))
