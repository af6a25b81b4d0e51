"""The comparison of the bodies on Kafka with the answers."""

import pytest

from bench.peers.ingest import _id, wrong_bodies
from bench.peers.load import CONNECTIONS, body


def _bodies(count: int, **more: int) -> dict[str, int]:
    return {f"closed-1-00-{number}": 1 for number in range(count)} | more


@pytest.mark.parametrize(
    ("found", "said"),
    [
        (_bodies(100), []),
        (_bodies(100 + CONNECTIONS + 3), []),
        (_bodies(99), ["closed-1: 100 bodies accepted, 99 on Kafka"]),
        (_bodies(101 + CONNECTIONS + 3), ["closed-1: 100 bodies accepted, 168 on Kafka"]),
        (_bodies(100) | {"closed-1-00-7": 2}, ["doubled 1 bodies"]),
        (_bodies(100) | {"": 1}, ["altered 1 bodies"]),
    ],
)
def test_wrong_bodies(found: dict[str, int], said: list[str]) -> None:
    assert wrong_bodies({"closed-1": 100}, {"closed-1": 3}, found) == said


def test_an_altered_body_has_no_id() -> None:
    assert _id(body("paced-1-7")) == "paced-1-7"
    assert _id(body("paced-1-7").replace(b"sent", b"read")) == ""
    assert _id(b"") == ""
