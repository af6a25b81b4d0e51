"""The limits on dead letters: when a source is stopped, and when it resumes."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from processors.dead_letters.limit import (
    GOOD_ENOUGH,
    LEAST,
    LOOK_BACK,
    TRY_EVERY,
    Flood,
    Limits,
    Round,
    Source,
    Windows,
    stopped,
)
from providers.rejection import Code
from schemas.coordinates import Coordinates

USUAL = Limits(ratio=0.5, run=500)
GOOD: Code | None = None
BAD: Code | None = "not_json"
BODY: st.SearchStrategy[Code | None] = st.sampled_from([None, "not_json", "wrong_root"])
ACME, OTHER = Source("whapi", "acme"), Source("whapi", "other")

Codes = list[Code | None]


def codes(*runs: tuple[int, Code | None]) -> Codes:
    return [code for count, code in runs for _ in range(count)]


def count(counted: Round, some: Codes, source: Source = ACME, first: int = 0) -> list[int]:
    """Count bodies at offsets from `first` on; return the offsets of the normalised ones."""
    normalised = []
    for offset, code in enumerate(some, first):
        if counted.window(source).wants():
            normalised.append(offset)
            counted.add(source, Coordinates("r", 0, offset), code)
    return normalised


def flood(limits: Limits, *runs: tuple[int, Code | None]) -> Flood | None:
    windows = Windows(limits)
    counted = windows.begin()
    count(counted, codes(*runs))
    windows.keep(counted)
    return next(iter(windows.floods()), None)


@pytest.mark.parametrize(
    ("limits", "runs", "expected"),
    [
        # Too few bodies for a share; the next one is enough.
        (USUAL, [(199, BAD)], None),
        (USUAL, [(200, BAD)], (200, 200, 0, "BLUETICK_DEAD_LETTER_RATIO")),
        # Half of the last bodies is allowed, one more is not.
        (USUAL, [(100, GOOD), (100, BAD)], None),
        (USUAL, [(100, GOOD), (101, BAD)], (101, 201, 100, "BLUETICK_DEAD_LETTER_RATIO")),
        # Only the last 1000 bodies count.
        (USUAL, [(600, GOOD), (400, BAD), (600, GOOD), (401, BAD)], None),
        (USUAL, [(5000, GOOD), (500, BAD)], None),
        (USUAL, [(5000, GOOD), (501, BAD)], (501, 501, 5000, "BLUETICK_DEAD_LETTER_RUN")),
        # A good body ends the run, and the next one is counted from there.
        (Limits(0, 3), [(3, BAD), (1, GOOD), (3, BAD)], None),
        (Limits(0, 3), [(3, BAD), (1, GOOD), (4, BAD)], (4, 4, 4, "BLUETICK_DEAD_LETTER_RUN")),
        # A run may be longer than the window.
        (Limits(0, 2000), [(2001, BAD)], (2001, 2001, 0, "BLUETICK_DEAD_LETTER_RUN")),
        # 0 switches a limit off.
        (Limits(0, 0), [(5000, BAD)], None),
        (Limits(0.5, 0), [(200, BAD)], (200, 200, 0, "BLUETICK_DEAD_LETTER_RATIO")),
    ],
)
def test_the_limits(
    limits: Limits, runs: list[tuple[int, Code | None]], expected: tuple[int, int, int, str] | None
) -> None:
    """Bodies up to a limit, and one more."""
    found = flood(limits, *runs)
    known = found and (found.dead, found.bodies, found.first.offset, found.setting)
    assert known == expected


def test_the_sentence_has_all_facts() -> None:
    """It has the source, code, counts, coordinates, and what to do."""
    sentence = str(flood(USUAL, (150, None), (10, "not_utf8"), (200, "not_json")))
    assert "\n" not in sentence
    words = "source acme of whapi is stopped: 151 of the last 301 bodies are dead letters, most of "
    assert sentence.startswith(words + "them not_json, for example r/0/150")
    assert "BLUETICK_DEAD_LETTER_RATIO" in sentence
    assert "bluetick dead-letters show r/0/150" in sentence
    assert sentence.endswith("bluetick dead-letters retry --code source_stopped")
    in_a_row = str(flood(Limits(0, 2), (3, "not_utf8")))
    assert "is stopped: 3 bodies in a row are dead letters" in in_a_row


def test_a_source_stops_no_other() -> None:
    """The bodies of each source are counted separately, also within one provider."""
    windows = Windows(USUAL)
    counted = windows.begin()
    count(counted, [BAD] * 1000)
    assert count(counted, [GOOD] * 1000, OTHER) == list(range(1000))
    assert count(counted, [BAD] * 100, OTHER) == list(range(100))
    windows.keep(counted)
    assert [one.source for one in windows.floods()] == [ACME]
    assert stopped(windows.floods()) == {"whapi": 1}


def test_a_stopped_source_is_tried_and_resumes() -> None:
    """One body in `TRY_EVERY` is normalised; once enough of them in a row are good, all are."""
    windows = Windows(Limits(0, 3))
    counted = windows.begin()
    assert count(counted, [BAD] * 4) == [0, 1, 2, 3]
    tried = count(counted, [BAD] * 3 * TRY_EVERY, first=4)
    assert tried == [4 + n * TRY_EVERY - 1 for n in (1, 2, 3)]
    count(counted, [GOOD] * (GOOD_ENOUGH - 1) * TRY_EVERY)
    count(counted, [BAD] * TRY_EVERY)
    windows.keep(counted)
    assert windows.floods()
    count(counted, [GOOD] * GOOD_ENOUGH * TRY_EVERY)
    windows.keep(counted)
    assert not windows.floods()
    # The count starts from zero: earlier bodies do not count.
    assert count(counted, [BAD] * 5) == [0, 1, 2, 3]


def test_uncommitted_bodies_do_not_count() -> None:
    """A round that is repeated counts once."""
    windows = Windows(Limits(0, 3))
    for _ in range(2):
        counted = windows.begin()
        count(counted, [GOOD, BAD])
        windows.keep(counted)
        for _ in range(5):
            count(windows.begin(), [BAD] * 2)
        assert not windows.floods()
    counted = windows.begin()
    count(counted, [BAD] * 3)
    windows.keep(counted)
    assert windows.floods()


@given(st.lists(st.tuples(st.integers(1, 400), BODY), max_size=12), st.data())
def test_rounds_do_not_matter(runs: list[tuple[int, Code | None]], data: st.DataObject) -> None:
    """Any division of the bodies into rounds normalises the same bodies."""
    stream = codes(*runs)
    whole = count(Windows(USUAL).begin(), stream)
    cut = data.draw(st.integers(0, len(stream)))
    windows, found = Windows(USUAL), list[int]()
    for first, part in ((0, stream[:cut]), (cut, stream[cut:])):
        counted = windows.begin()
        found += count(counted, part, first=first)
        windows.keep(counted)
    assert found == whole


@given(st.lists(st.tuples(st.integers(1, 400), BODY), max_size=12))
def test_it_is_stopped_exactly_when_a_limit_is_passed(runs: list[tuple[int, Code | None]]) -> None:
    """The result equals the definition, applied from the start for every body."""
    stream = codes(*runs)
    passed = (end for end in range(len(stream)) if _passed(stream[: end + 1]))
    first = next(passed, None)
    normalised = count(Windows(USUAL).begin(), stream)
    unbroken = len(stream) if first is None else first + 1
    assert normalised[:unbroken] == list(range(unbroken))
    assert set(range(unbroken, min(unbroken + TRY_EVERY - 1, len(stream)))).isdisjoint(normalised)


def _passed(some: Codes) -> bool:
    last = some[-LOOK_BACK:]
    share = len(last) >= LEAST and sum(c is not None for c in last) > USUAL.ratio * len(last)
    run = some[-USUAL.run - 1 :]
    return some[-1] is not None and (
        share or (len(run) > USUAL.run and all(code is not None for code in run))
    )


def test_the_number_of_windows_is_bounded() -> None:
    """Only the windows of the `most` most recent sources are kept."""
    windows = Windows(Limits(0, 1), most=3)
    for number in range(9):
        counted = windows.begin()
        count(counted, [BAD] * 5, Source("whapi", f"s-{number}"))
        windows.keep(counted)
    assert len(windows) == 3
    assert [one.source.name for one in windows.floods()] == ["s-6", "s-7", "s-8"]
