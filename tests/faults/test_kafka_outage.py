"""Kafka is down under load: webhooks answered 200 meanwhile are on the topic afterwards."""

import asyncio
import sys

import pytest

pytestmark = [pytest.mark.faults, pytest.mark.timeout(300)]


@pytest.mark.parametrize("how", ["killed", "frozen"])
async def test_an_outage_loses_no_webhook(how: str) -> None:
    """Every body answered 200 is there, byte for byte, and no other."""
    options = ["--minutes", "0.4", "--rate", "300", *(["--pause"] if how == "frozen" else [])]
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tests.broker.kafka_outage", *options),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    output, _ = await process.communicate()
    assert process.returncode == 0, output.decode()
