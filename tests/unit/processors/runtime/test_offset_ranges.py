"""Ranges of offsets and of times."""

from collections.abc import Callable

import pytest

from processors.runtime.offset_ranges import (
    Range,
    Span,
    Window,
    refuse_backwards,
    refuse_empty,
    remaining,
)
from service.errors import Problem

A, B = Span("raw", 0, 3, 9), Span("raw", 1, 0, 4)


def test_a_span_is_a_range_of_a_partition() -> None:
    """A span has its partition and its offsets."""
    assert (A.place, A.offsets) == (("raw", 0), Range(3, 9))


@pytest.mark.parametrize(
    ("reached", "left"),
    [
        ({}, [A, B]),
        ({A.place: 1}, [A, B]),
        ({A.place: 5, B.place: 4}, [A._replace(start=5)]),
        ({A.place: 12, B.place: 12}, []),
    ],
)
def test_the_remaining_parts_of_spans(
    reached: dict[tuple[str, int], int], left: list[Span]
) -> None:
    """A span that is read to its end, or past it, is left out."""
    assert remaining([A, B], reached) == left


@pytest.mark.parametrize(
    ("window", "held"),
    [
        (Window(), [0, 1, 2, 3]),
        (Window(1), [1, 2, 3]),
        (Window(None, 2), [0, 1]),
        (Window(1, 3), [1, 2]),
    ],
)
def test_a_window_includes_its_start_and_excludes_its_end(window: Window, held: list[int]) -> None:
    """The record at `until` is outside."""
    assert [time for time in range(4) if window.holds(time)] == held


@pytest.mark.parametrize(
    ("refused", "sentence"),
    [
        (lambda: refuse_backwards(Window(2, 2)), "not before its end"),
        (lambda: refuse_backwards(Window(3, 2)), "swap them"),
        (lambda: refuse_empty(A._replace(end=3)), r"the range 3-3 of raw\[0\] is empty"),
    ],
)
def test_an_empty_range_is_refused(refused: Callable[[], None], sentence: str) -> None:
    """The sentence says what to correct."""
    with pytest.raises(Problem, match=sentence):
        refused()


def test_a_range_that_is_not_empty_is_not_refused() -> None:
    """Nor is a window without a bound."""
    refuse_empty(A)
    for window in (Window(), Window(2), Window(None, 2), Window(1, 2)):
        refuse_backwards(window)
