"""`bluetick send`: post webhooks, from files or simulated, to a running ingest."""

import asyncio
import secrets
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn
from rich.table import Table

from cli.simulator.files import posts_from
from cli.simulator.http_client import Broken, Connection, Endpoint
from cli.simulator.requests import Post
from cli.simulator.simulate import duration_ms, simulate
from providers import NAMES
from service.errors import Problem
from service.wall_clock import now_ms

ALL = "all"

_OK = 200
_UNAVAILABLE = 503
_INTERRUPTED = 130

# A post is sent so many times at most, and waits so long, in seconds, after a 503 or a break.
_TRIES = 6
_WAIT = 1.0
_LONGEST_WAIT = 30.0

_SHOW_SECONDS = 0.1


@dataclass(slots=True)
class Delivered:
    """How posts were answered in the end: by status, and how many had to be sent again."""

    answers: Counter[int] = field(default_factory=Counter)
    resent: int = 0

    @property
    def sent(self) -> int:
        return self.answers.total()

    @property
    def accepted(self) -> int:
        return self.answers[_OK]

    @property
    def refused(self) -> int:
        return self.sent - self.accepted


class Watcher(Protocol):
    """Who wants to know how it goes."""

    def answered(self, status: int) -> None:
        """Hear of the final answer to one post."""

    def waiting(self, reason: str, seconds: float) -> None:
        """Hear that a post waits before it is sent again."""


class Unwatched:
    """Nobody wants to know."""

    def answered(self, status: int) -> None:
        """Take no notice."""

    def waiting(self, reason: str, seconds: float) -> None:
        """Take no notice."""


async def deliver(
    url: str,
    posts: Iterable[Post],
    *,
    rate: float | None = None,
    connections: int = 16,
    progress: Watcher | None = None,
) -> Delivered:
    """Send posts to the ingest at `url`, at most `rate` per second, over so many connections.

    A 503 is waited out and the post sent again, a few times. Raises `Problem` if nothing answers.
    """
    delivery = _Delivery(Endpoint.of(url), url, progress or Unwatched())
    schedule = paced(posts, rate, asyncio.get_running_loop().time())
    failed: BaseException | None = None
    try:
        async with asyncio.TaskGroup() as workers:
            for _ in range(connections):
                workers.create_task(delivery.work(schedule))
    except* Problem as problems:
        failed = problems.exceptions[0]
    if failed:  # raised inside `except*` it would come out as a group again
        raise failed
    return delivery.delivered


def run(
    source: str,
    files: Sequence[str] = (),
    *,
    url: str = "http://127.0.0.1:8080",
    messages: int = 100,
    rate: float | None = None,
    connections: int = 16,
    duplicates: float = 0.0,
    shuffle: bool = False,
    malformed: float = 0.0,
    seed: int | None = None,
    method: str = "POST",
    path: str = "",
    headers: Sequence[str] = (),
) -> int:
    """Send `files` to a source or, if there are none, simulated lifecycles; returns the exit code.

    `source` is a provider's name, or `all` for simulated traffic of every provider. The code is 0
    if every post was answered 200, else 1; 130 after Ctrl-C.
    """
    Endpoint.of(url)  # a mistyped one is told before anything is simulated
    if files:
        if source == ALL:
            raise Problem(f"files go to one source: {' or '.join(NAMES)}")
        posts = list(posts_from(source, files, method=method, path=path, headers=headers))
    else:
        seed = secrets.randbelow(10**6) if seed is None else seed
        posts = simulate(
            messages=messages,
            base_time_ms=now_ms() - duration_ms(messages),
            seed=seed,
            duplicates=duplicates,
            shuffle=shuffle,
            malformed=malformed,
            sources=_sources(source),
        ).posts
    with _Bar(len(posts)) as bar:
        if not files:
            bar.say(f"{messages} simulated messages, {len(posts)} posts; again with --seed {seed}")
        try:
            sending = deliver(url, posts, rate=rate, connections=connections, progress=bar)
            delivered = asyncio.run(sending)
        except KeyboardInterrupt:
            bar.say(f"stopped after {bar.count} of {len(posts)} posts")
            return _INTERRUPTED
    Console().print(_table(delivered))
    return 1 if delivered.refused else 0


class _Delivery:
    """What the workers share."""

    def __init__(self, endpoint: Endpoint, url: str, progress: Watcher) -> None:
        self.delivered = Delivered()
        self._endpoint = endpoint
        self._url = url
        self._progress = progress

    async def work(self, posts: Iterator[tuple[float, Post]]) -> None:
        """Send posts one after the other, each when it is due, on a connection of its own."""
        clock = asyncio.get_running_loop().time
        connection = Connection(self._endpoint)
        try:
            for due, post in posts:
                if (early := due - clock()) > 0:
                    await asyncio.sleep(early)
                status = await self._send(connection, post)
                self.delivered.answers[status] += 1
                self._progress.answered(status)
        finally:
            connection.close()

    async def _send(self, connection: Connection, post: Post) -> int:
        """Send until there is an answer other than 503, or too often."""
        target = f"/webhooks/{post.source}{post.path}"
        for tries in range(1, _TRIES + 1):
            try:
                answer = await connection.request(post.method, target, post.headers, post.body)
            except Broken as error:
                await self._mend(error, tries)
                continue
            if answer.status != _UNAVAILABLE or tries == _TRIES:
                return answer.status
            wait = _WAIT if answer.retry_after is None else answer.retry_after
            await self._wait("503: ingest asks to come again", min(wait, _LONGEST_WAIT))
        return _UNAVAILABLE

    async def _mend(self, error: Exception, tries: int) -> None:
        """Wait for the next try, if there was an answer before and there are tries left."""
        reason = str(error) or type(error).__name__
        if not self.delivered.answers or tries == _TRIES:
            raise Problem(
                f"ingest does not answer at {self._url}: {reason}; start it, or give its --url"
            )
        await self._wait(reason, _WAIT)

    async def _wait(self, reason: str, seconds: float) -> None:
        self.delivered.resent += 1
        self._progress.waiting(reason, seconds)
        await asyncio.sleep(seconds)


class _Bar(Progress):
    """A progress bar on the standard error: posts per second, answers by status."""

    def __init__(self, total: int) -> None:
        super().__init__(
            TextColumn("sending"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[rate]} posts/s"),
            TextColumn("{task.fields[answers]}"),
            console=Console(stderr=True),
        )
        self._task: TaskID = self.add_task("", total=total, rate="-", answers="")
        self._answers: Counter[int] = Counter()
        self._shown = 0.0
        self._told = ""

    @property
    def count(self) -> int:
        return self._answers.total()

    def say(self, text: str) -> None:
        self.console.print(text, highlight=False, markup=False)

    def answered(self, status: int) -> None:
        self._answers[status] += 1
        # To show every post would cost more than to send it.
        if (now := time.monotonic()) - self._shown > _SHOW_SECONDS:
            self._shown = now
            self._show()

    def waiting(self, reason: str, seconds: float) -> None:
        if reason != self._told:  # once, not for every post
            self._told = reason
            self.say(f"{reason}; waiting {seconds:g} s")

    def stop(self) -> None:
        self._show()
        super().stop()

    def _show(self) -> None:
        speed = self.tasks[self._task].speed
        self.update(
            self._task,
            completed=self.count,
            rate=f"{speed:.0f}" if speed else "-",
            answers=" ".join(f"{code}:{n}" for code, n in sorted(self._answers.items())),
        )


def paced(posts: Iterable[Post], rate: float | None, begin: float) -> Iterator[tuple[float, Post]]:
    """Posts and when each is due: all at `begin`, or 1/`rate` seconds apart from then on."""
    for place, post in enumerate(posts):
        yield begin + place / rate if rate else begin, post


def _sources(source: str) -> Sequence[str]:
    if source == ALL:
        return NAMES
    if source in NAMES:
        return (source,)
    known = ", ".join((*NAMES, ALL))
    raise Problem(f"there is nothing to simulate for the source {source!r}; there is: {known}")


def _table(delivered: Delivered) -> Table:
    table = Table("answer", "posts", box=None)
    for status, count in sorted(delivered.answers.items()):
        meaning = "accepted" if status == _OK else "refused"
        table.add_row(f"{status} {meaning}", str(count))
    table.add_row("sent again", str(delivered.resent))
    return table
