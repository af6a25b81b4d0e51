"""The check of the raw topics: whether Kafka answers, and has them with the right partitions."""

import asyncio
import math
from contextlib import suppress
from typing import Any

from aiokafka.client import AIOKafkaClient
from aiokafka.errors import (
    BrokerResponseError,
    KafkaError,
    NoError,
    UnknownTopicOrPartitionError,
    for_code,
)
from aiokafka.protocol.metadata import MetadataRequest

from service.background_tasks import lasting
from service.errors import Problem, cut_differently, missing
from service.kafka.connections import adopt
from service.kafka.failures import diagnosed, right_missing
from service.kafka.login import options
from service.settings import Settings

CHECK_SECONDS = 1.0

# The longest wait for a broker's answer. A single request has less, so that aiokafka closes a dead
# connection, and the next check opens another.
_ANSWER_SECONDS = 1.0
_REQUEST_MS = 800


class TopicCheck:
    """Checks every second whether Kafka answers and has the raw topics with the right partitions.

    It uses its own connection: a metadata request on the producer's would wait behind bodies.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._expected = dict.fromkeys(settings.topics.raw_topics, settings.partitions)
        self._client: Any = None
        self._node: Any = None
        self._task: asyncio.Task[None] | None = None
        self.problem: str | None = "ingest has not checked Kafka yet"
        self.silent = True
        self.missing = False
        self.failed_at = -math.inf  # when it last found a problem

    async def start(self, *, patient: bool) -> None:
        """Check once, or raise `Problem`; then check periodically.

        If `patient`, a missing answer or a missing topic raises nothing.
        """
        try:
            self._client = AIOKafkaClient(**options(self._settings), request_timeout_ms=_REQUEST_MS)
            adopt(self._client, connect_seconds=_REQUEST_MS / 1000, answer_seconds=None)
            self.problem = await self._check_brokers()
        except ValueError as error:
            raise Problem("kafka_settings", why=str(error)) from error
        if self.problem and not (patient and (self.silent or self.missing)):
            raise Problem("kafka_not_ready", why=self.problem)
        self._task = lasting("the check of the topics", self._repeat)

    async def stop(self) -> None:
        if self._task:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        if self._client:
            await self._client.close()

    async def _repeat(self) -> None:
        while True:
            await asyncio.sleep(CHECK_SECONDS)
            self.problem = await self._check_brokers()
            if self.problem:
                self.failed_at = asyncio.get_running_loop().time()

    async def _check_brokers(self) -> str | None:
        """Return the problem in one sentence, or None; takes about a second per hanging broker."""
        self.silent, failed = False, None
        if not self._client.cluster.brokers():
            try:
                await self._client.bootstrap()
            except KafkaError as error:
                failed = error
        brokers = [broker.nodeId for broker in self._client.cluster.brokers()]
        # The broker that answered last comes first, so that a dead broker causes no delay.
        for node in sorted(brokers, key=lambda node: node != self._node):
            with suppress(KafkaError, OSError, TimeoutError):
                async with asyncio.timeout(_ANSWER_SECONDS):
                    problem = await self._check_topics(node)
                self._node = node
                return problem
        self.silent = True
        return str(await diagnosed(self._settings, failed, _ANSWER_SECONDS))

    async def _check_topics(self, node: Any) -> str | None:
        """Return the problem that a broker reports of the raw topics; the request creates none."""
        request = MetadataRequest(list(self._expected), allow_auto_topic_creation=False)
        answer = await self._client.send(node, request)
        codes = [for_code(code) for code, *_ in answer.topics]
        self.missing = UnknownTopicOrPartitionError in codes
        problems = (
            self._compare(topic, for_code(code), len(partitions))
            for code, topic, _, partitions in answer.topics
        )
        return next(filter(None, problems), None)

    def _compare(self, topic: str, error: type[BrokerResponseError], count: int) -> str | None:
        if error is UnknownTopicOrPartitionError:
            return missing(topic)
        if error is not NoError:
            denied = right_missing(self._settings, error(topic))
            return (
                str(denied) if denied else f"Kafka reports {error.__name__} for the topic {topic}"
            )
        if count != self._expected[topic]:
            return cut_differently(topic, count, self._expected[topic])
        return None
