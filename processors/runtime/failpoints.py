"""Failpoints: named places where a fault test kills or stops the process.

`BLUETICK_FAILPOINT=<point>=<action>@<n>` acts when the point is reached for the n-th time (from 1,
the default). `kill` sends SIGKILL, as in a crash. `stop` sends SIGSTOP: the process stops, with its
connections open, until it gets SIGCONT. Without the setting, a point costs one comparison a batch.
"""

import asyncio
import os
import re
import signal

from service.errors import Problem

POINTS = (
    "track.after_fencing",  # the producer has started; the committed offset is not read yet
    "track.during_restore",  # some of the changelog is in the store
    "track.before_begin",
    "track.after_first_send",  # one of several batches is acknowledged
    "track.after_sends",  # all batches are acknowledged, the offset is not sent
    "track.after_offsets",  # the last moment before the commit
    "track.during_commit",  # the commit is sent, its response has not arrived
    "track.after_commit",  # the store is not written yet
    "track.after_store_write",
    "track.during_revoke",  # the group waits for this worker to release its partitions
    "measure.after_fencing",  # those of measure are at the same places of its transactions
    "measure.during_restore",
    "measure.before_begin",
    "measure.after_first_send",
    "measure.after_sends",
    "measure.after_offsets",
    "measure.during_commit",
    "measure.after_commit",
    "measure.after_store_write",
    "measure.during_revoke",
    "normalise.after_first_send",
    "normalise.before_commit",  # all is acknowledged, the offsets are not committed
    "normalise.after_commit",
    "retry.before_markers",  # observations are acknowledged, their dead letters still open
    "replay.after_send",  # one of several batches is acknowledged
    "replay.before_commit",  # all is acknowledged, the progress is not recorded
    "archive.before_rename",  # a file is complete, and does not have its final name yet
    "archive.before_manifest",  # all files are complete, the manifest is not written
)

_SIGNALS = {"kill": signal.SIGKILL, "stop": signal.SIGSTOP}
_SHAPE = re.compile(r"(?P<point>[a-z._]+)=(?P<action>kill|stop)(@(?P<nth>[1-9]\d{0,5}))?")
# Long enough to write a request, too short for Kafka's response.
_UNDER_WAY_SECONDS = 0.001

_point = ""
_signal = signal.SIGKILL
_left = 0


def arm(text: str | None) -> None:
    """Arm the failpoint that a setting names; None disarms. Raises `Problem` if it is invalid."""
    global _point, _signal, _left  # noqa: PLW0603 - a property of the process
    _point = ""
    if not text:
        return
    match = _SHAPE.fullmatch(text)
    if not match or match["point"] not in POINTS:
        raise Problem("failpoint_invalid", text=text, points=POINTS)
    _point, _signal, _left = match["point"], _SIGNALS[match["action"]], int(match["nth"] or 1)


def armed(point: str) -> bool:
    """Whether this point is armed; for places that need extra work to be reached."""
    return bool(_point) and point == _point


def reach(point: str) -> None:
    """Pass a point: act if it is armed and this is the n-th time."""
    global _left  # noqa: PLW0603
    if point != _point:
        return
    _left -= 1
    if _left == 0:
        os.kill(os.getpid(), _signal)


def pass_soon(point: str) -> None:
    """Pass a point after a moment, while a request that is sent now is under way."""
    if armed(point):
        asyncio.get_running_loop().call_later(_UNDER_WAY_SECONDS, reach, point)
