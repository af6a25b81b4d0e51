"""Traffic over HTTP: simulated webhooks, each posted as by a provider, until it is answered 200.

Their facts are known in advance (cli/simulator/simulate.py), independently of the parsing.
"""

import asyncio
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from hashlib import sha256
from random import Random
from typing import NamedTuple

from cli.simulator.http_client import Broken, Connection, Endpoint
from cli.simulator.requests import Post
from cli.simulator.simulate import Truth, simulate

_MESSAGES = 40  # simulated together; their posts are shuffled
_DUPLICATES = 0.1
_MALFORMED = 0.01
_WAIT_SECONDS = 0.5
_LONGEST_WAIT_SECONDS = 2.0
_OK = 200


class Answer(NamedTuple):
    """The answer to one request: time, target, status (0: the connection broke)."""

    at: float
    target: int
    status: int


class HttpLoad:
    """Posts to random targets and keeps every answer; `sent` counts posts answered 200.

    A target is the URL of an ingest.
    """

    def __init__(self, random: Random, rate: float) -> None:
        self._random = random
        self._rate = rate
        self._stop = asyncio.Event()
        self._begin = asyncio.Event()
        self._idle: list[list[Connection]] = []
        self._targets: list[str] = []
        self.answers: list[Answer] = []
        self.truths: list[Truth] = []
        self.posted: set[bytes] = set()
        self.answered: dict[bytes, float] = {}  # when a body was first answered 200, by its hash
        self.sent = 0
        self.fresh = False  # whether each request has a connection of its own

    def add(self, target: str) -> int:
        """Add a target; return its number."""
        self._targets.append(target)
        self._idle.append([])
        self._begin.set()
        return len(self._targets) - 1

    async def run(self) -> None:
        """Post until stopped, then until all posts of the current messages are answered 200."""
        await self._begin.wait()
        due = time.monotonic()
        async with asyncio.TaskGroup() as group:
            while not self._stop.is_set():
                for post in self._posts():
                    due = max(due + 1 / self._rate, time.monotonic() - 1)
                    await asyncio.sleep(max(0.0, due - time.monotonic()))
                    group.create_task(self._deliver(post))
        for connection in (one for idle in self._idle for one in idle):
            connection.close()

    def stop(self) -> None:
        self._stop.set()
        self._begin.set()

    async def aged(self, _: int) -> None:
        """Do nothing: ingest sets the time of receipt, so no webhook can be old."""

    @property
    def broken(self) -> list[Answer]:
        """The requests that were not answered."""
        return [one for one in self.answers if not one.status]

    @property
    def targets(self) -> int:
        return len(self._targets)

    @property
    def keys(self) -> set[str]:
        """The keys of all messages posted."""
        return {key for truth in self.truths for key in truth.lifecycles}

    def _posts(self) -> Iterator[Post]:
        """Yield all posts of some more messages."""
        if not self._targets:
            return
        simulation = simulate(
            messages=_MESSAGES,
            base_time_ms=round(time.time() * 1000),
            seed=self._random.getrandbits(32),
            duplicates=_DUPLICATES,
            shuffle=True,
            malformed=_MALFORMED,
        )
        self.truths.append(simulation.truth)
        yield from simulation.posts

    async def _deliver(self, post: Post) -> None:
        """Post to one target after another until the answer is 200."""
        body = digest(post.body)
        self.posted.add(body)
        target = self._random.randrange(len(self._targets))
        wait = _WAIT_SECONDS
        while await self._request(target % len(self._targets), post) != _OK:
            await asyncio.sleep(wait)
            wait = min(2 * wait, _LONGEST_WAIT_SECONDS)
            target += 1
        self.answered.setdefault(body, time.time())
        self.sent += 1

    async def _request(self, target: int, post: Post) -> int:
        idle = self._idle[target]
        connection = idle.pop() if idle else Connection(Endpoint.of(self._targets[target]))
        status = 0
        with suppress(*Broken):
            path = f"/webhooks/{post.source}{post.path}"
            answer = await connection.request(post.method, path, post.headers, post.body)
            status = answer.status
        if self.fresh:
            connection.close()
        idle.append(connection)
        self.answers.append(Answer(time.time(), target, status))
        return status


def digest(body: bytes) -> bytes:
    return sha256(body).digest()


def refused(answers: Sequence[Answer], target: int, since: float, until: float) -> tuple[int, int]:
    """How many of a target's answers in that time were no 200, and how many there were."""
    some = [one.status for one in answers if one.target == target and since <= one.at < until]
    return sum(status != _OK for status in some), len(some)
