"""The demo on the broker of the tests: its own comparison must agree."""

import re

from deploy import topics
from service.settings import Settings
from tests.e2e.commands import left_behind, run


async def test_the_demo_accounts_for_everything(kafka: str, namespace: str) -> None:
    """The demo ends with exit code 0, shows its tables, and deletes its own topics."""
    code, output = await run(
        "up", "--demo", BLUETICK_KAFKA=kafka, BLUETICK_NAMESPACE=namespace, BLUETICK_PARTITIONS="3"
    )

    assert code == 0, output
    for words in (
        "How far the messages came",
        "What was put right",
        "Inbound",
        "Dead letters",
        "One message: ",
        "Yes: nothing lost, nothing duplicated.",
    ):
        assert words in output
    _check_numbers(output)
    assert left_behind(namespace) == {}
    assert await topics.check(Settings(kafka=kafka, namespace=namespace)), "topics were left"


def _check_numbers(output: str) -> None:
    """One thing has one number: contradictions, and the simulated messages."""

    def number(pattern: str) -> int:
        found = re.search(pattern, output, re.MULTILINE)
        assert found, pattern
        return int(found[1])

    contradictions = number(r"^contradictions +(\d+) ")
    assert contradictions == number(r"^contradictions, each kept +(\d+) ")
    parts = number(r"^… failure last +(\d+) "), number(r"^… delivery last +(\d+) ")
    assert min(parts) > 0
    assert sum(parts) == contradictions

    ours = number(r" simulated messages \((\d+) of ours")
    assert ours == number(r"^simulated messages of ours, with the planned final status +(\d+) ")
    assert ours + number(r" of ours and (\d+) from customers") == number(r"(\d+) simulated mess")
