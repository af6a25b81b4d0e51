"""What `bluetick forget` does not delete, and until when each topic keeps it. Pure."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from schemas.topics import Topics
from schemas.webhook import to_iso

_FOREVER = -1

_HELD = {
    "raw": "webhook bodies as received, with clear numbers and texts",
    "observations": "the messages' observations",
    "statuses": "the messages' facts",
    "events": "the messages' events",
    "inbound": "the messages, if they are inbound",
    "messages": "earlier states, until Kafka compacts the topic, which may take place before",
    "quality": "counts by route and time, of no single message",
    "quality-changes": "counts by route and time, of no single message",
    "quality-contributions": "the messages' keys, routes and times, until measure drops them",
    "dead-letters": "what could not be processed; without values under BLUETICK_PRIVACY",
}
_OF_THE_CONSOLE = {
    "the console's database": "the messages, until the console reads the tombstones",
    "the console's audit log": "keys of messages that people revealed, no numbers or texts",
}


class Remain(NamedTuple):
    """Data that stays: where, what, and until when at the latest; None if nothing deletes it."""

    where: str
    holds: str
    until: int | None

    def fields(self) -> dict[str, object]:
        until = None if self.until is None else to_iso(self.until)
        return {"where": self.where, "holds": self.holds, "until": until}


def of_topics(topics: Topics, configs: Mapping[str, Mapping[str, str]], now: int) -> list[Remain]:
    """Return what the topics keep; `configs` are their settings on the broker, `now` Unix ms.

    Kafka deletes whole segments, so a record may stay for `segment.ms` longer.
    """
    return [
        Remain(name, _HELD[_kind(topics, name)], _until(configs[name], now))
        for name in topics.required
        if name in configs
    ]


def elsewhere(spool: str | None, spooled: int | None, files: Sequence[str] | None) -> list[Remain]:
    """Return what is outside of Kafka; `spooled` bodies, and `files` of an archive, if known."""
    held = "bodies that Kafka did not accept; bluetick spool drain sends them"
    if spool is None:
        where = "the spools of ingest, on its machines"
    else:
        where = f"the spool {spool}"
        held = "not readable here" if spooled is None else f"{spooled} {held}"
    left = [Remain(where, held, None)]
    if files is None:
        left.append(
            Remain(
                "archives", "raw bodies, if you archive them; --archive URL lists the files", None
            )
        )
    else:
        left += (Remain(file, "archived raw bodies of these messages", None) for file in files)
    left += (Remain(where, holds, None) for where, holds in _OF_THE_CONSOLE.items())
    left.append(Remain("consumers", "whatever they stored of the records they read", None))
    return left


def _kind(topics: Topics, name: str) -> str:
    return "raw" if name in topics.raw_topics else name.rpartition(".")[2]


def _until(config: Mapping[str, str], now: int) -> int | None:
    if "delete" not in config.get("cleanup.policy", "delete"):
        return None
    kept = int(config.get("retention.ms", _FOREVER))
    if kept == _FOREVER:
        return None
    return now + kept + int(config.get("segment.ms", 0))
