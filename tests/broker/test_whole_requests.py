"""Requests that arrive whole: the quick path does what the app does, on a second ingest without it.

Both get the same bytes in one piece; the answers, the records and the metrics must be equal.
"""

import asyncio
import hashlib
import hmac
import re
import secrets
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path
from unittest.mock import patch

import pytest
from aiokafka import AIOKafkaConsumer, TopicPartition
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import generate_latest
from prometheus_client.parser import text_string_to_metric_families

from ingest import metrics
from ingest.app import WebhookEndpoint
from service.http.protocol import bounded
from service.http.whole_request import WholeRequest
from tests.broker.http_bytes import Head, answers, chunks, exchange
from tests.broker.running_ingest import Ingest, largest, running, settings, until
from tests.examples import examples

_SECRET = secrets.token_hex(16)
_MAX_BODY = 300
_SOURCES = """
[sources]
anybody = { provider = "whapi", auth = "none" }
header = { provider = "whapi", auth = "header", header = "X-Token", secrets = ["env:TEST_SECRET"] }
path = { provider = "whapi", auth = "path", secrets = ["env:TEST_SECRET"] }
hmac = { provider = "smsmanager", auth = "hmac", secrets = ["env:TEST_SECRET"] }
near = { provider = "whapi", auth = "none", addresses = ["203.0.113.0/24"] }
account = { provider = "whapi", auth = "none", accounts = ["shop"] }
"""
# They differ between two runs of the same request.
_OWN_HEADERS = {"ce_id", "ce_time"}

Outcome = tuple[list[bytes], Counter[tuple[object, ...]], Counter[str]]
"""The answers without their dates, the records, and the changes of the metrics."""


class Side:
    """A running ingest, with a consumer of its raw topics."""

    def __init__(self, ingest: Ingest, consumer: AIOKafkaConsumer) -> None:
        self.ingest = ingest
        self._consumer = consumer

    async def outcome(self, wires: list[bytes]) -> Outcome:
        """Send each of the wires in one piece on a connection of its own."""
        before = _counts()
        port = self.ingest.port
        received = await asyncio.gather(*(exchange(port, [w], half_close=True) for w in wires))
        await until(self._idle)
        changes = _counts()
        changes.subtract(before)
        undated = [re.sub(rb"\r\ndate: [^\r]*", b"", one) for one in received]
        return undated, await self.records(), Counter({k: n for k, n in changes.items() if n})

    @staticmethod
    async def _idle() -> bool:
        return _counts()["bluetick_ingest_in_flight"] == 0

    async def records(self) -> Counter[tuple[object, ...]]:
        """Return the records since the last call, without what ingest itself draws or measures."""
        found: Counter[tuple[object, ...]] = Counter()
        partitions = list(self._consumer.assignment())
        ends = await self._consumer.end_offsets(partitions)
        while [one for one in partitions if await self._consumer.position(one) < ends[one]]:
            for records in (await self._consumer.getmany(timeout_ms=1000)).values():
                for one in records:
                    kept = [header for header in one.headers if header[0] not in _OWN_HEADERS]
                    provider = one.topic.rpartition(".")[2]
                    found[provider, one.key, one.value, *sorted(kept)] += 1
        return found


def _counts() -> Counter[str]:
    """Return the metrics that count requests and their sizes."""
    text = generate_latest(metrics.registry).decode()
    return Counter(
        {
            f"{sample.name}{sorted(sample.labels.values())}" if sample.labels else sample.name: int(
                sample.value
            )
            for family in text_string_to_metric_families(text)
            for sample in family.samples
            if re.fullmatch(
                r"bluetick_ingest_(in_flight|\w+_total|\w+_count|request_bytes_\w+)", sample.name
            )
        }
    )


@pytest.fixture(scope="module")
def taken() -> list[bool]:
    """For each request that was offered to the quick path: whether it was taken."""
    return []


@pytest.fixture(scope="module")
async def sides(
    kafka: str, tmp_path_factory: pytest.TempPathFactory, taken: list[bool]
) -> AsyncIterator[tuple[Side, Side]]:
    """An ingest with the quick path, and one without it."""
    folder = tmp_path_factory.mktemp("whole")
    (folder / "sources.toml").write_text(_SOURCES)
    take = WebhookEndpoint.take

    def noted(endpoint: WebhookEndpoint, request: WholeRequest) -> bool:
        taken.append(take(endpoint, request))
        return taken[-1]

    async with AsyncExitStack() as stack:
        stack.enter_context(patch.dict("os.environ", TEST_SECRET=_SECRET))
        stack.enter_context(patch.object(WebhookEndpoint, "take", noted))
        quick = await _start(stack, kafka, folder, "quick")
        with patch("service.http.server.bounded", lambda known, _take: bounded(known)):
            plain = await _start(stack, kafka, folder, "plain")
        yield quick, plain


async def _start(stack: AsyncExitStack, kafka: str, folder: Path, name: str) -> Side:
    own = settings(
        kafka,
        f"t-{secrets.token_hex(4)}",
        sources=folder / "sources.toml",
        spool=folder / name,
        max_body=_MAX_BODY,
        partitions=1,
    )
    ingest = await stack.enter_async_context(running(own))
    topics = [TopicPartition(own.topics.raw(one), 0) for one in ("whapi", "smsmanager")]
    consumer = AIOKafkaConsumer(bootstrap_servers=kafka, fetch_max_wait_ms=20)
    await stack.enter_async_context(consumer)
    consumer.assign(topics)
    await consumer.seek_to_beginning(*topics)
    return Side(ingest, consumer)


_text = st.text(st.characters(max_codepoint=255), max_size=20)
_visible = st.text(st.characters(min_codepoint=33, max_codepoint=126), max_size=12)
# Most requests are accepted: the quick path takes no others.
_sources = [*["anybody"] * 4, "account", "header", "path", f"path/{_SECRET}", "hmac", "hmac"]
_few_sources = ["near", "unknown", "anybody?", ""]
_methods = [*["POST"] * 4, "PUT", "PATCH", "DELETE", "GET"]
_usual_lines = [
    *("content-type: text/xml", "content-encoding: gzip", "user-agent: a", "x-request-id: 1"),
    *("x-request-id: 2", f"x-request-id: {'x' * 1100}", f"X-Token: {_SECRET}", "x-token: no"),
    *("connection: close", "connection: keep-alive", "expect: 100-continue", "upgrade: h2c"),
    *("traceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", "te: trailers"),
]
_lines = st.one_of(st.sampled_from(_usual_lines), st.tuples(_visible, _text).map(": ".join))


@st.composite
def _requests(draw: st.DrawFn) -> bytes:
    """Draw a request: accepted, refused or malformed."""
    rest = draw(st.one_of(st.just(""), _visible.map("?{}".format), _visible.map("/{}".format)))
    head = Head(
        draw(st.sampled_from([*["/webhooks/"] * 8, "//webhooks/", "/health/"]))
        + draw(st.sampled_from([*_sources * 2, *_few_sources]))
        + rest,
        method=draw(st.sampled_from(_methods)),
        version=draw(st.sampled_from(["1.1", "1.1", "1.0"])),
    )
    body = draw(st.binary(max_size=40)) * draw(st.sampled_from([1, 1, 1, 1, _MAX_BODY]))
    lines = draw(st.lists(_lines, max_size=4))
    if "hmac" in head.target:
        mac = hmac.new(_SECRET.encode(), body, hashlib.sha256).hexdigest()
        lines.append(f"x-request-signature: {mac}")
    if draw(st.integers(0, 4)) == 0:
        return head.chunked(chunks(body or b"x"), *lines)
    return head.sized(body, *lines)


@examples(1)
@given(
    st.lists(st.lists(_requests(), min_size=1, max_size=3).map(b"".join), min_size=8, max_size=8)
)
async def test_any_request_has_the_same_outcome(
    sides: tuple[Side, Side], wires: list[bytes]
) -> None:
    """The same answers byte for byte, the same records, the same metrics."""
    quick, plain = sides
    assert await quick.outcome(wires) == await plain.outcome(wires)


async def test_only_usual_webhooks_are_taken(sides: tuple[Side, Side], taken: list[bool]) -> None:
    """Three on one connection, but none that is refused, is sent in chunks, or waits for a 100."""
    quick, plain = sides
    head = Head("/webhooks/anybody/x?y=1")
    wires = [
        head.sized(b"{}", "user-agent: a") * 3,
        head.sized(b"{}", "expect: 100-continue"),
        head.chunked(chunks(b"{}")),
        Head("/webhooks/unknown").sized(b"{}"),
    ]
    taken.clear()
    outcome = await quick.outcome(wires)
    assert sorted(taken) == [False, True, True, True]
    assert outcome == await plain.outcome(wires)
    assert sum(outcome[1].values()) == 5


async def test_a_defect_has_the_same_outcome(sides: tuple[Side, Side]) -> None:
    """The app reports it: 500."""
    wire = Head("/webhooks/anybody").sized(b"{}")
    with patch("ingest.app.accept", side_effect=RuntimeError):
        outcomes = [await side.outcome([wire]) for side in sides]
    assert outcomes[0] == outcomes[1]
    assert [answer.status for answer in answers(outcomes[0][0][0])] == [500]


async def test_a_webhook_that_kafka_refuses_goes_to_the_spool(
    sides: tuple[Side, Side], taken: list[bool]
) -> None:
    """The answer is 200 after all, and the record arrives once Kafka accepts it."""
    wire = Head("/webhooks/anybody").sized(secrets.token_bytes(_MAX_BODY), "connection: close")
    outcomes: list[Outcome] = []
    records: list[Counter[tuple[object, ...]]] = []
    taken.clear()
    for side in sides:
        await largest(side.ingest.settings, 200)
        outcomes.append(await side.outcome([wire]))
        await largest(side.ingest.settings, 100_000)
        await until(lambda side=side: _emptied(side, records))  # type: ignore[misc]
    assert taken == [True]
    assert outcomes[0] == outcomes[1]
    [answer] = answers(outcomes[0][0][0])
    assert (answer.status, answer.last) == (200, True)
    assert outcomes[0][2]["bluetick_ingest_accepted_total['anybody', 'spool']"] == 1
    assert records[0] == records[1]


async def _emptied(side: Side, records: list[Counter[tuple[object, ...]]]) -> bool:
    found = await side.records()
    if found:
        records.append(found)
    return bool(found)
