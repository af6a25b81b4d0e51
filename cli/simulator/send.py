"""`bluetick send`: post webhooks, from files or simulated, to a running ingest."""

import asyncio
import secrets
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol

from rich.console import Console

from cli.interrupt import Interrupted
from cli.options import Request, Sending
from cli.output import progress
from cli.output.tables import PlainTable, name, number
from cli.problem_sentences import CommandProblem
from cli.simulator.files import posts_from
from cli.simulator.http_client import Broken, Connection, Endpoint
from cli.simulator.requests import Post, headers_of
from cli.simulator.simulate import duration_ms, simulate
from providers import NAMES
from service.errors import Problem, reason
from service.wall_clock import now_ms

ALL = "all"

_OK = 200
_UNAVAILABLE = 503

# The maximum number of tries of a post, and the wait in seconds after a 503 or a broken connection.
_TRIES = 6
_WAIT = 1.0
_LONGEST_WAIT = 30.0


@dataclass(slots=True)
class Delivered:
    """The final answers to posts by status, and the number of repeated sends."""

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
    """Receives the progress of a delivery."""

    def answered(self, status: int) -> None:
        """Note the final answer to one post."""

    def waiting(self, reason: str, seconds: float) -> None:
        """Note that a post waits before it is sent again."""


class Unwatched:
    """A watcher that ignores progress."""

    def answered(self, status: int) -> None:
        """Do nothing."""

    def waiting(self, reason: str, seconds: float) -> None:
        """Do nothing."""


async def deliver(
    url: str,
    posts: Iterable[Post],
    *,
    rate: float | None = None,
    connections: int = 16,
    progress: Watcher | None = None,
) -> Delivered:
    """Send posts to the ingest at `url`, at most `rate` per second, over `connections`.

    After a 503, wait and send the post again, a few times. Raises `Problem` if no server answers.
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
    if failed:  # raised inside `except*` it would become a group again
        raise failed
    return delivery.delivered


def run(
    source: str,
    files: Sequence[str] = (),
    how: Sending = Sending(),  # noqa: B008 - frozen
    request: Request = Request(),  # noqa: B008 - frozen
) -> int:
    """Send `files` to a source or, if there are none, simulated lifecycles; returns the exit code.

    `source` is a provider's name, or `all` for simulated traffic of every provider. The code is 0
    if every post was answered 200, else 1.
    """
    Endpoint.of(how.url)  # an invalid option is refused before the simulation
    seed = secrets.randbelow(10**6) if how.seed is None else how.seed
    posts = _from_files(source, files, request) if files else _simulated(source, how, seed, request)
    with progress.shown() as shown:
        if not files:
            shown.say(
                f"{how.messages} simulated messages, {len(posts)} posts; again with --seed {seed}"
            )
        bar = _Bar(shown, len(posts))
        sending = deliver(how.url, posts, rate=how.rate, connections=how.connections, progress=bar)
        try:
            delivered = asyncio.run(sending)
        except KeyboardInterrupt:
            raise Interrupted(f"stopped after {bar.count} of {len(posts)} posts") from None
    Console().print(_table(delivered))
    return 1 if delivered.refused else 0


def _from_files(source: str, files: Sequence[str], request: Request) -> list[Post]:
    if source == ALL:
        raise CommandProblem(
            "files_to_several_sources",
            "files go to one source; name one of: {providers}",
            providers=" or ".join(NAMES),
        )
    headers = request.header or ()
    return list(
        posts_from(source, files, method=request.method, path=request.path, headers=headers)
    )


def _simulated(source: str, how: Sending, seed: int, request: Request) -> list[Post]:
    """Return simulated posts, each with the proof that the options add: headers and a path."""
    proof = headers_of(request.header or ())
    posts = simulate(
        messages=how.messages,
        base_time_ms=now_ms() - duration_ms(how.messages),
        seed=seed,
        duplicates=how.duplicates,
        shuffle=how.shuffle,
        malformed=how.malformed,
        sources=_sources(source),
    ).posts
    return [
        replace(post, path=f"{request.path}{post.path}", headers={**post.headers, **proof})
        for post in posts
    ]


class _Delivery:
    """The state that the workers share."""

    def __init__(self, endpoint: Endpoint, url: str, progress: Watcher) -> None:
        self.delivered = Delivered()
        self._endpoint = endpoint
        self._url = url
        self._progress = progress

    async def work(self, posts: Iterator[tuple[float, Post]]) -> None:
        """Send posts one after the other, each when it is due, on one connection."""
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
        """Send a post until an answer other than 503 arrives, or the tries are used up."""
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
            await self._wait("503: ingest asks for a retry", min(wait, _LONGEST_WAIT))
        return _UNAVAILABLE

    async def _mend(self, error: Exception, tries: int) -> None:
        """Wait for the next try, if ingest has answered before and tries are left."""
        why = reason(error)
        if not self.delivered.answers or tries == _TRIES:
            raise CommandProblem(
                "ingest_silent",
                "ingest does not answer at {url}: {why}; start it, or give its --url",
                url=self._url,
                why=why,
            )
        await self._wait(why, _WAIT)

    async def _wait(self, reason: str, seconds: float) -> None:
        self.delivered.resent += 1
        self._progress.waiting(reason, seconds)
        await asyncio.sleep(seconds)


class _Bar:
    """The progress bar: posts per second, answers by status, and waits."""

    def __init__(self, shown: progress.Progress, total: int) -> None:
        self._shown = shown
        self._count = shown.count("sending", total)
        self._answers: Counter[int] = Counter()
        self._reason = ""

    @property
    def count(self) -> int:
        return self._answers.total()

    def answered(self, status: int) -> None:
        self._answers[status] += 1
        self._count.show(self._count.done + 1, self._count.total, self._words)

    def _words(self) -> str:
        answers = " ".join(f"{code}:{n}" for code, n in sorted(self._answers.items()))
        return f"{self._count.rate(self.count):.0f} posts/s {answers}"

    def waiting(self, reason: str, seconds: float) -> None:
        if reason != self._reason:  # once, not for every post
            self._reason = reason
            self._shown.say(f"{reason}; waiting {seconds:g} s")


def paced(posts: Iterable[Post], rate: float | None, begin: float) -> Iterator[tuple[float, Post]]:
    """Yield posts and their due times: all at `begin`, or 1/`rate` seconds apart from then on."""
    for place, post in enumerate(posts):
        yield begin + place / rate if rate else begin, post


def _sources(source: str) -> Sequence[str]:
    if source == ALL:
        return NAMES
    if source in NAMES:
        return (source,)
    known = ", ".join((*NAMES, ALL))
    raise CommandProblem(
        "unknown_source",
        "there is nothing to simulate for the source {source!r}; the sources are: {known}",
        source=source,
        known=known,
    )


def _table(delivered: Delivered) -> PlainTable:
    table = PlainTable("", name("answer"), number("posts"))
    for status, count in sorted(delivered.answers.items()):
        meaning = "accepted" if status == _OK else "refused"
        table.add_row(f"{status} {meaning}", str(count))
    table.add_row("sent again", str(delivered.resent))
    return table
