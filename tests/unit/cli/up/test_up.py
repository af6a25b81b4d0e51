"""What `up` prints once it is up."""

import io

import pytest
from rich.console import Console

from cli.up.up import Progress, given_again

DEFAULT = "127.0.0.1:9092"


@pytest.mark.parametrize(
    ("environment", "kafka", "expected"),
    [
        ({"HOME": "/x"}, DEFAULT, ""),
        ({}, "127.0.0.1:19092", "BLUETICK_KAFKA=127.0.0.1:19092 "),
        (
            {
                "BLUETICK_KAFKA": "k:9093",
                "BLUETICK_NAMESPACE": "shop",
                "BLUETICK_USERNAME": "a b",
                "BLUETICK_PASSWORD": "canary",
                "BLUETICK_SECURITY": "SASL_SSL",
            },
            "k:9093",
            (
                "BLUETICK_KAFKA=k:9093 BLUETICK_NAMESPACE=shop BLUETICK_PASSWORD=… "
                "BLUETICK_SECURITY=SASL_SSL BLUETICK_USERNAME='a b' "
            ),
        ),
    ],
)
def test_a_command_of_another_terminal_has_the_same_settings(
    environment: dict[str, str], kafka: str, expected: str
) -> None:
    """All that are set are given again, but for the password."""
    assert given_again(environment, kafka) == expected


def test_a_step_is_printed_once_where_there_is_no_terminal() -> None:
    """A download that does not grow is no news."""
    console = Console(file=io.StringIO())
    progress = Progress(console)
    for step in ("10 files", "10 files", "12 files"):
        progress(step)
    progress.stop()
    assert console.file.getvalue() == "  10 files\n  12 files\n"  # type: ignore[attr-defined]
