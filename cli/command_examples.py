"""The examples in the help of each command: complete command lines, by the command's name."""

from collections.abc import Mapping, Sequence

from rich.markup import escape

from providers import NAMES
from schemas.processor_list import PROCESSORS

_RANGE = "--from 2026-05-01T12:00Z --to 2026-05-01T18:00Z"

EXAMPLES: Mapping[str, Sequence[str]] = {
    "up": ("bluetick up --demo", "bluetick up --port 8090 --data /srv/bluetick"),
    "ingest": (
        "BLUETICK_SOURCES=sources.toml bluetick ingest --workers 4",
        "BLUETICK_KAFKA=kafka-1:9092 bluetick ingest --port 8090",
    ),
    **{
        one.name: (
            f"BLUETICK_KAFKA=kafka-1:9092,kafka-2:9092 bluetick {one.name}",
            f"bluetick {one.name} --health-port 9090",
        )
        for one in PROCESSORS
    },
    "console": (
        "bluetick console --port 8095",
        "BLUETICK_CONSOLE_DB=postgresql://console@db/bluetick bluetick console --rebuild",
    ),
    "schemas export": (
        "bluetick schemas export contract",
        "bluetick schemas export schemas/published",
    ),
    "schemas show": ("bluetick schemas show status", "bluetick schemas show stalled --example"),
    "schemas dictionary": (
        "bluetick schemas dictionary",
        "bluetick schemas dictionary docs/data-dictionary.md",
    ),
    "topics check": ("bluetick topics check", "BLUETICK_NAMESPACE=v2 bluetick topics check"),
    "topics apply": ("bluetick topics apply", "BLUETICK_PARTITIONS=12 bluetick topics apply"),
    "config show": ("bluetick config show", "bluetick config show --json"),
    "doctor": ("bluetick doctor", "bluetick doctor --json"),
    "group show": ("bluetick group show normalise", "bluetick group show track --json"),
    "group move": (
        f"bluetick group move normalise raw.{NAMES[0]} --to end --partition 2",
        "bluetick group move track observations --to 2026-05-01T12:00Z --yes",
    ),
    "transactions show": ("bluetick transactions show", "bluetick transactions show --json"),
    "transactions abort": (
        "bluetick transactions abort statuses/3/1042",
        "bluetick transactions abort --yes",
    ),
    "topics acls": (
        "bluetick topics acls track",
        "bluetick topics acls ingest --principal User:webhooks",
    ),
    "sources check": ("bluetick sources check", "bluetick sources check sources.toml"),
    "tail": (
        "bluetick tail statuses --from-start",
        f"bluetick tail raw.{NAMES[0]} --until-end --json --limit 10",
    ),
    "quality": (
        "bluetick quality --by country,provider --from -24h",
        "bluetick quality --by gateway --from 2026-05-01T00:00Z --per day --json",
    ),
    "explain": (
        f"bluetick explain --provider {NAMES[0]} body.json",
        f"bluetick explain --provider {NAMES[0]} sent.json delivered.json --wait 25 --json",
    ),
    "parse": (
        f"bluetick parse {NAMES[0]} body.json",
        f"bluetick parse {NAMES[-1]} - --header Content-Encoding:gzip",
    ),
    "diff": ("bluetick diff bluetick v2", "bluetick diff bluetick v2 --since -24h --examples 10"),
    "dead-letters list": (
        "bluetick dead-letters list",
        f"bluetick dead-letters list --provider {NAMES[0]} --from -2h --all",
    ),
    "dead-letters show": (
        f"bluetick dead-letters show raw.{NAMES[0]}/3/120",
        "bluetick dead-letters show dead-letters/3/7 --json",
    ),
    "dead-letters retry": (
        "bluetick dead-letters retry --dry-run",
        "bluetick dead-letters retry --code unknown_word --limit 100",
    ),
    "dead-letters export": (
        "bluetick dead-letters export letters.jsonl",
        "bluetick dead-letters export letters.jsonl --code not_json --from -24h",
    ),
    "replay plan": (
        f"bluetick replay plan {_RANGE}",
        f"bluetick replay plan --from oldest --provider {NAMES[0]} --only delivered",
    ),
    "replay run": (
        f"bluetick replay run {_RANGE} --id fixed-mapping",
        "bluetick replay run --yes --id fixed-mapping",
    ),
    "replay report": (
        "bluetick replay report fixed-mapping",
        "bluetick replay report fixed-mapping --wait 30 --json",
    ),
    "replay list": ("bluetick replay list", "bluetick replay list --json"),
    "forget": (
        "bluetick forget +447700900123 --dry-run",
        f"bluetick forget {NAMES[0]}/-/e27ff0ac-0 --archive s3://bucket/bluetick --yes",
    ),
    "spool status": (
        "bluetick spool status",
        "BLUETICK_SPOOL=/var/lib/bluetick/spool bluetick spool status",
    ),
    "spool drain": (
        "bluetick spool drain",
        "BLUETICK_SPOOL=/var/lib/bluetick/spool bluetick spool drain",
    ),
    "spool export": ("bluetick spool export bodies.jsonl", "bluetick spool export bodies"),
    "archive": (
        "bluetick archive s3://bucket/bluetick",
        "bluetick archive /mnt/archive --verify",
    ),
    "rebuild": (
        "bluetick rebuild --into v2",
        "bluetick rebuild --into v2 --from-observations --until-present",
    ),
    "namespace list": (
        "bluetick namespace list",
        "BLUETICK_KAFKA=kafka-1:9092 bluetick namespace list",
    ),
    "namespace drop": (
        "bluetick namespace drop v1 --keep-inputs",
        "bluetick namespace drop v2 --confirm v2",
    ),
    "send": (
        "bluetick send all --messages 1000 --shuffle",
        f"bluetick send {NAMES[0]} body.json --url http://127.0.0.1:8090",
    ),
    "test": ("bluetick test", "bluetick test tests/unit -k lifecycle"),
}


def epilog(command: str) -> str | None:
    """Return the last part of a command's help, one paragraph a line; None without examples."""
    lines = EXAMPLES.get(command)
    return "\n\n".join(("Examples:", *map(escape, lines))) if lines else None
