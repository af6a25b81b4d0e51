"""The model of Kafka and a real Kafka run the same scripts."""

import pytest

from service.settings import Settings
from tests.simulation.kafka_scripts import SCRIPTS, KafkaModel, RealKafka, play


@pytest.mark.parametrize("name", SCRIPTS)
async def test_the_model_behaves_as_kafka(settings: Settings, name: str) -> None:
    """Offsets, ends, records, the group's offset and refusals are the same at every step."""
    real = RealKafka(settings)
    try:
        assert await play(SCRIPTS[name], KafkaModel()) == await play(SCRIPTS[name], real)
    finally:
        await real.close()
