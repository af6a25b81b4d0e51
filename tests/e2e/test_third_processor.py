"""A third processor is a folder and one entry: `tests/e2e/third_processor` on a real Kafka."""

import json
import re
import sys

import httpx
import pytest

from deploy import topics
from service.settings import Settings
from tests import HOME
from tests.broker.producing import Record, write
from tests.broker.reading import committed, ends
from tests.e2e.commands import started
from tests.e2e.test_up import report

_COMMAND = (sys.executable, str(HOME / "tests/e2e/third_processor/__main__.py"))


@pytest.fixture
def environment(settings: Settings) -> dict[str, str]:
    names = ("kafka", "namespace", "partitions", "port", "data", "session_timeout")
    return {f"BLUETICK_{name.upper()}": str(getattr(settings, name)) for name in names}


@pytest.mark.timeout(240)
async def test_a_third_processor_runs_with_up(
    settings: Settings, environment: dict[str, str]
) -> None:
    """`up` starts it; it reads its topic, serves health and metrics, and stops cleanly."""
    statuses = settings.topics.statuses
    written = [Record(statuses, n % settings.partitions, b"k", b"{}") for n in range(7)]
    await write(settings, written)
    async with started(*_COMMAND, "up", "--data", str(settings.data), **environment) as up:
        await up.until("Ctrl-C stops everything.")
        await up.until("counted 7")
        assert "ingest, normalise, track, measure, count and console are ready" in up.output
        urls = re.findall(r"http://127\.0\.0\.1:\d+/health/ready", up.output)
        async with httpx.AsyncClient() as client:
            answers = [(await client.get(url)).status_code for url in urls]
            pages = [
                (await client.get(url.replace("health/ready", "metrics"))).text for url in urls
            ]
        up.interrupt()
        assert await up.ended() == 0
    assert answers == [200] * 6
    [metrics] = [page for page in pages if 'service="count"' in page]
    assert f"bluetick_partitions_assigned {float(settings.partitions)}" in metrics
    assert "counted 7 in all" in up.output
    assert re.search(r"bluetick: count stopped: SIGTERM$", up.output, re.MULTILINE)
    group = f"{settings.namespace}.count"
    assert await committed(settings.kafka, group, statuses) == await ends(settings.kafka, statuses)


@pytest.mark.parametrize(
    ("command", "expected"),
    [
        (("--help",), "count Count the records of statuses."),
        (("count", "--help"), "--health-port"),
        (("namespace", "list"), "normalise track measure count"),
        (("topics", "acls", "count"), "User:bluetick-count"),
    ],
)
async def test_the_commands_know_a_third_processor(
    environment: dict[str, str], command: tuple[str, ...], expected: str
) -> None:
    """It is a command with a health port, and a column of `namespace list`."""
    async with started(*_COMMAND, *command, **environment) as running:
        assert await running.ended() == 0
    assert expected in " ".join(running.output.split())


@pytest.mark.timeout(240)
@pytest.mark.long
async def test_a_rebuild_includes_a_third_processor(
    settings: Settings, environment: dict[str, str]
) -> None:
    """`rebuild` runs it for the new namespace, and waits for it."""
    body = json.dumps([report("delivered", 1700000060)]).encode()
    await write(settings, [Record(settings.topics.raw("smsmanager"), 0, None, body)])
    target = settings.model_copy(
        update={"namespace": f"{settings.namespace}-b", "raw_namespace": settings.namespace}
    )
    arguments = ("rebuild", "--into", target.namespace, "--until-present")
    try:
        async with started(*_COMMAND, *arguments, **environment) as running:
            assert await running.ended() == 0, running.output
        assert "run normalise and track and measure and count with" in " ".join(
            running.output.split()
        )
        there = await ends(target.kafka, target.topics.statuses)
        assert sum(there.values())
        group = f"{target.namespace}.count"
        assert await committed(target.kafka, group, target.topics.statuses) == there
    finally:
        await topics.drop(target)


async def test_a_third_processor_has_a_setting(environment: dict[str, str]) -> None:
    """BLUETICK_COUNT_HEALTH_PORT is one; it is refused where it is no port."""
    given = {**environment, "BLUETICK_COUNT_HEALTH_PORT": "65536"}
    async with started(*_COMMAND, "count", **given) as running:
        assert await running.ended() == 1
    assert "the setting BLUETICK_COUNT_HEALTH_PORT '65536' is not valid" in running.output
