"""The checks of spool, disks and versions: from facts to findings. Pure."""

from collections.abc import Iterator
from types import MappingProxyType

from cli.doctor.facts import Broker, Disk, Slot, Spool, Versions
from cli.doctor.findings import Finding, Level

# metadata.version 25 is Kafka 4.0, and so on; the levels between are previews.
_KAFKA = MappingProxyType(
    {7: "3.3", 8: "3.4", 11: "3.5", 14: "3.6", 19: "3.7", 20: "3.8", 21: "3.9", 25: "4.0"}
    | {27: "4.1", 29: "4.2", 30: "4.3"}
)
_TESTED = 30

_HALF, _NEARLY = 0.5, 0.9
_SCARCE, _NONE_LEFT = 0.10, 0.05


def check_spool(spool: Spool) -> list[Finding]:
    """Judge the slots of the spool."""
    if spool.directory is None:
        return [Finding("info", "spool_unset")]
    found = [finding for slot in spool.slots for finding in _slot(slot, spool)]
    if found:
        return found
    bodies = sum(one.bodies for one in spool.slots)
    fields = {"directory": spool.directory, "slots": len(spool.slots), "bodies": bodies}
    return [Finding("ok", "spool_fine", **fields)]


def _slot(slot: Slot, spool: Spool) -> Iterator[Finding]:
    if slot.error:
        yield Finding("problem", "spool_slot_unreadable", slot=slot.name, why=slot.error)
        return
    if slot.damaged:
        yield Finding("warning", "spool_slot_damaged", slot=slot.name, files=list(slot.damaged))
    if slot.bodies and not slot.in_use:
        yield Finding("warning", "spool_slot_left", slot=slot.name, bodies=slot.bodies)
    shares = {
        "BLUETICK_SPOOL_MAX_BYTES": slot.bytes / spool.max_bytes,
        "BLUETICK_SPOOL_MAX_AGE": slot.age / spool.max_age if slot.bodies else 0.0,
    }
    for setting, share in shares.items():
        if share >= _HALF:
            level: Level = "problem" if share >= _NEARLY else "warning"
            yield Finding(level, "spool_filling", slot=slot.name, share=share, setting=setting)


def check_disk(disk: Disk) -> list[Finding]:
    """Judge the space and the permissions of a directory."""
    share = disk.free / disk.total if disk.total else 0.0
    named = {"directory": disk.directory, "setting": disk.setting}
    found = []
    if disk.writable is False:
        found.append(Finding("problem", "directory_not_writable", **named))
    if share < _SCARCE:
        level: Level = "problem" if share < _NONE_LEFT else "warning"
        found.append(Finding(level, "disk_full", **named, free=size(disk.free), share=share))
    elif disk.free < disk.needed:
        fields = {"free": size(disk.free), "needed": size(disk.needed)}
        found.append(Finding("warning", "disk_below_bound", **named, **fields))
    free = size(disk.free)
    return found or [Finding("ok", "disk_fine", directory=disk.directory, free=free)]


def check_versions(versions: Versions, broker: Broker | None) -> list[Finding]:
    """Judge the versions in use; `broker` is None if Kafka does not answer."""
    level = None if broker is None else broker.features.get("metadata.version")
    found = [
        Finding(
            "ok",
            "versions",
            bluetick=versions.bluetick,
            python=versions.python,
            aiokafka=versions.aiokafka,
            state_format=versions.state_format,
            metadata="unknown" if level is None else kafka_of(level),
        )
    ]
    if level is not None and level < _TESTED:
        tested = {"tested": kafka_of(_TESTED), "version": versions.tested_kafka}
        found.append(Finding("info", "kafka_older_than_tested", found=kafka_of(level), **tested))
    for partition, seen in sorted(versions.formats.items()):
        if seen > versions.state_format:
            fields = {"partition": partition, "found": seen, "known": versions.state_format}
            found.append(Finding("problem", "state_format_newer", **fields))
    return found


def kafka_of(level: int) -> str:
    """Return the release that a level of metadata.version belongs to: `30 (4.3)`."""
    known = [name for least, name in _KAFKA.items() if least <= level]
    return f"{level} ({known[-1] if known else 'before 3.3'})"


def size(count: int) -> str:
    """Return a number of bytes for people."""
    for unit, factor in (("TiB", 2**40), ("GiB", 2**30), ("MiB", 2**20)):
        if count >= factor:
            return f"{count / factor:.1f} {unit}"
    return f"{count} bytes"
