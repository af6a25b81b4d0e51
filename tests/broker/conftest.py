"""Fixtures of the ingest tests: one ingest per module, marks, deadlines, and the captured log."""

import logging
import secrets
from collections.abc import AsyncIterator, Iterator

import pytest

from ingest import delivery
from tests.broker.running_ingest import Ingest, running, settings


@pytest.fixture(autouse=True)
def _patient_spool(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a slow disk delay the answers of a test's ingest rather than turn them into 503."""
    monkeypatch.setattr(delivery, "SPOOL_SECONDS", 60.0)


@pytest.fixture(scope="module")
async def ingest(kafka: str, request: pytest.FixtureRequest) -> AsyncIterator[Ingest]:
    """One ingest per module, whose RECEIVE_SECONDS is the receive deadline.

    Tests identify their records by a mark in the path.
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
    """Every logger that follows the root's level logs at DEBUG."""
    with caplog.at_level(logging.DEBUG):
        yield caplog
