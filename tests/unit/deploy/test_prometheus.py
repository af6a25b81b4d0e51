"""deploy/prometheus/ and deploy/grafana/: rules and panels use metrics that exist."""

import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from service.metrics.table import TABLE
from tests import HOME
from tests.unit.deploy.manifests import DEPLOY, KUBERNETES, compose

FOLDER = DEPLOY / "prometheus"
RULES = FOLDER / "bluetick.rules.yml"
TESTS = sorted(FOLDER.glob("*.test.yml"))
DASHBOARD = DEPLOY / "grafana" / "bluetick.json"
GROUPS = yaml.safe_load(RULES.read_text())["groups"]
EVERY = [rule for group in GROUPS for rule in group["rules"]]
ALERTS = {rule["alert"]: rule for rule in EVERY if "alert" in rule}
RECORDED = {rule["record"] for rule in EVERY if "record" in rule}

# Metrics that Prometheus and the kubelet make.
OTHERS = {
    "up",
    "kubelet_volume_stats_available_bytes",
    "kubelet_volume_stats_capacity_bytes",
}
# Labels that Prometheus, its operator or the kubelet add.
TARGET_LABELS = {
    *("job", "instance", "pod", "container", "endpoint", "persistentvolumeclaim", "le"),
}
_METRIC = re.compile(r"\b(bluetick_\w+|process_\w+|up|kubelet_\w+)(\{[^}]*\})?")
_NAME = re.compile(r"\w+:\w+(?::\w+)?")


def _known() -> dict[str, set[str]]:
    """Return the labels of each series of the table."""
    found: dict[str, set[str]] = {}
    for family in TABLE:
        labels = {label.name for label in family.labels}
        suffixes = ("_bucket", "_sum", "_count") if family.kind == "histogram" else ("",)
        found |= {family.name + suffix: labels for suffix in suffixes}
    return found


KNOWN = _known()


def _panels() -> Iterator[tuple[str, dict[str, Any]]]:
    for panel in json.loads(DASHBOARD.read_text())["panels"]:
        yield panel["title"], panel


EXPRESSIONS = [(rule.get("alert") or rule["record"], rule["expr"]) for rule in EVERY]
QUERIES = [(title, t["expr"]) for title, panel in _panels() for t in panel.get("targets", ())]


def _wrong(expression: str) -> list[str]:
    """Return the names of metrics and labels in an expression that are nowhere defined."""
    expression = re.sub(r"\[[^\]]*\]", "", expression)
    wrong = [name for name in _NAME.findall(expression) if name not in RECORDED]
    for name, selector in _METRIC.findall(_NAME.sub("recorded", expression)):
        if name not in KNOWN and name not in OTHERS:
            wrong.append(name)
            continue
        labels = re.findall(r"(\w+)\s*(?:=~|!~|!=|=)", selector)
        known = KNOWN.get(name, set()) | TARGET_LABELS
        wrong += [f"{name}{{{label}}}" for label in labels if label not in known]
    return wrong


def _values(expression: str) -> Iterator[tuple[str, str, str]]:
    """Yield metric, label and each value that an expression compares the label with."""
    for name, selector in _METRIC.findall(expression):
        for label, values in re.findall(r'(\w+)(?:=~|=)"([^"]*)"', selector):
            yield from ((name, label, value) for value in values.split("|"))


@pytest.mark.parametrize(("where", "expression"), EXPRESSIONS + QUERIES)
def test_metrics_exist(where: str, expression: str) -> None:
    """Each metric, label and value is in the table, or recorded here."""
    assert _wrong(expression) == [], where
    closed = {(one.name, label.name): label.values for one in TABLE for label in one.labels}
    for name, label, value in _values(expression):
        assert value in (closed.get((name, label)) or (value,)), where


def test_a_metric_that_does_not_exist_is_found() -> None:
    """The check above sees a wrong metric, a wrong label, and a rule that is not recorded."""
    assert _wrong('sum(bluetick_lag_minutes{topic="a"})') == ["bluetick_lag_minutes"]
    assert _wrong('bluetick_lag_seconds{provider="a"}') == ["bluetick_lag_seconds{provider}"]
    assert _wrong("job:bluetick_lag:max > 1") == ["job:bluetick_lag:max"]


@pytest.mark.parametrize("alert", ALERTS)
def test_an_alert_says_what_to_do(alert: str) -> None:
    """It has a severity, a sentence, and a paragraph in docs/alerts.md."""
    rule = ALERTS[alert]
    assert rule["labels"]["severity"] in {"critical", "warning"}
    assert rule["annotations"]["summary"]
    page, _, anchor = rule["annotations"]["runbook"].partition("#")
    assert (page, anchor) == ("docs/alerts.md", alert.lower())


def test_the_paragraphs_are_the_alerts() -> None:
    """docs/alerts.md has one paragraph for each alert, in the order of the rules."""
    text = (HOME / "docs" / "alerts.md").read_text()
    assert re.findall(r"^### (\w+)$", text, re.MULTILINE) == list(ALERTS)


def test_every_alert_is_tested() -> None:
    """It fires in one place, and does not in another."""
    fires: dict[str, set[bool]] = {}
    for file in TESTS:
        for test in yaml.safe_load(file.read_text())["tests"]:
            for one in test["alert_rule_test"]:
                fires.setdefault(one["alertname"], set()).add(bool(one["exp_alerts"]))
    assert fires == {alert: {True, False} for alert in ALERTS}


def test_the_operator_gets_the_same_rules() -> None:
    """The PrometheusRule has the groups of the file."""
    file = KUBERNETES / "components" / "monitoring" / "rules.yaml"
    assert yaml.safe_load(file.read_text())["spec"]["groups"] == GROUPS


def test_prometheus_scrapes_what_compose_runs() -> None:
    """Each service of compose.yaml with metrics is a target, under the job the rules expect."""
    jobs = yaml.safe_load((FOLDER / "prometheus.yml").read_text())["scrape_configs"]
    targets = {
        (job["job_name"], target.split(":")[0])
        for job in jobs
        for static in job["static_configs"]
        for target in static["targets"]
    }
    running = {name for name in compose()["services"] if name.endswith(("-a", "-b"))}
    assert targets == {(name.split("-")[0], name) for name in running}


def test_every_metric_is_used() -> None:
    """By an alert or a panel: a new metric gets one, or a place in the list below."""
    used = " ".join(expression for _, expression in EXPRESSIONS + QUERIES)
    seen = {name for name, _ in _METRIC.findall(used)}
    ours = {
        one.name if one.kind != "histogram" else f"{one.name}_bucket"
        for one in TABLE
        if not one.name.startswith("process_")
    }
    assert sorted(ours - seen - UNUSED) == []


# What an operator asks for in one place only: the page of the process, or a command.
UNUSED = {
    "bluetick_ingest_max_connections",
    "bluetick_ingest_max_body_bytes",
    "bluetick_items_total",
    "bluetick_last_rebalance_timestamp_seconds",
    "bluetick_restored_states_total",
    "bluetick_restore_records",
    "bluetick_restore_seconds",
}


def test_panels_do_not_overlap() -> None:
    """Each cell of the dashboard's grid belongs to one panel, and every panel has a query."""
    cells = [
        (x, y)
        for _, panel in _panels()
        for at in [panel["gridPos"]]
        for x in range(at["x"], at["x"] + at["w"])
        for y in range(at["y"], at["y"] + at["h"])
    ]
    assert len(cells) == len(set(cells))
    assert max(x for x, _ in cells) == 23
    assert all(panel.get("targets") for _, panel in _panels() if panel["type"] != "row")


def _promtool(*arguments: Path | str) -> str:
    """Run promtool; it must succeed."""
    promtool = shutil.which("promtool")
    if promtool is None:
        pytest.skip("promtool is not installed: Debian has it in the package prometheus")
    command = [promtool, *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.parametrize("file", TESTS, ids=lambda file: file.name)
def test_promtool_runs_the_tests(file: Path) -> None:
    assert "SUCCESS" in _promtool("test", "rules", file)


def test_promtool_accepts_rules_and_configuration() -> None:
    _promtool("check", "config", FOLDER / "prometheus.yml")


def test_promtool_parses_every_panel(tmp_path: Path) -> None:
    """As rules, with a time in place of Grafana's variable."""
    rules = [
        {"record": f"panel:{number}", "expr": expression.replace("$__rate_interval", "5m")}
        for number, (_, expression) in enumerate(QUERIES)
    ]
    file = tmp_path / "panels.yml"
    file.write_text(json.dumps({"groups": [{"name": "panels", "rules": rules}]}))
    _promtool("check", "rules", file)
