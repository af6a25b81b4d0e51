"""When `up` starts a service again that has ended by itself, and when it gives up. Pure."""

from typing import NamedTuple

# A run that ends sooner is a quick one. Quick runs in a row have a lasting cause.
QUICK_SECONDS = 60.0
MOST_QUICK_RUNS = 6
LONGEST_PAUSE = 10.0


class Next(NamedTuple):
    """What follows the end of a service: the pause in seconds before its next run.

    `pause` is None if `up` gives up. `quick_runs` counts the latest quick runs in a row.
    """

    quick_runs: int
    pause: float | None


def after(quick_runs: int, ran_seconds: float) -> Next:
    """Return what follows a run of that length, after that many quick runs in a row.

    The pause doubles from one second with each quick run, within a bound.
    """
    quick = quick_runs + 1 if ran_seconds < QUICK_SECONDS else 0
    if quick == MOST_QUICK_RUNS:
        return Next(quick, None)
    return Next(quick, min(LONGEST_PAUSE, 2.0 ** max(0, quick - 1)))
