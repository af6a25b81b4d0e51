"""The laws of the lifecycle: order, repetition and batching do not matter, nothing goes back."""

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from processors.tracking.lifecycle.statuses import ATTEMPT_RANK, MESSAGE_RANK
from processors.tracking.outputs import Output
from schemas.codec import decode_state, decode_viewer, encode
from schemas.records import (
    Advanced,
    Billing,
    InboundObservation,
    InboundRecord,
    Observation,
    RawOrigin,
    Reason,
    Recovered,
    Status,
    StatusObservation,
    StatusRecord,
)
from tests.examples import examples
from tests.unit.messages import Folded, inbound, reply, seen

STATUSES: tuple[Status, ...] = Status.__args__  # type: ignore[attr-defined]
TIMES = st.integers(1, 9)
GATEWAYS = st.sampled_from(["sms", "viber"])


# A placeholder, media ever fuller, texts of equal worth.
CONTENTS: st.SearchStrategy[dict[str, Any]] = st.sampled_from(
    [
        {"type": "unknown"},
        {"type": "image"},
        {"type": "image", "mime_type": "image/png"},
        {"type": "image", "mime_type": "image/png", "link": "https://x.example/1"},
        {"type": "text", "text": "a"},
        {"type": "text", "text": "b"},
        {"type": "text", "text": "much longer than any bound of a content that tests set"},
    ]
)


def optional(strategy: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.none() | strategy


@st.composite
def status_observations(draw: st.DrawFn, *, gateways: Any = GATEWAYS) -> StatusObservation:
    """One observation of message m1, with all that may differ between two of the same fact."""
    received_at = draw(TIMES)
    return seen(
        draw(st.sampled_from(STATUSES)),
        draw(optional(TIMES)),
        draw(gateways),
        provider_status=draw(st.sampled_from(["x", "y"])),
        viewer=draw(st.sampled_from([None, None, "v1", "v2"])),
        received_at=received_at,
        raw=RawOrigin("raw", 0, received_at, draw(st.integers(0, 1))),
        reason=draw(optional(st.builds(Reason, code=st.sampled_from(["1", "2"])))),
        channel=draw(st.sampled_from(["one", "two"])),
        recipient=draw(optional(st.sampled_from(["1", "2"]))),
        # To Python 1, 1.0 and True are equal, in JSON they are three values.
        payload=draw(optional(st.sampled_from([1, 1.0, True, {"a": 1}, {"a": True}, "text"]))),
        direction=draw(st.sampled_from(["outbound", "unknown", "unknown", "inbound"])),
        content=draw(optional(CONTENTS)),
        receipts=draw(st.booleans()),
        billing=draw(optional(st.builds(Billing, parts=st.integers(1, 2)))),
        replay=draw(st.sampled_from([None, None, "r-1"])),
        catch_up=draw(st.sampled_from([False, False, True])),
    )


REPLIES = st.builds(
    lambda at, identity, received: reply(at, identity, received_at=received),
    TIMES,
    st.sampled_from(["r1", "r2"]),
    TIMES,
)


@st.composite
def inbound_observations(draw: st.DrawFn) -> InboundObservation:
    """One observation of message m1 as a person's, by whom it was edited perhaps."""
    received_at = draw(TIMES)
    return inbound(
        draw(TIMES),
        received_at=received_at,
        raw=RawOrigin("raw", 0, received_at, 2),
        content=draw(optional(CONTENTS)),
        edited_at=draw(optional(TIMES)),
        recipient=draw(optional(st.sampled_from(["1", "3"]))),
        payload=draw(optional(st.sampled_from(["text", "more"]))),
        replay=draw(st.sampled_from([None, None, "r-1"])),
    )


HISTORIES = st.lists(
    status_observations() | REPLIES | inbound_observations(), min_size=1, max_size=8
)


def is_correction(output: Output) -> bool:
    return isinstance(output.record, InboundRecord) and output.record.revision > 0


def published(observations: Sequence[Observation]) -> list[str]:
    """The ids of what goes to `statuses` and `inbound`, sorted; corrections apart."""
    outputs = Folded(*observations).outputs
    return sorted(o.id for o in outputs if o.topic != "events" and not is_correction(o))


@examples(2)
@given(HISTORIES, st.data())
def test_the_state_is_a_function_of_the_set(
    history: list[Observation], data: st.DataObject
) -> None:
    """Any order and any repetition of the observations gives the same state, byte for byte."""
    again = data.draw(st.lists(st.sampled_from(history), max_size=4))
    shuffled = data.draw(st.permutations(history + again))

    assert Folded(*shuffled).everything == Folded(*history).everything


@given(HISTORIES, st.data())
def test_each_fact_is_published_once(history: list[Observation], data: st.DataObject) -> None:
    """However often and in whatever order it is observed, a fact appears once on its topic."""
    shuffled = data.draw(st.permutations(history + history))
    ids = published(shuffled)

    assert len(ids) == len(set(ids))
    assert ids == published(history)


@examples(2)
@given(HISTORIES, st.data())
def test_a_replay_of_what_is_known_is_nothing(
    history: list[Observation], data: st.DataObject
) -> None:
    """Replayed in part or whole, later or in between: the same states, and nothing published."""
    live = [replace(observation, replay=None) for observation in history]
    replayed = [replace(one, replay="r-2") for one in data.draw(st.lists(st.sampled_from(live)))]
    states = Folded(*live).everything

    after = Folded(*live, *replayed)

    assert after.everything == states
    assert after.outputs == Folded(*live).outputs
    assert Folded(*data.draw(st.permutations(live + replayed))).everything == states


@given(HISTORIES)
def test_ids_are_unique(history: list[Observation]) -> None:
    """No two outputs share a CloudEvents id, so a consumer may dedupe by it."""
    ids = [output.id for output in Folded(*history).outputs]

    assert len(ids) == len(set(ids))


@examples(2)
@given(st.lists(inbound_observations() | status_observations(), min_size=1, max_size=10), st.data())
def test_the_last_revision_is_the_state(history: list[Observation], data: st.DataObject) -> None:
    """Revisions count from 0 without a gap, each with another content; the last is the state's."""
    folded = Folded(*history)
    published = [out.record for out in folded.outputs if isinstance(out.record, InboundRecord)]
    contents = [encode(record.content) for record in published]

    assert [record.revision for record in published] == list(range(len(published)))
    assert all(one != other for one, other in pairwise(contents))
    if published:
        assert contents[-1] == encode(folded.state.content)
        assert folded.state.revision == published[-1].revision
    other = Folded(*data.draw(st.permutations(history)))
    last = [out.record for out in other.outputs if isinstance(out.record, InboundRecord)]
    assert [encode(record.content) for record in last[-1:]] == contents[-1:]


@given(st.lists(status_observations(gateways=st.just("sms")), min_size=1, max_size=10))
def test_one_gateway_never_goes_backwards(history: list[StatusObservation]) -> None:
    """Every transition of a message with one gateway climbs its ladder."""
    moves = [
        output.record
        for output in Folded(*history).outputs
        if isinstance(output.record, Advanced | Recovered)
    ]

    for move in moves:
        before = -1 if move.from_ is None else ATTEMPT_RANK[move.from_]
        assert ATTEMPT_RANK[move.to] > before


@given(st.lists(status_observations(), min_size=1, max_size=10))
def test_delivery_is_never_taken_back(history: list[StatusObservation]) -> None:
    """Once delivered by any gateway, the message's status only climbs."""
    records = [o.record for o in Folded(*history).outputs if isinstance(o.record, StatusRecord)]
    statuses = [record.message_status for record in records if record.message_status]
    ranks = [MESSAGE_RANK[s] for s in statuses]
    reached = MESSAGE_RANK["delivered"]

    first = next((i for i, rank in enumerate(ranks) if rank >= reached), len(ranks))

    assert ranks[first:] == sorted(ranks[first:])


@given(HISTORIES, st.integers(0, 8))
def test_a_stored_state_goes_on_as_if_never_stored(history: list[Observation], cut: int) -> None:
    """Splitting a history into batches, with the state written and read between, is no change."""
    folded = Folded(*history[:cut])
    folded.states = {key: decode_state(encode(one)) for key, one in folded.states.items()}
    folded.viewers = {key: decode_viewer(encode(one)) for key, one in folded.viewers.items()}
    for observation in history[cut:]:
        folded.take(observation)

    assert folded.everything == Folded(*history).everything
