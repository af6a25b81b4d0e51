"""Body benchmark: CPU time to normalise a body, by decompressed byte, and the longest step."""

import time
import zlib
from collections.abc import Callable
from functools import partial
from typing import NamedTuple

from bench.figures import Report
from bench.hostile import HOSTILE, ORDINARY, Sent
from processors.normalising.decompression import MAX_INFLATED
from processors.normalising.webhook_to_observations import USUAL, normalise, normalised
from schemas.coordinates import Coordinates

TIMES = 3
_AT = Coordinates("bench.raw", 0, 0)
_REPEATED = 1000

# The limits of one body: CPU time, and the time that it blocks the event loop.
_BUDGET_MS = 250
_STALL_MS = 100

# The cost of a smaller body depends on its items, which are bounded, not on its bytes.
_LARGE = 512 * 1024


class Cost(NamedTuple):
    """CPU time of one body in seconds: in total, and of its longest step."""

    size: int
    whole: float
    step: float

    @property
    def a_byte(self) -> float:
        """Nanoseconds by decompressed byte."""
        return 1e9 * self.whole / self.size


def work(times: int = TIMES) -> list[Report]:
    """Measure every body `times` times; the fastest run counts."""
    return [
        _measured("ordinary", ORDINARY, times),
        _usual(times),
        _measured("hostile", HOSTILE, times),
    ]


def _usual(times: int) -> Report:
    """Compare the two readers of small bodies, in turn; the fastest run of each counts."""
    report = Report("work", "usual bodies, by either reader (decision 35)")
    for name in ("one report", "one receipt"):
        webhook = ORDINARY[name]().received()
        readers: dict[str, Callable[[], object]] = {
            "in one pass": partial(USUAL[webhook.provider], webhook, _AT, None),
            "item by item": partial(normalise, webhook, _AT),
        }
        found = {way: float("inf") for way in readers}
        for _ in range(times):
            for way, reader in readers.items():
                began = time.thread_time()
                for _ in range(_REPEATED):
                    reader()
                found[way] = min(found[way], (time.thread_time() - began) / _REPEATED)
        for way, seconds in found.items():
            report.add(f"{name}: {way}", 1e6 * seconds, "µs")
    return report


def _measured(kind: str, bodies: dict[str, Callable[[], Sent]], times: int) -> Report:
    report = Report("work", kind)
    costs = {name: cost(make(), times) for name, make in bodies.items()}
    for name, one in costs.items():
        report.add(f"{name}: a body", 1e3 * one.whole, "ms", most=_BUDGET_MS)
        report.add(f"{name}: of {one.size:,} bytes", one.a_byte, "ns a byte")
    longest = max(costs, key=lambda name: costs[name].step)
    report.add(f"longest step: {longest}", 1e3 * costs[longest].step, "ms", most=_STALL_MS)
    large = {name: one for name, one in costs.items() if one.size >= _LARGE}
    costliest = max(large, key=lambda name: large[name].a_byte)
    report.add(
        f"most expensive byte of a large body: {costliest}", large[costliest].a_byte, "ns a byte"
    )
    return report


def cost(sent: Sent, times: int = TIMES) -> Cost:
    """Return the cost of a body, the fastest of `times` runs."""
    webhook = sent.received()
    found = []
    for _ in range(times):
        steps, whole, longest = normalised(webhook, _AT), 0.0, 0.0
        ended = False
        while not ended:
            began = time.thread_time()
            ended = next(steps, _END) is _END
            spent = time.thread_time() - began
            whole, longest = whole + spent, max(longest, spent)
        found.append((whole, longest))
    return Cost(_size(sent), min(it[0] for it in found), min(it[1] for it in found))


_END = object()


def _size(sent: Sent) -> int:
    """Return the decompressed size of a body, up to the bound."""
    if sent.encoding != "gzip":
        return len(sent.body)
    size, rest = 0, sent.body
    while rest and size < MAX_INFLATED:
        inflater = zlib.decompressobj(16 + zlib.MAX_WBITS)
        size += len(inflater.decompress(rest, MAX_INFLATED))
        rest = inflater.unused_data
    return max(len(sent.body), size)
