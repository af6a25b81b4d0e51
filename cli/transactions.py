"""`bluetick transactions`: show open transactions, and abort hanging ones."""

import asyncio
from collections.abc import Collection, Sequence

from rich.console import Console
from rich.text import Text

from cli.confirmation import confirmed, require_terminal
from cli.dead_letters.causes import place, place_of
from cli.output import tables
from cli.output.ages import age_text
from cli.output.jsonl import print_json
from cli.problem_sentences import CommandProblem
from cli.tail import resolve
from deploy import transactions
from deploy.open_transactions import Open
from schemas.coordinates import Coordinates
from schemas.processor_list import MEASURE, TRACK
from service.settings import Settings
from service.wall_clock import now_ms


def show(settings: Settings, *, json: bool) -> int:
    """Print the open transactions; returns 1 if one of them is hanging."""
    found = asyncio.run(transactions.look(settings, settings.topics.all))
    if json:
        print_json(*map(_fields, found))
    elif found:
        _print(Console(highlight=False), "Open transactions", found)
    else:
        Console(highlight=False).print("no transaction is open")
    return 1 if any(one.hanging for one in found) else 0


def abort(settings: Settings, places: Sequence[str], *, own: bool, yes: bool) -> int:
    """Abort hanging transactions; returns 1 if there is none, or the user declines."""
    require_terminal("aborting a transaction writes to Kafka", yes=yes)
    asked = [_asked(settings, text) for text in places]
    found = asyncio.run(transactions.look(settings, settings.topics.all))
    chosen = _chosen(found, asked)
    console = Console(highlight=False)
    if not chosen:
        console.print("no transaction is hanging")
        return 1
    if not own:
        _refuse_own(settings, chosen)
    _print(console, "To be aborted: readers will never see their records", chosen)
    if not confirmed("Abort them?", yes=yes):
        return 1
    for one in chosen:
        asyncio.run(transactions.abort(settings, one.producer))
        console.print(f"aborted {place(_at(one))}", soft_wrap=True)
    return 0


def _asked(settings: Settings, text: str) -> Coordinates:
    at = place_of(text)
    return at._replace(topic=resolve(settings.topics, at.topic)[1])


def _chosen(found: Sequence[Open], asked: Collection[Coordinates]) -> list[Open]:
    """Return the hanging transactions, or those asked for; raises `Problem` for other ones."""
    if not asked:
        return [one for one in found if one.hanging]
    by_place = {_at(one): one for one in found}
    for at in asked:
        if at not in by_place:
            raise CommandProblem(
                "no_open_transaction",
                "no transaction begins at {place}; see: bluetick transactions show",
                place=place(at),
            )
        if not by_place[at].hanging:
            raise CommandProblem(
                "transaction_in_progress",
                (
                    "the transaction at {place} is in progress: Kafka ends it, at the latest after "
                    "its timeout; abort a transaction only if it is hanging"
                ),
                place=place(at),
            )
    return [by_place[at] for at in asked]


def _refuse_own(settings: Settings, chosen: Sequence[Open]) -> None:
    own = {_at(one): ends for one in chosen if (ends := _ended_by(settings, one))}
    if own:
        raise CommandProblem(
            "transaction_of_processor",
            (
                "the transactions at {places} are a processor's own: {commands} ends them when it "
                "starts, with a commit if their other parts are committed; an abort by hand may "
                "lose states, and needs --own"
            ),
            places=[place(at) for at in own],
            commands=[f"`bluetick {name}`" for name in dict.fromkeys(own.values())],
        )


def _ended_by(settings: Settings, one: Open) -> str:
    """Return the processor that ends the transaction when it starts; "" if none does.

    Several tasks of measure write to `quality-changes`, so none of them ends one there.
    """
    topics = settings.topics
    if one.known is None or one.producer.topic == topics.quality_changes:
        return ""
    numbers = range(settings.partitions)
    ids = {topics.transactional_id(number): TRACK.name for number in numbers}
    ids |= {
        topics.measuring_id(kind, number): MEASURE.name
        for kind in MEASURE.inputs
        for number in numbers
    }
    return ids.get(one.known.transactional_id, "")


def _at(one: Open) -> Coordinates:
    return Coordinates(one.producer.topic, one.producer.partition, one.producer.start)


def _print(console: Console, title: str, found: Sequence[Open]) -> None:
    now = now_ms()
    table = tables.PlainTable(
        title,
        tables.text("begins at"),
        tables.text("transactional id"),
        tables.number("age"),
        tables.name("state"),
    )
    for one in found:
        known = one.known
        name = known.transactional_id if known else f"- (producer {one.producer.id})"
        age = age_text(max(0, now - one.producer.written_at) / 1000)
        state = Text("hanging", "red") if one.hanging else Text(known.state if known else "unknown")
        table.add_row(place(_at(one)), name, age, state)
    console.print(table)


def _fields(one: Open) -> dict[str, object]:
    known = one.known
    return {
        **one.producer._asdict(),
        "transactional_id": known.transactional_id if known else None,
        "state": known.state if known else None,
        "hanging": one.hanging,
    }
