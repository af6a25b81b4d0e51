"""What the tests of ingest share: one ingest a module, marks, and everything that is logged."""

import logging
import secrets
from collections.abc import AsyncIterator, Iterator

import pytest

from tests.broker.running_ingest import Ingest, running, settings


@pytest.fixture(scope="module")
async def ingest(kafka: str, request: pytest.FixtureRequest) -> AsyncIterator[Ingest]:
    """One ingest for a module, which says how long it waits in RECEIVE_SECONDS.

    Tests tell their records apart by a mark in the path.
    """
    namespace = f"t-{secrets.token_hex(4)}"
    seconds = request.module.RECEIVE_SECONDS
    async with running(settings(kafka, namespace, receive_deadline=seconds)) as it:
        yield it


@pytest.fixture
def mark() -> str:
    return secrets.token_hex(6)


@pytest.fixture
def everything_logged(caplog: pytest.LogCaptureFixture) -> Iterator[pytest.LogCaptureFixture]:
    """Every logger that heeds the root's level logs all it can."""
    with caplog.at_level(logging.DEBUG):
        yield caplog
