"""When a worker that ended is started again."""

import pytest

from ingest.workers import pause


@pytest.mark.parametrize(
    ("failures", "seconds"), [(0, 0.5), (1, 1), (2, 2), (5, 16), (6, 30), (10_000, 30)]
)
def test_the_pause_grows_and_is_bounded(failures: int, seconds: float) -> None:
    """A worker that served begins again at once, one that never did less and less often."""
    assert pause(failures) == seconds
