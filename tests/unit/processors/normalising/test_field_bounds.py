"""Observations past the bounds of their fields: cut, left out and named, or refused."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from processors.normalising.field_bounds import fitted
from providers.rejection import Refused
from schemas.bounds import BOUNDS, Bounds
from schemas.codec import encode
from schemas.records import Billing, Observation, Reason
from tests.unit.messages import reply, seen

SENT, ANSWER = seen("sent", 1), reply(2)


@pytest.mark.parametrize(
    ("observation", "name", "value"),
    [
        (SENT, "recipient", "x" * 511),
        (SENT, "request_id", "x" * 1023),
        (SENT, "payload", "x" * 65_535),
        (SENT, "payload", "\x00" * 10_923),  # six bytes each, as JSON
        (SENT, "content", {"type": "text", "text": "ž" * 131_072}),
        (SENT, "billing", Billing(prices={f"C{n}": "0.1" for n in range(200)})),
        (SENT, "billing", Billing(prices={"CZK": "1e-480000"})),
        (SENT, "billing", Billing(prices={"CZK": "0.5", "EUR": "9E31"})),
        (ANSWER, "sender", "x" * 511),
        (ANSWER, "content", {"type": "text", "text": "x" * 262_144}),
    ],
)
def test_a_field_above_its_bound_is_left_out_and_named(
    observation: Observation, name: str, value: Any
) -> None:
    """The fact is kept; the field is absent, and `unread` says so."""
    kept = fitted(replace(observation, **{name: value}))

    assert (getattr(kept, name), kept.unread) == (None, [name])
    assert replace(kept, unread=[]) == replace(observation, **{name: None})


@pytest.mark.parametrize(
    ("observation", "name", "value"),
    [
        (SENT, "recipient", "x" * 510),
        (SENT, "payload", "x" * 65_534),
        (SENT, "billing", Billing(prices={"CZK": "8.9e-1"})),
        (SENT, "content", {"type": "text", "text": "ž" * 131_000}),
        (ANSWER, "sender", "x" * 510),
    ],
)
def test_a_field_up_to_its_bound_is_kept(observation: Observation, name: str, value: Any) -> None:
    """A field up to its bound is unchanged."""
    one = replace(observation, **{name: value})
    assert fitted(one) is one


@pytest.mark.parametrize(
    ("observation", "changed"),
    [
        (SENT, {"gateway": "g" * 127}),
        (SENT, {"channel": "g" * 127}),
        (SENT, {"provider_status": "w" * 127}),
        (SENT, {"viewer": "v" * 511}),
        (SENT, {"message_key": "k" * 1023}),
        (ANSWER, {"in_reply_to": "k" * 1023}),
    ],
)
def test_an_identifying_field_above_its_bound_is_refused(
    observation: Observation, changed: dict[str, str]
) -> None:
    """It cannot be cut, because two facts could become one."""
    with pytest.raises(Refused, match="bytes of JSON") as refused:
        fitted(replace(observation, **changed))
    assert refused.value.code == "too_long"
    assert next(iter(changed.values())) not in refused.value.reason


@given(st.text(max_size=2000), st.text(max_size=400))
def test_a_reason_is_cut_to_its_bound(text: str, code: str) -> None:
    """A long reason is cut and marked; one that fits is unchanged."""
    kept = fitted(replace(SENT, reason=Reason(code=code, text=text)))

    assert kept.reason is not None  # type: ignore[union-attr]
    for was, now, most, name in (
        (text, kept.reason.text, BOUNDS.reason_text, "reason.text"),  # type: ignore[union-attr]
        (code, kept.reason.code, BOUNDS.reason_code, "reason.code"),  # type: ignore[union-attr]
    ):
        assert len(encode(now)) <= most
        assert (now == was) == (len(encode(was)) <= most) == (name not in kept.unread)
        if now != was:
            assert now is not None
            assert now.endswith("…")
            assert was.startswith(now[:-1])
            assert len(encode(now)) > most - 12  # no more is cut than must be


_TEXTS = st.integers(0, 180).flatmap(lambda n: st.sampled_from(["x" * n, "\x00" * n, "ž" * n]))


@given(st.data(), st.sampled_from([SENT, ANSWER]))
def test_short_fields_are_not_measured(data: st.DataObject, one: Observation) -> None:
    """The check of lengths gives the same result as measuring every field."""
    named = {"message_key", "channel", "gateway", "recipient", "request_id"}
    named |= {"sender", "in_reply_to"} if one is ANSWER else {"provider_status", "viewer"}
    changed: dict[str, Any] = {
        name: data.draw(_TEXTS) for name in data.draw(st.sets(st.sampled_from(sorted(named))))
    }
    if one is SENT:
        changed["reason"] = data.draw(st.none() | st.builds(Reason, code=_TEXTS, text=_TEXTS))
    observation = replace(one, **changed)
    measured = BOUNDS._replace()  # equal, and not the same: no short way is taken

    assert _kept(observation, BOUNDS) == _kept(observation, measured)


def _kept(observation: Observation, bounds: Bounds) -> Observation | str:
    try:
        return fitted(observation, bounds)
    except Refused as refused:
        return refused.reason
