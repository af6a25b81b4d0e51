"""When the newest answer was asked for at the earliest."""

import math

from hypothesis import given
from hypothesis import strategies as st

from processors.runtime.fetch_times import Answers


def test_no_answer_was_asked_for_at_a_known_time_at_first() -> None:
    """The first answer may have been on its way for ever, and the second with it."""
    answers = Answers()
    assert answers.asked == -math.inf
    answers.look("a", 10)
    answers.look("b", 11)
    assert answers.asked == -math.inf
    answers.look("c", 12)
    assert answers.asked == 10
    answers.look("c", 20)
    assert answers.asked == 10


@given(
    st.lists(st.tuples(st.floats(0, 5), st.floats(0, 5)), min_size=1, max_size=20),
    st.lists(st.floats(0, 120), min_size=1, max_size=40),
)
def test_the_newest_answer_was_asked_for_no_earlier(
    exchanges: list[tuple[float, float]], looks: list[float]
) -> None:
    """Whenever one looks, the bound is a time before the request of the answer that is there."""
    asked, came, now = [], [], 0.0
    for pause, way in exchanges:
        asked.append(now + pause)
        now += pause + way
        came.append(now)
    answers = Answers()
    for look in sorted(looks):
        there = [number for number, at in enumerate(came) if at <= look]
        answers.look(there[-1] if there else None, look)
        if there:
            assert answers.asked <= asked[there[-1]]
