"""A replay and its range, as text and as a JSON object."""

from collections.abc import Mapping, Sequence
from typing import Any

from processors.replay import plan as planning
from processors.replay.progress import Replay, Spec
from schemas.webhook import to_iso
from service.problem_sentences import replay_command


def described(spec: Spec) -> str:
    """Return a range as text."""
    by_topic: dict[str, list[str]] = {}
    for span in spec.spans:
        by_topic.setdefault(span.topic, []).append(f"{span.partition}:{span.start}-{span.end}")
    parts = [f"{topic} {' '.join(ranges_)}" for topic, ranges_ in by_topic.items()]
    if spec.archive is not None:
        parts.append(f"from the archive {spec.archive}")
    since, until = spec.window
    if since is not None:
        parts.append(f"received from {to_iso(since)}")
    if until is not None:
        parts.append(f"received before {to_iso(until)}")
    if spec.source is not None:
        parts.append(f"of the source {spec.source}")
    if spec.accounts is not None:
        parts.append(f"with accounts {spec.accounts}")
    if spec.only:
        parts.append(f"only {spec.only.value}")
    return ", ".join(parts)


def command(replay: Replay) -> str:
    """Return the command that resumes a replay."""
    return replay_command(replay.id, accounts=replay.spec.accounts is not None)


def replay_fields(one: Replay) -> dict[str, Any]:
    return {
        "id": one.id,
        "started_at": one.started_at,
        **spec_fields(one.spec),
        "records_left": planning.size(one.left),
    }


def spec_fields(spec: Spec) -> dict[str, Any]:
    since, until = spec.window
    bounds = {
        "archive": spec.archive,
        "source": spec.source,
        "accounts": spec.accounts,
        "from_at": since,
        "to_at": until,
        "only": spec.only and spec.only.value,
    }
    return {
        "spans": [span._asdict() for span in spec.spans],
        **{name: value for name, value in bounds.items() if value is not None},
        "records": planning.size(spec.spans),
    }


def rows(names: Sequence[str], counts: Mapping[Any, int]) -> list[dict[str, Any]]:
    """Return counts by several names, one object each."""
    return [
        dict(zip(names, row, strict=True)) | {"count": count}
        for row, count in sorted(counts.items())
    ]
