"""Up to when the tracker knows that the observations hold every body."""

import pytest

from processors.tracking.normaliser_watermark import NormaliserWatermark
from service.settings import Settings


@pytest.mark.parametrize(
    ("at", "until"),
    [(0, 0), (119, 0), (120, 100), (219, 100), (220, 200), (1000, 200)],
)
def test_until_when_everything_is_known(at: int, until: int) -> None:
    """Only a reader at the end after normalise was seen at its own has read all before."""
    watermark = NormaliserWatermark(Settings())
    watermark.note(until=100, since=120)
    watermark.note(until=200, since=220)
    assert watermark.until(at) == until
