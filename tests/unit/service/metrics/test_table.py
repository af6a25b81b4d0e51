"""The table of metrics: names, labels, the code's own lists, the services' registries, the page."""

import re
from typing import get_args

import pytest
from prometheus_client import generate_latest
from prometheus_client.parser import text_string_to_metric_families

from ingest import metrics as ingest_metrics
from ingest.accept_webhook import STATUS
from processors.normalising import normaliser
from processors.quality import measurer
from processors.runtime.exactly_once import recovery_causes
from processors.tracking import tracker
from processors.tracking.lifecycle.observed_inbound import Answered
from processors.tracking.lifecycle.verdicts import PastBound
from providers.rejection import Code
from schemas import records
from schemas.processor_list import PROCESSORS
from service.metrics import labels
from service.metrics.family import Family
from service.metrics.registry import exposed
from service.metrics.table import CONSOLE, EVERY_PROCESSOR, INGEST, TABLE, families
from tests import HOME

SERVICES = (INGEST, CONSOLE, *(one.name for one in PROCESSORS))
# The modules whose import makes the metrics of each service.
MADE_BY = (ingest_metrics, normaliser, tracker, measurer)

BASE_UNITS = ("seconds", "bytes", "records")


@pytest.mark.parametrize("family", TABLE, ids=lambda family: family.name)
def test_a_name_follows_the_practice_of_prometheus(family: Family) -> None:
    """A counter ends in `_total`, nothing else does; a base unit is in the name."""
    assert re.fullmatch(r"(bluetick|process)_[a-z_]+[a-z]", family.name)
    assert family.name.endswith("_total") == (family.kind == "counter")
    if family.unit in BASE_UNITS and family.kind != "counter":
        assert family.name.endswith(f"_{family.unit}") or "_in_flight" in family.name
    assert (family.kind == "histogram") == bool(family.buckets)
    assert list(family.buckets) == sorted(set(family.buckets))
    assert {*family.services} <= {*SERVICES, EVERY_PROCESSOR}
    assert all(bool(label.values) != bool(label.bound) for label in family.labels)


def test_each_name_is_there_once() -> None:
    """Two families of one name could not be told apart."""
    names = [family.name for family in TABLE]
    assert len(names) == len({*names})


def test_the_closed_sets_are_those_of_the_code() -> None:
    """A new code, cause, verdict or event must be a label, or it would be missing at 0."""
    answers = {*map(str, STATUS.values()), "200", "400", "414", "431", "500"}
    assert {*labels.RESPONSES} == answers
    assert {*labels.REJECTIONS} == {*STATUS, "malformed", "disconnected", "broken-off"}
    assert {*labels.RECOVERIES} == {*recovery_causes.LABELS}
    tags = {str(kind.__struct_config__.tag) for kind in get_args(records.Event)}
    assert {*labels.EVENTS} == tags
    verdicts = {*get_args(records.Verdict), *get_args(Answered), *get_args(PastBound)}
    assert verdicts <= {*labels.OUTCOMES}
    assert {*labels.OUTCOMES} - verdicts - {labels.REPLIED, labels.REPAIRED} <= {*get_args(Code)}


@pytest.mark.parametrize("service", SERVICES)
def test_a_service_exposes_its_own_families_and_each_child_at_zero(service: str) -> None:
    """Other services' families are absent, and every closed label has its child."""
    page = list(text_string_to_metric_families(generate_latest(exposed(service)).decode()))
    expected = families(service)
    names = {family.name.removesuffix("_total") for family in expected if not family.made_by}
    assert {one.name for one in page if not one.name.startswith("process_")} == names
    assert {one.name for one in page if one.name.startswith("process_")}
    for family in expected:
        children = {
            tuple(sample.labels[label.name] for label in family.labels)
            for one in page
            if one.name == family.name.removesuffix("_total")
            for sample in one.samples
        }
        assert {*family.children()} <= children


def row(family: Family) -> str:
    """Return the row of a family on the page of metrics."""
    named = [f"`{label.name}`: {_values(label.values, label.bound)}" for label in family.labels]
    kind = f"{family.kind}, {family.unit}" if family.unit else family.kind
    return f"| `{family.name}` | {kind} | {'; '.join(named)} | {family.help} |"


def _values(values: tuple[str, ...], bound: str) -> str:
    return " ".join(f"`{value}`" for value in values) or bound


def test_the_page_shows_the_table() -> None:
    """docs/metrics.md has each family once, in the section of its services, as it is."""
    _, tables = (HOME / "docs/metrics.md").read_text().split("\n## Every service")
    shown = [line for line in tables.split("\n") if line.startswith("| `")]
    assert shown == [row(family) for family in TABLE]
