"""Failpoints: named places where a fault test makes the process die or stand still.

`BLUETICK_FAILPOINT=<point>=<action>@<n>` does it when the point is reached for the n-th time (from
1, the default). `kill` is SIGKILL, as an accident would; `stop` is SIGSTOP: the process stands, its
connections open, until somebody sends SIGCONT. Unset, a point is one comparison a batch.
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
    "track.after_first_send",  # of several batches one is acknowledged
    "track.after_sends",  # all are, the offset is not sent
    "track.after_offsets",  # the last moment before the commit
    "track.during_commit",  # the commit is on its way, its answer is not here
    "track.after_commit",  # the store does not know yet
    "track.after_store_write",
    "track.during_revoke",  # the group waits for this worker to let go
    "normalise.after_first_send",
    "normalise.before_commit",  # all is acknowledged, the offsets are not committed
    "normalise.after_commit",
    "retry.before_markers",  # observations are acknowledged, their dead letters still open
    "replay.after_send",  # of several batches one is acknowledged
    "replay.before_commit",  # all is acknowledged, the progress is not recorded
    "archive.before_rename",  # a file is whole, and does not have its name yet
    "archive.before_manifest",  # all files are, nothing says so
)

_SIGNALS = {"kill": signal.SIGKILL, "stop": signal.SIGSTOP}
_SHAPE = re.compile(r"(?P<point>[a-z._]+)=(?P<action>kill|stop)(@(?P<nth>[1-9]\d{0,5}))?")
# Long enough for a request to be written, too short for Kafka's answer to it.
_UNDER_WAY_SECONDS = 0.001

_point = ""
_signal = signal.SIGKILL
_left = 0


def arm(text: str | None) -> None:
    """Arm what a setting names; None disarms. Raises `Problem` for what is no failpoint."""
    global _point, _signal, _left  # noqa: PLW0603 - a property of the process
    _point = ""
    if not text:
        return
    match = _SHAPE.fullmatch(text)
    if not match or match["point"] not in POINTS:
        raise Problem("failpoint_invalid", text=text, points=POINTS)
    _point, _signal, _left = match["point"], _SIGNALS[match["action"]], int(match["nth"] or 1)


def armed(point: str) -> bool:
    """Whether this point is armed: for places where getting there takes something extra."""
    return bool(_point) and point == _point


def reach(point: str) -> None:
    """Be at a point: nothing happens unless it is armed and this is the time."""
    global _left  # noqa: PLW0603
    if point != _point:
        return
    _left -= 1
    if _left == 0:
        os.kill(os.getpid(), _signal)


def pass_soon(point: str) -> None:
    """Be at a point in a moment, while what is begun now is under way."""
    if armed(point):
        asyncio.get_running_loop().call_later(_UNDER_WAY_SECONDS, reach, point)
