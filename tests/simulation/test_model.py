"""The model of Kafka and a real one take the same exam."""

import pytest

from service.settings import Settings
from tests.simulation.recorded import SCRIPTS, Modelled, Real, play


@pytest.mark.parametrize("name", SCRIPTS)
async def test_the_model_does_as_kafka_does(settings: Settings, name: str) -> None:
    """Offsets, ends, records, the group's offset and refusals are the same at every step."""
    real = Real(settings)
    try:
        assert await play(SCRIPTS[name], Modelled()) == await play(SCRIPTS[name], real)
    finally:
        await real.close()
