"""What the Kafka clients' sentences tell an operator to type."""

import pytest
from aiokafka import TopicPartition

from processors.runtime.clients import _way_back


@pytest.mark.parametrize(
    ("topic", "expected"),
    [
        ("a.raw.whapi", "bluetick replay run --archive URL --provider whapi --offsets 3:2-7"),
        ("a.b.raw.smsmanager", "--archive URL --provider smsmanager --offsets 3:2-7"),
        # Its offsets are not those of the raw topics.
        ("a.observations", "by their time: bluetick replay run --from TIME"),
    ],
)
def test_the_way_back_fits_the_topic(topic: str, expected: str) -> None:
    """What raw topics lost is in an archive; what observations lost is on the raw topics."""
    assert _way_back(TopicPartition(topic, 3), 2, 7).endswith(expected)
