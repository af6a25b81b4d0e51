"""`bluetick doctor`: collects the facts of each part, checks them, and prints the findings."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any, NamedTuple

import msgspec
from rich.console import Console
from rich.text import Text

from cli.doctor import collect, collect_ingest
from cli.doctor.cluster_checks import check_broker, check_topics
from cli.doctor.facts import Broker, Disk, Limits
from cli.doctor.findings import Finding, failed
from cli.doctor.ingest_checks import check_ingest, check_webhooks
from cli.doctor.machine_checks import check_disk, check_spool, check_versions
from cli.doctor.service_checks import check_clock, check_group, check_rights
from cli.output.jsonl import print_json
from cli.output.tables import PlainTable
from cli.output.tables import name as name_column
from cli.output.tables import text as text_column
from schemas.processor_list import PROCESSORS
from service.errors import Problem
from service.kafka.causes import RIGHT_CAUSES
from service.settings import Settings

_PART_SECONDS = 30.0
_COLOURS = {"ok": "green", "info": "cyan", "warning": "yellow", "problem": "red"}


class Part(NamedTuple):
    """A part of the installation with its facts (None: not known) and findings."""

    name: str
    facts: Any
    findings: list[Finding]


def run(settings: Settings, *, json: bool) -> int:
    """Print the findings of all parts; returns 1 if one is a problem."""
    # Its warnings are findings here.
    logging.getLogger("service.kafka").setLevel(logging.CRITICAL)
    looked = asyncio.run(parts(settings))
    found = [finding for part in looked for finding in part.findings]
    if json:
        print_json(_fields(looked, fine=not failed(found)))
    else:
        _print(Console(highlight=False), looked)
    return 1 if failed(found) else 0


async def parts(settings: Settings) -> list[Part]:
    """Return the parts of the installation, with their facts and findings."""
    limits = Limits(settings.session_timeout, settings.transaction_timeout)
    broker = await _part(
        "broker", lambda: collect.broker(settings), lambda facts: check_broker(facts, limits)
    )
    return [broker, *await _kafka_parts(settings, broker.facts), *await _local_parts(settings)]


async def _kafka_parts(settings: Settings, broker: Broker | None) -> list[Part]:
    """Return the parts that Kafka answers for; without it only the versions are known."""
    if broker is None:
        skipped = ["topics", "rights", "webhooks", *(one.name for one in PROCESSORS), "clock"]
        local = collect.local_versions()
        return [
            *(Part(name, None, [Finding("info", "part_skipped")]) for name in skipped),
            Part("versions", local, check_versions(local, None)),
        ]
    groups = [
        await _part(one.name, partial(collect.group, settings, one.name), check_group)
        for one in PROCESSORS
    ]
    return [
        await _part("topics", lambda: collect.all_topics(settings), check_topics),
        await _part(
            "rights",
            lambda: collect.rights(settings),
            lambda facts: check_rights(facts, settings.topics),
        ),
        await _part("webhooks", lambda: collect_ingest.webhooks(settings), check_webhooks),
        *groups,
        await _part("clock", lambda: collect.clock(settings), check_clock),
        await _part(
            "versions",
            lambda: collect.versions(settings),
            lambda facts: check_versions(facts, broker),
        ),
    ]


async def _local_parts(settings: Settings) -> list[Part]:
    async def spool() -> Any:
        return collect.spool(settings)

    async def disks() -> Any:
        return collect.disks(settings)

    return [
        await _part("ingest", lambda: collect_ingest.ingest(settings), check_ingest),
        await _part("spool", spool, check_spool),
        await _part("disk", disks, _check_disks),
    ]


def _check_disks(disks: list[Disk]) -> list[Finding]:
    return [finding for disk in disks for finding in check_disk(disk)]


async def _part(
    name: str, collected: Callable[[], Awaitable[Any]], check: Callable[[Any], list[Finding]]
) -> Part:
    """Return a part; whatever fails in it is a finding, and the other parts go on."""
    try:
        async with asyncio.timeout(_PART_SECONDS):
            facts = await collected()
    except Problem as problem:
        # A user with the least rights of a service lacks some of those to look.
        if problem.code in RIGHT_CAUSES:
            return Part(name, None, [Finding("info", "part_denied", why=str(problem))])
        return Part(name, None, [Finding("problem", "part_failed", why=str(problem))])
    except TimeoutError:
        why = f"Kafka did not answer within {_PART_SECONDS:.0f} s"
        return Part(name, None, [Finding("problem", "part_failed", why=why)])
    except Exception as error:  # noqa: BLE001 - a defect in one part must not hide the others
        why = f"{type(error).__name__}: {error}".removesuffix(": ")
        return Part(name, None, [Finding("problem", "part_failed", why=why)])
    return Part(name, facts, check(facts))


def _fields(parts: list[Part], *, fine: bool) -> dict[str, Any]:
    return {
        "fine": fine,
        "findings": [
            {
                "part": part.name,
                "level": one.level,
                "code": one.code,
                "message": one.message,
                "remedy": one.remedy,
                "fields": one.fields,
            }
            for part in parts
            for one in part.findings
        ],
        "facts": {part.name: msgspec.to_builtins(part.facts, str_keys=True) for part in parts},
    }


def _print(console: Console, parts: list[Part]) -> None:
    table = PlainTable("", name_column("part"), name_column(""), text_column("finding"))
    for part in parts:
        for number, one in enumerate(part.findings):
            text = Text(one.message)
            if one.level != "ok":
                text.append(f" [{one.code}]", "dim")
            if one.remedy:
                text.append(f"\n→ {one.remedy}")
            name = "" if number else part.name
            table.add_row(name, Text(one.level, _COLOURS[one.level]), text)
    console.print(table)
