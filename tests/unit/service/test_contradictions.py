"""Contradicting settings: which are refused, and that the default and usual values are not."""

from pathlib import Path
from typing import Any

import pytest

from service.contradictions import Address, colliding_ports, contradictions
from service.errors import Problem
from service.settings import Settings, load

SPOOL = {"spool": Path("spool")}
KEY = "k1=0123456789abcdef"


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({}, []),
        ({"namespace": "v2", "raw_namespace": "v1"}, []),
        ({"namespace": "v2", "raw_namespace": "v1", "observations_namespace": "v1"}, []),
        ({"namespace": "v2", "raw_namespace": "v2", "observations_namespace": "v2"}, []),
        ({"namespace": ".."}, ["namespace_of_dots"]),
        (
            {"namespace": "v2", "raw_namespace": "v2", "observations_namespace": "v1"},
            ["observations_of_other_raw"],
        ),
        ({**SPOOL, "spool_max_age": 60.0, "spool_max_bytes": 2**30}, []),
        ({"spool_max_age": 60.0, "spool_max_bytes": 2**30}, ["spool_bound_without_spool"]),
        ({"trace_ratio": 0.5}, ["trace_ratio_without_traces"]),
        ({"trace_ratio": 0.5, "traces": "off"}, []),
        ({"trace_ratio": 0.5, "traces": "otlp"}, []),
        ({**SPOOL, "spool_max_age": 1.5}, ["spool_age_below_deadline"]),
        ({**SPOOL, "data": Path("spool")}, ["spool_in_data"]),
        ({"transaction_timeout": 60.0}, []),
        ({"transaction_timeout": 60.5}, ["transaction_outlasts_rebalance"]),
        ({"port": 8083}, []),
        ({"privacy": "payload:omit"}, []),
        ({"privacy": "numbers:hash", "privacy_key": KEY}, []),
        ({"privacy": "numbers:hash", "privacy_key_file": Path(__file__)}, []),
        ({"privacy": "texts:omit"}, ["privacy_without_key"]),
        ({"privacy_key": KEY, "privacy_key_file": Path(__file__)}, ["privacy_key_twice"]),
        ({"ingest_metrics_port": 8080}, ["ports_collide"]),
        ({"port": 0, "ingest_metrics_port": 0}, []),
        ({"ingest_metrics_port": 8080, "health_host": "10.0.0.1"}, []),
        ({"ingest_metrics_port": 8080, "health_host": "0.0.0.0"}, ["ports_collide"]),
        # Each on a machine of its own.
        ({"normalise_health_port": 8081, "track_health_port": 8081}, []),
        (
            {"namespace": ".", "transaction_timeout": 99.0},
            ["namespace_of_dots", "transaction_outlasts_rebalance"],
        ),
    ],
)
def test_what_contradicts(settings: dict[str, Any], expected: list[str]) -> None:
    """Each rule finds its contradiction and nothing else; several are all found."""
    found = [problem.code for problem in contradictions(Settings(**settings))]
    assert found == expected


def test_contradicting_settings_are_refused_together() -> None:
    """Reading the settings fails with one sentence for each contradiction."""
    with pytest.raises(Problem) as refused:
        load(namespace=".", transaction_timeout=99.0)
    assert refused.value.code == "contradictory_settings"
    first, second = refused.value.fields["why"]
    assert first.startswith("the namespace . (BLUETICK_NAMESPACE) cannot name a directory;")
    assert second.startswith("BLUETICK_TRANSACTION_TIMEOUT (99 s) is above 60 s,")


def test_ports_of_several_services_collide_on_one_machine() -> None:
    """Any two of them with one port on overlapping addresses; any free port never does."""
    found = colliding_ports(
        {
            "A": Address("127.0.0.1", 1),
            "B": Address("127.0.0.2", 1),
            "C": Address("::", 1),
            "D": Address("127.0.0.1", 0),
            "E": Address("127.0.0.1", 0),
        }
    )
    assert [(one.fields["one"], one.fields["other"]) for one in found] == [("A", "C"), ("B", "C")]
