"""Compares the trackers' stores with the changelog."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from rocksdict import AccessType, Options, Rdict

from processors.runtime.exactly_once.changelog_headers import NEXT_TIMER
from tests.broker.reading import Read

_INTERNAL = b"\x00"
_ANCHOR = b"\x00anchor"
_TIMER = b"\x00timer"

Content = dict[bytes, bytes]


def compare_stores(home: Path, namespace: str, changelog: Sequence[Read]) -> tuple[int, list[str]]:
    """Compare every store under `home`; return their number and all differences.

    A store, even of a killed worker, must equal its partition of the changelog up to its anchor,
    and have every timer.
    """
    compared, wrong = 0, list[str]()
    # The directory also holds other files than the partitions' stores.
    for directory in sorted(home.glob(f"*/{namespace}/track/[0-9]*")):
        partition = int(directory.name)
        content = _content(directory)
        if content is not None and _ANCHOR in content:
            end = int(content[_ANCHOR].split()[0])
            log = [r for r in changelog if r.partition == partition and r.offset <= end]
            wrong += _compare(f"{directory.relative_to(home)}", content, log)
            compared += 1
    return compared, wrong


def _compare(name: str, content: Content, log: Sequence[Read]) -> Iterator[str]:
    last = {record.key.encode(): record for record in log}
    states = {key: record.value for key, record in last.items() if record.value is not None}
    found = {key: value for key, value in content.items() if not key.startswith(_INTERNAL)}
    if found != states:
        wrong = [key for key in found.keys() | states if found.get(key) != states.get(key)]
        yield f"store {name}: {len(wrong)} states are not those of the log, such as {min(wrong)!r}"
    timers = {_timer(key, last[key]) for key in states}
    if missing := timers - content.keys():
        yield f"store {name}: {len(missing)} timers are missing, such as {min(missing)!r}"


def _timer(key: bytes, record: Read) -> bytes:
    return _TIMER + int(record.headers[NEXT_TIMER]).to_bytes(8) + key


def _content(directory: Path) -> Content | None:
    """Return the content of a store; None if it cannot be read, as the next owner will find too."""
    options = Options(raw_mode=True)
    try:
        store: Any = Rdict(str(directory), options=options, access_type=AccessType.read_only())
        try:
            return dict(store.items())
        finally:
            store.close()
    except Exception:  # noqa: BLE001 - rocksdict raises no other class
        return None
