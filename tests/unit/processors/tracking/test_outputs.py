"""The encoding of outputs."""

from typing import Any, get_args

from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import asdict

from processors.tracking.outputs import encode_status
from schemas.codec import encode
from schemas.records import (
    Billing,
    Direction,
    PublishedVerdict,
    RawOrigin,
    Reason,
    Status,
    StatusObservation,
    StatusRecord,
)

_WORDS = st.text(max_size=8)
_TIMES = st.integers(0, 2**53)
_JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | _WORDS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_WORDS, inner, max_size=3),
    max_leaves=5,
)


def _known(values: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.none() | values


OBSERVATIONS = st.builds(
    StatusObservation,
    message_key=_WORDS,
    provider=_WORDS,
    account=_WORDS,
    channel=_WORDS,
    gateway=_WORDS,
    received_at=_TIMES,
    raw=st.builds(RawOrigin, _WORDS, st.just(0), _TIMES, st.just(0)),
    message_id=_known(_WORDS),
    recipient=_known(_WORDS),
    occurred_at=_known(_TIMES),
    payload=_JSON,
    content=_known(st.dictionaries(_WORDS, _JSON, max_size=3)),
    source=_known(_WORDS),
    replay=_known(_WORDS),
    catch_up=st.booleans(),
    unread=st.lists(_WORDS, max_size=2),
    status=st.sampled_from(get_args(Status)),
    provider_status=_WORDS,
    direction=st.sampled_from(get_args(Direction)),
    request_id=_known(_WORDS),
    recipient_index=_known(st.integers(0, 9)),
    viewer=_known(_WORDS),
    reason=_known(st.builds(Reason, _known(_WORDS), _known(_WORDS))),
    billing=_known(st.builds(Billing, parts=_known(st.integers(0, 9)))),
    receipts=st.booleans(),
)


@given(
    OBSERVATIONS,
    st.sampled_from(get_args(PublishedVerdict)),
    st.none() | st.sampled_from(get_args(Status)),
)
def test_a_status_is_encoded_like_its_record(
    observation: StatusObservation, verdict: PublishedVerdict, message_status: Status | None
) -> None:
    record = StatusRecord(**asdict(observation), verdict=verdict, message_status=message_status)
    assert encode_status(observation, verdict, message_status) == encode(record)
