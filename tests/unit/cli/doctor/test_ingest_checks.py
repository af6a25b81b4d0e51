"""Ingest and the webhooks that arrive: facts and the codes of their findings."""

import pytest

from cli.doctor.collect_ingest import _ages
from cli.doctor.facts import Ingest, Webhooks
from cli.doctor.ingest_checks import check_ingest, check_webhooks
from tests.unit.cli.doctor.test_cluster_checks import codes

ADDRESS = "http://127.0.0.1:8083"
HOUR = 3600.0


@pytest.mark.parametrize(
    ("ingest", "found"),
    [
        (Ingest(address=ADDRESS), [("ok", "ingest_ready")]),
        (Ingest(address=ADDRESS, why="Connection refused"), [("info", "ingest_no_answer")]),
        (
            Ingest(address=ADDRESS, problems=("the spool is full",), warnings=("3 bodies",)),
            [("problem", "ingest_not_ready"), ("warning", "ingest_degraded")],
        ),
        (Ingest(address=ADDRESS, warnings=("3 bodies",)), [("warning", "ingest_degraded")]),
    ],
    ids=["ready", "elsewhere", "refuses", "degraded"],
)
def test_ingest(ingest: Ingest, found: list[tuple[str, str]]) -> None:
    assert codes(check_ingest(ingest)) == found


@pytest.mark.parametrize(
    ("age", "day_before", "level", "words"),
    [
        (None, 0, "info", "whapi: Kafka holds no webhook"),
        (12.0, 500, "ok", "whapi: last webhook 12 s ago"),
        (3 * HOUR, 0, "info", "whapi: no webhook for 3 h"),
        (3 * HOUR, 19, "info", "whapi: no webhook for 3 h"),
        (
            3 * HOUR,
            20,
            "problem",
            "whapi: no webhook for 3 h; 20 came at this hour of the day before",
        ),
        (HOUR - 1, 20, "ok", "whapi: last webhook 60 min ago"),
    ],
)
def test_a_silent_provider_is_said_plainly(
    age: float | None, day_before: int, level: str, words: str
) -> None:
    """It is a problem only where webhooks are usual at this time."""
    [found] = check_webhooks([Webhooks(provider="whapi", age=age, day_before=day_before)])
    assert (found.level, found.message) == (level, words)


def test_the_ages_of_sources_are_those_of_its_metrics() -> None:
    """A source that has sent nothing since the start has none."""
    name = "bluetick_ingest_last_accepted_timestamp_seconds"
    metrics = f"""# TYPE {name} gauge
{name}{{source="shop"}} 940
{name}{{source="unused"}} 0
{name}{{source="-"}} 999
"""
    assert _ages(metrics, 1000) == {"shop": 60.0}
