"""`bluetick explain`: the records of each topic for some bodies or lives, without a broker."""

import sys
from collections.abc import Iterator, Sequence
from typing import Any

from rich.console import Console
from rich.text import Text

from cli.output.json_escaping import as_text
from cli.output.records import BAD, DIM, Record, as_line
from cli.problem_sentences import CommandProblem
from cli.providers import providers
from cli.simulator.files import read_body
from processors.replay.case_file import NotALifeError, steps_of
from processors.replay.pipeline_in_memory import Outcome, Published, Step, Wait, run
from providers.contract import DeadLetter
from schemas.codec import encode
from schemas.records import viewer_key
from service.settings import load
from service.wall_clock import now_ms

_HOUR_MS = 3_600_000
_DEAD_LETTERS = "dead-letters"


def explain(
    files: Sequence[str], *, provider: str | None, wait: float, received_at: int | None, json: bool
) -> int:
    """Print the records of all topics, in order, and the states at the end.

    `provider` is the provider of the files that are bodies; `wait` hours of silence follow the
    last file. A body arrives at `received_at`, Unix milliseconds (default: now). Returns 0 if
    there are no dead letters, else 1.
    """
    if provider is not None:
        providers(provider)
    steps = [step for file in files for step in _steps(file, provider)]
    if wait:
        steps.append(Wait(round(wait * _HOUR_MS)))
    now = now_ms() if received_at is None else received_at
    settings = load()
    outcome = run(
        steps,
        began_at=_begin(steps, now),
        stories=settings.stories,
        privacy=settings.privacy_in_force,
    )
    if json:
        sys.stdout.write("".join(line + "\n" for line in json_lines(outcome)))
    else:
        console = Console(highlight=False)
        for line in timeline(outcome):
            console.print(line, soft_wrap=True)
    return 1 if any(one.topic == _DEAD_LETTERS for one in outcome.records) else 0


def _steps(file: str, provider: str | None) -> list[Step]:
    try:
        return steps_of(read_body(file), provider)
    except NotALifeError as error:
        raise CommandProblem("not_a_case", "{file}: {why}", file=file, why=str(error)) from None


def _begin(steps: Sequence[Step], now: int) -> int:
    """Return the start of the clock: a life has times of its own."""
    times = [step.received_at for step in steps if not isinstance(step, Wait)]
    return min((at for at in times if at is not None), default=now)


def json_lines(outcome: Outcome) -> Iterator[str]:
    """One object a record, {topic, type, key, record}; then what was ignored; the states last."""
    for one in outcome.records:
        record = _letter(one.record) if one.topic == _DEAD_LETTERS else one.record
        yield _json(one.topic, one.type, one.key or None, record)
    if outcome.ignored:
        yield as_text({"ignored": dict(outcome.ignored)})
    for key, state in _states(outcome):
        yield _json("messages", "state", key, state)


def _json(topic: str, kind: str, key: str | None, record: Any) -> str:
    return as_text({"topic": topic, "type": kind, "key": key, "record": record})


def timeline(outcome: Outcome) -> Iterator[Text]:
    """The same for a person: a line a record, texts left out and phone numbers masked."""
    for one in outcome.records:
        yield _line(one.topic, _dead_letter(one) if one.topic == _DEAD_LETTERS else _shown(one))
    for event, count in outcome.ignored.items():
        yield _line("(ignored)", Text(f"{event}: {count}"))
    for key, state in _states(outcome):
        record = Record("messages", 0, 0, outcome.now, key.encode(), [], encode(state))
        yield _line("messages", as_line("messages", record))


def _line(topic: str, what: Text) -> Text:
    return Text(f"{topic:<13}", style="bold").append_text(what)


def _shown(one: Published) -> Text:
    record = Record(one.topic, 0, one.step, one.at, one.key.encode(), [], encode(one.record))
    return as_line(one.topic, record)


def _dead_letter(one: Published) -> Text:
    letter: DeadLetter = one.record
    where = letter.pointer or "whole body"
    words = Text(letter.code, style=BAD).append(f"  {letter.reason}  ")
    return words.append(where, style=DIM)


def _letter(letter: DeadLetter) -> dict[str, str]:
    return {"code": letter.code, "reason": letter.reason, "pointer": letter.pointer}


def _states(outcome: Outcome) -> Iterator[tuple[str, Any]]:
    yield from outcome.messages.items()
    for viewer in outcome.viewers.values():
        yield viewer_key(viewer.message_key, viewer.viewer), viewer
