"""What bodies cost to normalise: the processor's time by inflated byte, and the longest step."""

import time
import zlib
from collections.abc import Callable
from typing import NamedTuple

from bench.figures import Report
from bench.hostile import HOSTILE, ORDINARY, Sent
from processors.normalising.decompression import MAX_INFLATED
from processors.normalising.normalise import normalised
from schemas.coordinates import Coordinates

TIMES = 3
_AT = Coordinates("bench.raw", 0, 0)

# What one body may cost, and how long the event loop may stand still for it.
_BUDGET_MS = 250
_STALL_MS = 100

# A smaller body's cost is that of its items, which are bounded, and not of its bytes.
_LARGE = 512 * 1024


class Cost(NamedTuple):
    """The processor's time of one body, seconds: of all of it, and of its longest step."""

    size: int
    whole: float
    step: float

    @property
    def a_byte(self) -> float:
        """Nanoseconds by inflated byte."""
        return 1e9 * self.whole / self.size


def work(times: int = TIMES) -> list[Report]:
    """Measure every body, the least of so many times."""
    return [_measured("ordinary", ORDINARY, times), _measured("hostile", HOSTILE, times)]


def _measured(kind: str, bodies: dict[str, Callable[[], Sent]], times: int) -> Report:
    report = Report("work", kind)
    costs = {name: cost(make(), times) for name, make in bodies.items()}
    for name, one in costs.items():
        report.add(f"{name}: a body", 1e3 * one.whole, "ms", most=_BUDGET_MS)
        report.add(f"{name}: of {one.size:,} bytes", one.a_byte, "ns a byte")
    longest = max(costs, key=lambda name: costs[name].step)
    report.add(f"longest step: {longest}", 1e3 * costs[longest].step, "ms", most=_STALL_MS)
    large = {name: one for name, one in costs.items() if one.size >= _LARGE}
    dearest = max(large, key=lambda name: large[name].a_byte)
    report.add(f"dearest byte of a large body: {dearest}", large[dearest].a_byte, "ns a byte")
    return report


def cost(sent: Sent, times: int = TIMES) -> Cost:
    """What a body costs, at the quickest of so many times."""
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
    """The bytes that are read of a body: what it inflates to, as far as the bounds let it."""
    if sent.encoding != "gzip":
        return len(sent.body)
    size, rest = 0, sent.body
    while rest and size < MAX_INFLATED:
        inflater = zlib.decompressobj(16 + zlib.MAX_WBITS)
        size += len(inflater.decompress(rest, MAX_INFLATED))
        rest = inflater.unused_data
    return max(len(sent.body), size)
