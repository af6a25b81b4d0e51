"""Up to when all bodies received are among the observations."""

import pytest

from processors.tracking.normaliser_watermark import NormaliserWatermark
from service.settings import Settings


@pytest.mark.parametrize(
    ("at", "until"),
    [(0, 0), (119, 0), (120, 100), (219, 100), (220, 200), (1000, 200)],
)
def test_until_when_every_report_is_read(at: int, until: int) -> None:
    """Only a reader at the end after normalise was at its end has every report before that."""
    watermark = NormaliserWatermark(Settings())
    watermark.note(until=100, since=120)
    watermark.note(until=200, since=220)
    assert watermark.until(at) == until
