"""The counts of messages follow the changes of states."""

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from processors.tracking import standing
from processors.tracking.standing import Standing
from schemas.codec import encode
from schemas.records import MessageState, viewer_key
from tests.unit.messages import KEY, Folded, seen


def state_of(key: str, since: int | None, gateway: str) -> MessageState:
    folded = Folded()
    folded.take(replace(seen("queued", 1), gateway=gateway, channel=gateway))
    assert folded.state is not None
    return replace(folded.state, message_key=key, stalled_since=since)


KEYS = ("smsmanager/-/a", "smsmanager/-/b", "whapi/C/a", "invented/-/a")
STATES = st.none() | st.builds(
    state_of, st.just(""), st.none() | st.just(9), st.sampled_from(["sms", "viber", "pigeon"])
)


def test_a_stalled_message_counts_on_the_channel_of_its_best_attempt() -> None:
    """A channel that is no label, and a provider that is none, are `other` and `unknown`."""
    stalled = state_of("smsmanager/-/a", 5, "viber")
    assert standing.of_state(stalled) == (
        Standing("smsmanager"),
        Standing("smsmanager", "viber"),
    )
    odd = state_of("invented/-/a", 5, "pigeon")
    assert standing.of_state(odd) == (Standing("unknown"), Standing("unknown", "other"))
    assert standing.of_state(None) == ()


def test_a_stored_state_counts_as_its_decoded_one() -> None:
    """The text of the field in a payload is not enough; a viewer's state does not count."""
    plain = state_of("smsmanager/-/a", None, "sms")
    quoting = replace(plain, payload={"stalled_since": 1})
    for one in (plain, quoting, replace(plain, stalled_since=7)):
        key = one.message_key.encode()
        assert standing.of_stored(key, encode(one)) == standing.of_state(one)
    assert standing.of_stored(viewer_key(KEY, "v").encode(), b"{}") == ()
    assert standing.of_stored(b"whapi/C/a", b'{"stalled_since":') == (Standing("whapi"),)


@given(st.lists(st.tuples(st.sampled_from(KEYS), STATES)))
def test_the_sum_of_the_changes_is_the_count_of_the_states(
    changes: list[tuple[str, MessageState | None]],
) -> None:
    """In any order, with messages that stall, go on and expire."""
    states: dict[str, MessageState | None] = {}
    counts: Counter[Standing] = Counter()
    for key, state in changes:
        after = state and replace(state, message_key=key)
        counts.update(standing.change(standing.of_state(states.get(key)), standing.of_state(after)))
        states[key] = after
    expected = Counter(one for state in states.values() for one in standing.of_state(state))
    assert +counts == expected
    assert min(counts.values(), default=0) >= 0
