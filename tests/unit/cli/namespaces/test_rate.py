"""The rates and the remaining time of a rebuild."""

from cli.namespaces.rate import Mark, Pace


def pace(*marks: Mark) -> Pace:
    one = Pace()
    for mark in marks:
        one.add(mark)
    return one


def test_rates_and_what_is_left() -> None:
    """Twice as many observations as bodies are expected, and the slower rate decides."""
    one = pace(Mark(0, (0, 1000), (0, 0)), Mark(2, (200, 1000), (100, 400)))
    assert (one.bodies, one.observations) == (100, 50)
    assert one.expected == 2000
    assert one.left_seconds == 1900 / 50


def test_only_the_last_seconds_count() -> None:
    """A slow start has no effect later."""
    one = pace(*(Mark(at, None, (at if at < 20 else 10 * at, 1000)) for at in range(60)))
    assert one.observations == 10
    assert one.expected == 1000
    assert one.left_seconds == (1000 - 590) / 10


def test_unknown_times() -> None:
    """Without progress the remaining time is unknown; at the end it is zero."""
    assert pace(Mark(0, (0, 10), (0, 0))).left_seconds is None
    assert pace(Mark(0, (10, 10), (20, 20))).left_seconds == 0
