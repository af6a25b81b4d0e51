"""`bluetick namespace`: list the namespaces on a Kafka cluster, and delete one."""

import asyncio
import shutil
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console

from cli.output.tables import PlainTable, name, number, text
from cli.problem_sentences import CommandProblem
from deploy import consumer_groups, topics
from deploy.consumer_groups import Group
from providers import NAMES
from schemas.processor_list import PROCESSORS
from schemas.topics import Topics, namespaces
from service.errors import Problem
from service.settings import Settings


@dataclass(frozen=True)
class Found:
    """The cluster's contents: topics with their partitions, and groups, by name."""

    topics: Mapping[str, int]
    groups: frozenset[str]

    @property
    def namespaces(self) -> list[str]:
        return namespaces(self.topics, self.groups, NAMES)

    def holds(self, names: Topics) -> str:
        """Return the number of a namespace's own topics and groups as text; "" for none."""
        own = sum(spec.name in self.topics for spec in names.specs(1))
        joined = sum(group in self.groups for group in names.all_groups)
        return f"topics: {own}, groups: {joined}" if own or joined else ""

    def unknown(self, name: str, purpose: str) -> Problem:
        """Return the problem of an unknown namespace; it lists the existing ones."""
        there = ", ".join(self.namespaces) or "none"
        return CommandProblem(
            "unknown_namespace",
            "there is no namespace {name} {purpose}; the namespaces are: {there}",
            name=name,
            purpose=purpose,
            there=there,
        )


async def look(settings: Settings) -> Found:
    """Return the topics and groups of the cluster."""
    return Found(
        await topics.partitions(settings), frozenset(await consumer_groups.names(settings))
    )


async def show(settings: Settings) -> None:
    """Print a table of the namespaces."""
    found = await look(settings)
    members = {group.name: group for group in await consumer_groups.groups(settings)}
    services = [one.name for one in PROCESSORS]
    columns = (name("namespace"), number("topics"), number("partitions"))
    table = PlainTable("", *columns, *map(name, services), text("reads"))
    for namespace in found.namespaces:
        names = settings.of(namespace).topics
        own = [found.topics[one] for one in names.required if one in found.topics]
        groups = [members.get(group) for group in names.groups]
        reads = {topic for one in groups if one for topic in one.offsets} - {*names.all}
        table.add_row(
            namespace,
            str(len(own)),
            "/".join(str(count) for count in sorted(set(own))),
            *("-" if one is None else f"{one.members} running" for one in groups),
            ", ".join(sorted(reads)),
        )
    Console(highlight=False).print(table)


def drop(settings: Settings, name: str, *, confirm: str | None, keep_inputs: bool) -> None:
    """Delete a namespace after a confirmation; raises `Problem` if it is in use."""
    found = asyncio.run(look(settings))
    if name not in found.namespaces:
        raise found.unknown(name, "to drop")
    all_groups = asyncio.run(consumer_groups.groups(settings))
    own = settings.of(name).topics
    kept = _kept(own, all_groups, keep_inputs=keep_inputs)
    names = [one for one in own.all if one in found.topics and one not in kept.topics]
    _refuse_in_use(own, names, kept, all_groups)
    local = _local(settings.of(name))
    here = "".join(f", and {path}" for path in local)
    console = Console(highlight=False)
    console.print(f"to be deleted, with all data: {', '.join(names)}{here}")
    if kept.topics:
        console.print(f"kept, because other namespaces read them: {', '.join(sorted(kept.topics))}")
    _confirm(name, confirm)
    groups = (*own.all_groups, *_replays(own, all_groups))
    gone = [group for group in groups if group not in kept.groups]
    for line in asyncio.run(_delete(settings.of(name), kept, gone)):
        console.print(line)
    for path in local:
        _remove(path)
        console.print(f"deleted {path}")
    store = settings.of(name).stores
    if store not in local:
        console.print(f"{store} is not on this machine; delete it where `track` ran")


def _local(settings: Settings) -> list[Path]:
    """Return what this machine has of a namespace: stores, and the read model in SQLite.

    The console's audit log stays: it says who did what.
    """
    model = settings.data / "console" / f"{settings.namespace}.sqlite"
    files = [model.with_name(model.name + suffix) for suffix in ("", "-wal", "-shm", ".lock")]
    return [path for path in (settings.stores, *files) if path.exists()]


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


@dataclass(frozen=True)
class Kept:
    """The topics and groups of a namespace that must not be deleted."""

    topics: frozenset[str] = frozenset()
    groups: frozenset[str] = frozenset()


def _kept(names: Topics, all_groups: Iterable[Group], *, keep_inputs: bool) -> Kept:
    """Return what other namespaces need of this one; raises `Problem` without `keep_inputs`.

    Kafka deletes a group that is unused for a week; a later call does not find it.
    """
    inputs = {*names.raw_topics, names.observations}
    replays = _replays(names, all_groups)
    own = {*names.all_groups, *replays}
    readers = {
        group.name: group.offsets & inputs
        for group in all_groups
        if group.offsets & inputs and group.name not in own
    }
    if not readers:
        return Kept()
    if not keep_inputs:
        read_by = ", ".join(f"{', '.join(sorted(of))} by {name}" for name, of in readers.items())
        raise CommandProblem(
            "namespace_is_read",
            (
                "other namespaces read {namespace} ({readers}); keep those topics with "
                "--keep-inputs, or drop the other namespaces first"
            ),
            namespace=names.namespace,
            readers=read_by,
        )
    if names.observations in set().union(*readers.values()):
        # The processors that write the observations, and their replays, must be able to continue.
        makers = [one.name for one in PROCESSORS if names.observations in names.outputs(one.name)]
        continuing = frozenset({*map(names.group, makers), *replays})
        return Kept(frozenset({*inputs, names.dead_letters, names.clocks}), continuing)
    return Kept(frozenset({*names.raw_topics, names.clocks}))  # ingest must continue


def _replays(names: Topics, all_groups: Iterable[Group]) -> list[str]:
    """Return the groups that hold the progress of the namespace's own replays."""
    begun = [group.name for group in all_groups if group.name.startswith(names.group("replay."))]
    # A namespace may be named like a replay: its services are not replays.
    return [name for name in begun if not namespaces((), [name], ())]


def _refuse_in_use(
    names: Topics, doomed: Iterable[str], kept: Kept, all_groups: Iterable[Group]
) -> None:
    """Raise `Problem` if a group with members uses a topic or group to be deleted."""
    own = {*names.all_groups} - kept.groups
    for group in all_groups:
        read = sorted(group.reads & {*doomed})
        if group.members and (group.name in own or read):
            where = f"on {', '.join(read)}" if read else "in it"
            raise CommandProblem(
                "group_at_work",
                (
                    "the group {name} is in use {where} (members: {members}); stop its members, "
                    "and after a kill wait until their sessions expire"
                ),
                name=group.name,
                where=where,
                members=group.members,
            )


def _confirm(name: str, confirm: str | None) -> None:
    """Raise `Problem` unless the name is given again."""
    if confirm is None and sys.stdin.isatty():
        confirm = input(f"type {name} to delete it for good: ").strip()
    if confirm is None:
        raise CommandProblem(
            "not_confirmed", "nothing was deleted: confirm it with --confirm {name}", name=name
        )
    if confirm != name:
        raise CommandProblem(
            "confirmed_otherwise",
            "nothing was deleted: {confirm!r} is not {name}; give the same name twice",
            confirm=confirm,
            name=name,
        )


async def _delete(settings: Settings, kept: Kept, gone: Iterable[str]) -> list[str]:
    done = await topics.drop(settings, kept.topics)
    return done + await consumer_groups.delete(settings, gone)
