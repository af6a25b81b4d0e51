"""The statuses in groups, and their ranks within an attempt and among attempts. Pure."""

from schemas.records import Status

ASIDE: tuple[Status, ...] = ("unknown", "deleted")
UNDERWAY: tuple[Status, ...] = ("queued", "sending", "sent")
FAILURES: tuple[Status, ...] = ("expired", "undelivered", "failed", "rejected")
REACHED: tuple[Status, ...] = ("delivered", "read", "played")

# Within one attempt a failure ranks above the statuses under way, and below delivery.
ATTEMPT_RANK = {s: rank for rank, s in enumerate((*ASIDE, *UNDERWAY, *FAILURES, *REACHED))}
# Among attempts, one under way ranks above a failed one.
MESSAGE_RANK = {s: rank for rank, s in enumerate((*ASIDE, *FAILURES, *UNDERWAY, *REACHED))}
