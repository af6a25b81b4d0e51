"""The time up to which all received bodies are normalised."""

import pytest

from processors.runtime.alarms import Alarms
from processors.tracking.normaliser_watermark import NormaliserWatermark
from service.logger import logger
from service.settings import Settings


@pytest.mark.parametrize(
    ("at", "until"),
    [(0, 0), (119, 0), (120, 100), (219, 100), (220, 200), (1000, 200)],
)
def test_the_time_up_to_which_every_report_is_read(at: int, until: int) -> None:
    """A reader has every report only if it reached the end after normalise reached its own."""
    watermark = NormaliserWatermark(Settings(), Alarms(logger("test")))
    watermark.note(until=100, since=120)
    watermark.note(until=200, since=220)
    assert watermark.until(at) == until
