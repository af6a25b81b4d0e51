"""What `up` prints once it is up."""

import pytest

from cli.up.up import given_again

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
