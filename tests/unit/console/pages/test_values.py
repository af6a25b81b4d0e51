"""What pages show, as values: durations, shares, periods, addresses, JSON lines, the story."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from console.pages import addresses, formats
from console.pages.json_lines import lines_of
from console.pages.message_picture import because, picture, story
from console.pages.periods import period_of
from console.read_model.queries import timeline
from console.read_model.results import Why
from service.errors import Problem
from tests.unit.console.read_model.topic_records import filled, outcomes

DAY = 86_400_000
NOW = 20_000 * DAY + 5 * 3_600_000


@pytest.mark.parametrize(
    ("milliseconds", "text"),
    [
        (None, "-"),
        (0, "0 ms"),
        (999, "999 ms"),
        (1000, "1.0 s"),
        (9999, "10.0 s"),
        (59_000, "59 s"),
        (83_000, "1 min 23 s"),
        (3_600_000, "1 h"),
        (7_500_000, "2 h 5 min"),
        (3 * DAY + 7_200_000, "3 d 2 h"),
    ],
)
def test_durations(milliseconds: int | None, text: str) -> None:
    assert formats.duration(milliseconds) == text


@pytest.mark.parametrize(
    ("share", "text"),
    [(None, "-"), (0, "0.0 %"), (0.758, "75.8 %"), (0.99999, "99.9 %"), (1, "100 %")],
)
def test_shares(share: float | None, text: str) -> None:
    """Less than all is never shown as all."""
    assert formats.share(share) == text


def test_countries_have_names() -> None:
    assert formats.country("SK") == "Slovakia"
    assert formats.country("CZ") == "Czech Republic"
    assert formats.country("??") == "??"
    assert formats.country(None) == "unknown"


@pytest.mark.parametrize(
    ("written", "since", "until"),
    [
        ({}, None, None),
        ({"from": "-1h"}, NOW - 3_600_000, None),
        ({"from": "today"}, 20_000 * DAY, None),
        ({"from": "1970-01-02", "to": "1970-01-03"}, DAY, 2 * DAY),
    ],
)
def test_periods(written: dict[str, str], since: int | None, until: int | None) -> None:
    found = period_of(written, NOW)
    assert (found.since, found.until) == (since, until)


def test_a_period_that_is_no_time() -> None:
    with pytest.raises(Problem):
        period_of({"from": "yesterday"}, NOW)


def test_an_address_keeps_the_rest_of_its_query() -> None:
    query = "q=a%26b&status=read&status=sent&cursor=x"
    found = addresses.changed("/messages", query, cursor=None, reveal="1")
    assert found == "/messages?q=a%26b&status=read&status=sent&reveal=1"


def test_a_message_key_in_an_address() -> None:
    assert addresses.message_path("whapi/A B/x?y#z") == "/messages/whapi/A%20B/x%3Fy%23z"


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-999, 999) | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3)
    ),
    max_leaves=8,
)


@given(JSON)
def test_revealed_lines_are_the_json(value: Any) -> None:
    """Together the lines are the same value."""
    found = lines_of(json.dumps(value).encode(), "", reveal=True)
    assert json.loads("\n".join(line.text for line in found)) == value


@given(st.binary(max_size=60), st.booleans())
def test_lines_of_any_bytes(body: bytes, reveal: bool) -> None:  # noqa: FBT001 - hypothesis
    lines_of(body, "/0", reveal=reveal)


@pytest.mark.parametrize("reveal", [True, False])
def test_a_pointer_marks_its_value(*, reveal: bool) -> None:
    body = json.dumps([{"a": 1}, {"to": {"b/c": [1, 2]}, "d": 3}]).encode()
    found = [
        line.text.strip() for line in lines_of(body, "/1/to/b~1c", reveal=reveal) if line.marked
    ]
    assert found == ['"b/c": [', "1,", "2", "]"]


def test_masked_lines_hold_no_number_and_no_text() -> None:
    body = json.dumps({"to": "+420777123456", "text": "see you"}).encode()
    shown = "\n".join(line.text for line in lines_of(body, "", reveal=False))
    assert "777123456" not in shown
    assert "see you" not in shown


def test_every_message_has_a_story_and_a_picture() -> None:
    """Each status says whether it was delivered; each attempt has a sentence and a row."""
    with filled().reading() as connection:
        for key, state in outcomes()[-1].messages.items():
            message = timeline.find(connection, key)
            assert message is not None
            found = story(message, NOW)
            bad = formats.tone(state.status) == "bad"
            assert found.headline.startswith("Not delivered: ") == bad
            # A group's message that somebody has read does not look lost.
            assert not (message.audience and found.headline.startswith("Not delivered yet"))
            sentences = [one for one in found.sentences if "hrough " in one]
            assert len(sentences) == len(state.attempts)
            drawn = picture(message, NOW)
            facts = [fact for fact in message.facts if fact.viewer is None]
            assert drawn.count("<a ") >= len(facts)


@pytest.mark.parametrize("place", [0, 5, 50, 99])
def test_of_a_long_body_the_lines_around_the_pointer_are_shown(place: int) -> None:
    """The marked line is among them, and what is left out is counted."""
    body = json.dumps([f"{number}" for number in range(100)]).encode()
    found = lines_of(body, f"/{place}", reveal=True, most=40)
    assert [line.text.strip(" ,") for line in found if line.marked] == [f'"{place}"']
    left = [int(line.text.split()[1]) for line in found if line.text.startswith("…")]
    assert len(found) - len(left) + sum(left) == 102
    assert len(found) <= 42


@pytest.mark.parametrize(
    ("written", "words"),
    [
        ({"from": "-24h"}, "last 24 hours"),
        ({"from": "1970-01-02T10:00Z"}, "since 02 Jan 1970 10:00 UTC"),
        ({"from": "1970-01-02T10:00Z/1970-01-02T11:00Z"}, "02 Jan 1970 10:00 to 11:00 UTC"),
        (
            {"from": "1970-01-02T23:00Z", "to": "1970-01-03"},
            "02 Jan 1970 23:00 to 03 Jan 1970 00:00 UTC",
        ),
        ({"to": "1970-01-03"}, "until 03 Jan 1970 00:00 UTC"),
        ({}, "any time"),
    ],
)
def test_a_period_survives_its_form(written: dict[str, str], words: str) -> None:
    """A form sends one field for both ends; a person reads them in one place."""
    found = period_of(written, NOW)
    assert found.words == words
    assert period_of({"from": found.text}, NOW) == found


@pytest.mark.parametrize(
    ("reason", "text", "end"),
    [
        (None, None, ", without a reason"),
        (Why(None, "failed"), None, ", without a reason"),
        (Why("27", "FAILED."), None, ", with code 27"),
        (Why(None, "not-delivered"), None, ", without a reason"),
        (Why(None, "failed: absent"), "failed: absent", ", because “failed: absent”"),
        (Why("27", "absent"), "absent", ", because “absent” (code 27)"),
    ],
)
def test_a_reason_that_is_only_the_status_is_not_repeated(
    reason: Why | None, text: str | None, end: str
) -> None:
    """Nor is the provider's own word for it."""
    assert formats.telling(reason, "failed", "Not delivered") == text
    assert because(reason, "failed", "Not delivered") == end


def test_a_cause_says_that_any_number_is_meant() -> None:
    assert formats.cause("`timestamp`: # is before #") == (
        "`timestamp`: [number] is before [number]"
    )
    assert formats.cause("not UTF-#, at #") == "not UTF-8, at [number]"
