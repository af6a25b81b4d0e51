"""When a provider is left alone, as too many of its bodies become dead letters."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from processors.deadletterlimit import LEAST, LOOK_BACK, Body, Flood, Limits, Window, judge
from processors.providers.base import Coordinates
from processors.refusal import Code

USUAL = Limits(ratio=0.5, run=500)
GOOD, BAD = None, "not_json"
BODY: st.SearchStrategy[Code | None] = st.sampled_from([None, "not_json", "wrong_root"])


def bodies(*runs: tuple[int, Code | None]) -> list[Body]:
    """Bodies at offsets from 0 on: so many of each."""
    codes = [code for count, code in runs for _ in range(count)]
    return [Body(Coordinates("r", 0, offset), code) for offset, code in enumerate(codes)]


def flood(limits: Limits, *runs: tuple[int, Code | None]) -> Flood | None:
    return judge("whapi", Window(), bodies(*runs), limits)[1]


@pytest.mark.parametrize(
    ("limits", "runs", "expected"),
    [
        # Too few bodies for a share; the next one is enough.
        (USUAL, [(199, BAD)], None),
        (USUAL, [(200, BAD)], (200, 200, 0, "BLUETICK_DEAD_LETTER_RATIO")),
        # Half of the last bodies is allowed, one more is not.
        (USUAL, [(100, GOOD), (100, BAD)], None),
        (USUAL, [(100, GOOD), (101, BAD)], (101, 201, 100, "BLUETICK_DEAD_LETTER_RATIO")),
        # Only the last thousand count.
        (USUAL, [(600, GOOD), (400, BAD), (600, GOOD), (401, BAD)], None),
        (USUAL, [(5000, GOOD), (500, BAD)], None),
        (USUAL, [(5000, GOOD), (501, BAD)], (501, 501, 5000, "BLUETICK_DEAD_LETTER_RUN")),
        # A good body ends the run, and the next one is counted from there.
        (Limits(0, 3), [(3, BAD), (1, GOOD), (3, BAD)], None),
        (Limits(0, 3), [(3, BAD), (1, GOOD), (4, BAD)], (4, 4, 4, "BLUETICK_DEAD_LETTER_RUN")),
        # A run may be longer than what is looked back on.
        (Limits(0, 2000), [(2001, BAD)], (2001, 2001, 0, "BLUETICK_DEAD_LETTER_RUN")),
        # 0 switches a limit off.
        (Limits(0, 0), [(5000, BAD)], None),
        (Limits(0.5, 0), [(200, BAD)], (200, 200, 0, "BLUETICK_DEAD_LETTER_RATIO")),
    ],
)
def test_the_limits(
    limits: Limits, runs: list[tuple[int, Code | None]], expected: tuple[int, int, int, str] | None
) -> None:
    """What is allowed, and what is one too many."""
    found = flood(limits, *runs)
    told = found and (found.dead, found.bodies, found.first.offset, found.setting)
    assert told == expected


def test_the_sentence_says_all_that_is_needed() -> None:
    """Provider, code, how many, where, and what to do."""
    codes: list[tuple[int, Code | None]] = [(150, None), (10, "not_utf8"), (200, "not_json")]
    told = str(flood(USUAL, *codes))
    assert "\n" not in told
    words = "whapi is stopped: 151 of the last 301 bodies would be dead letters, most of them not_j"
    assert told.startswith(words)
    assert "the first r/0/150" in told
    assert "BLUETICK_DEAD_LETTER_RATIO" in told
    assert "bluetick dead-letters show r/0/150" in told
    in_a_row = str(flood(Limits(0, 2), (3, "not_utf8")))
    assert in_a_row.startswith("whapi is stopped: 3 bodies in a row would be dead letters")


@given(st.lists(st.tuples(st.integers(1, 400), BODY), max_size=12), st.data())
def test_rounds_do_not_matter(runs: list[tuple[int, Code | None]], data: st.DataObject) -> None:
    """However a stream of bodies is cut into rounds, it is stopped at the same body, or not."""
    stream = bodies(*runs)
    whole = judge("whapi", Window(), stream, USUAL)
    cut = data.draw(st.integers(0, len(stream)))
    window, found = judge("whapi", Window(), stream[:cut], USUAL)
    if found is None:
        window, found = judge("whapi", window, stream[cut:], USUAL)
    assert (window, found) == whole


@given(st.lists(st.tuples(st.integers(1, 400), BODY), max_size=12))
def test_it_is_stopped_exactly_when_a_limit_is_passed(runs: list[tuple[int, Code | None]]) -> None:
    """The verdict is that of the definition, counted anew for every body."""
    stream = bodies(*runs)
    passed = any(_passed([body.code for body in stream[: end + 1]]) for end in range(len(stream)))
    assert (flood(USUAL, *runs) is not None) == passed


def _passed(codes: list[Code | None]) -> bool:
    last = codes[-LOOK_BACK:]
    share = len(last) >= LEAST and sum(c is not None for c in last) > USUAL.ratio * len(last)
    run = codes[-USUAL.run - 1 :]
    return codes[-1] is not None and (
        share or (len(run) > USUAL.run and all(code is not None for code in run))
    )


def test_what_is_remembered_is_bounded() -> None:
    """A window never holds more than it looks back on."""
    window, _ = judge("whapi", Window(), bodies((5000, None)), USUAL)
    assert len(window.last) == LOOK_BACK
