"""DDSketch: quantiles of times with a relative accuracy of 1 %, in bins that can be added. Pure.

Masson, Rim, Lee: DDSketch, a fast and fully-mergeable quantile sketch (VLDB 2019). An index `i`
stands for the times above g^(i-1) and up to g^i milliseconds. The paper's library is not used: it
has no exact form for JSON, and takes nothing away.
"""

import math
from bisect import bisect_left
from operator import itemgetter

from schemas.quality import NO_TIMES, Sketch

_ACCURACY = 0.01
_GROWTH = (1 + _ACCURACY) / (1 - _ACCURACY)
_LOG_GROWTH = math.log(_GROWTH)


def of_time(ms: int) -> Sketch:
    """Return the sketch of one time in milliseconds, at least 0."""
    return Sketch(count=1, bins=[[_index(ms), 1]]) if ms > 0 else Sketch(count=1, zeros=1)


def added(one: Sketch, other: Sketch, sign: int = 1) -> Sketch:
    """Return the sum of two sketches, or with a sign of -1 their difference; no percentiles."""
    if other is NO_TIMES:
        return one
    bins = list(one.bins)
    for index, count in other.bins:
        _add(bins, index, sign * count)
    count, zeros = one.count + sign * other.count, one.zeros + sign * other.zeros
    return Sketch(count, zeros, bins) if bins or count or zeros else NO_TIMES


def with_percentiles(sketch: Sketch) -> Sketch:
    """Return the sketch with its percentiles, in whole milliseconds; none if it is empty."""
    if sketch.count <= 0:
        return sketch
    values = [quantile(sketch, share) for share in (0.5, 0.95, 0.99)]
    return Sketch(sketch.count, sketch.zeros, sketch.bins, *values)


def quantile(sketch: Sketch, share: float) -> int | None:
    """Return the time that a share of the times do not exceed; None if there are no times."""
    if sketch.count <= 0:
        return None
    rank = share * (sketch.count - 1)
    seen, last = sketch.zeros, None
    for index, count in sketch.bins:
        if seen > rank:
            break
        seen, last = seen + count, index
    return 0 if last is None else round(2 * _GROWTH**last / (_GROWTH + 1))


def _add(bins: list[list[int]], index: int, count: int) -> None:
    """Add a count to the bin of an index; a bin that becomes empty is removed."""
    at = bisect_left(bins, index, key=itemgetter(0))
    if at == len(bins) or bins[at][0] != index:
        bins.insert(at, [index, count])
    elif total := bins[at][1] + count:
        bins[at] = [index, total]
    else:
        del bins[at]


def _index(ms: int) -> int:
    return math.ceil(math.log(ms) / _LOG_GROWTH)
