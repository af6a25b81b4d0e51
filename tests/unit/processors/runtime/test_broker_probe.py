"""The cached answer of a broker: readiness never waits for one."""

import asyncio
from collections.abc import Collection, Iterator

import pytest

from processors.runtime import broker_probe
from processors.runtime.broker_probe import BrokerProbe
from service.errors import Problem


class Broker:
    """Answers with topics, an error or never; `asked` counts the requests."""

    def __init__(self, *answers: set[str] | Exception | None) -> None:
        self._answers: Iterator[set[str] | Exception | None] = iter(answers)
        self.last = asyncio.Event()

    async def ask(self, topics: Collection[str]) -> set[str]:
        assert topics == ("a", "b")
        try:
            answer = next(self._answers)
        except StopIteration:
            self.last.set()
            answer = None
        if answer is None:
            await asyncio.Event().wait()
        if isinstance(answer, Exception):
            raise answer
        assert answer is not None
        return answer


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("_PAUSE_SECONDS", "_FAILED_SECONDS"):
        monkeypatch.setattr(broker_probe, name, 0)


async def _explain(error: Exception) -> Problem:
    return Problem(f"no answer: {type(error).__name__}")


async def _after(*answers: set[str] | Exception | None) -> list[str]:
    """Return the problems after these answers, while the next one does not come."""
    broker = Broker(*answers)
    probe = BrokerProbe(("a", "b"), broker.ask, _explain)
    assert probe.problems() == ["Kafka has not answered yet"]
    keeping = asyncio.create_task(probe.keep())
    await broker.last.wait()
    found = probe.problems()
    keeping.cancel()
    await asyncio.wait([keeping])
    return found


async def test_the_last_answer_counts_while_the_next_one_is_due() -> None:
    """An answer stays until the next one; an error is an answer as well."""
    assert await _after() == ["Kafka has not answered yet"]
    assert await _after({"a", "b"}) == []
    assert await _after({"a", "b"}, {"b"}) == [
        "topic a is missing; create it with: bluetick topics apply"
    ]
    assert await _after({"a", "b"}, OSError("gone")) == ["no answer: OSError"]
    assert await _after(OSError("gone"), {"a", "b"}) == []


async def test_a_silent_broker_is_a_problem(monkeypatch: pytest.MonkeyPatch) -> None:
    """A request without an answer ends at its time limit."""
    monkeypatch.setattr(broker_probe, "ANSWER_SECONDS", 0)
    assert await _after({"a", "b"}, None) == ["no answer: TimeoutError"]
