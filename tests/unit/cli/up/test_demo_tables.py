"""The demo in memory: its tables at the widths of terminals, and its numbers."""

import io
import re
from collections import Counter
from functools import cache

import pytest
from rich.console import Console

from cli.output.tables import PlainTable
from cli.simulator.simulate import simulate
from cli.up import demo_tables as tables
from cli.up import examples
from cli.up.reconciliation import CameOut, SentIn, reconcile, sent_in
from processors.replay.pipeline_in_memory import Delivery, run

NOW = 1_795_000_000_000


@cache
def demo() -> tuple[SentIn, CameOut]:
    """The examples and the simulated messages of the demo, without Kafka."""
    documented = examples.load()
    simulation = simulate(
        messages=400,
        base_time_ms=NOW - 24 * 3600 * 1000,
        seed=20,
        duplicates=0.15,
        shuffle=True,
        malformed=0.03,
    )
    posts = [
        *((one.source, bytes(one.body), one.path, one.method) for one in documented),
        *((one.source, one.body, one.path, one.method) for one in simulation.posts),
    ]
    steps = [
        Delivery(source, body, NOW + at, path=path, method=method)
        for at, (source, body, path, method) in enumerate(posts)
    ]
    outcome = run(steps)
    by_topic: dict[str, list[object]] = {}
    for record in outcome.records:
        by_topic.setdefault(record.topic, []).append(record.record)
    out = CameOut(
        statuses=by_topic["statuses"],  # type: ignore[arg-type]
        events=by_topic["events"],  # type: ignore[arg-type]
        inbound=by_topic["inbound"],  # type: ignore[arg-type]
        states=outcome.messages,
        observations=len(by_topic["observations"]),
        ignored=outcome.ignored,
    )
    return sent_in(documented, simulation.truth), out


LETTERS = [("missing_field", "`result` is missing or null", "smsmanager[3]@1234 /10")] * 12


def all_tables() -> list[PlainTable]:
    sent, out = demo()
    return [
        tables.funnel(out.states.values()),
        tables.oddities(out),
        tables.inbound(out),
        tables.dead_letters(LETTERS),
        tables.timeline(tables.most_telling(out.statuses, out.events), out.statuses),
        tables.account(reconcile(sent, out)),
    ]


def printed(width: int) -> str:
    written = io.StringIO()
    console = Console(file=written, width=width, highlight=False)
    for table in all_tables():
        console.print(table)
    return written.getvalue()


@pytest.mark.parametrize("width", [40, 60, 80, 120])
def test_no_number_is_cut(width: int) -> None:
    """Every number of a wide console is there, as often, and no line is longer than the width."""
    wide, narrow = printed(200), printed(width)
    assert "…" not in narrow.replace("… ", "")
    assert max(map(len, narrow.splitlines())) <= max(width, 52)  # a message key is never cut
    numbers = [Counter(re.findall(r"\b\d+%?(?![\d:.-])", text)) for text in (wide, narrow)]
    assert numbers[0] == numbers[1]


def test_eighty_columns_suffice_for_columns() -> None:
    """On 80 columns the demo has no table in lines."""
    assert [table.width for table in all_tables() if table.width > 80] == []


def test_contradictions_have_one_number() -> None:
    """The table of anomalies splits the number of the account by which report came last."""
    sent, out = demo()
    rows = dict(re.findall(r"^(\S.+?) {2,}(\d+) ", printed(120), re.MULTILINE))
    account = {line.what: line for line in reconcile(sent, out)}
    kept = account["contradictions, each kept"]
    assert kept.agrees
    assert int(rows["contradictions"]) == kept.found
    assert int(rows["… failure last"]) + int(rows["… delivery last"]) == kept.found
    assert min(int(rows["… failure last"]), int(rows["… delivery last"])) > 0
