"""The demo on the broker of the tests: its own comparison must agree."""

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
    assert left_behind(namespace) == {}
    assert await topics.check(Settings(kafka=kafka, namespace=namespace)), "topics were left"
