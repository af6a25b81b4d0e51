"""The log lines about the spool: when and why it is used, and how full it is. Pure."""

from ingest.health import Spooled
from ingest.spool.quota import Held
from service.log_events import Notice, notice

# The log warns when the spool reaches these shares of a bound.
_LEVELS = (0.5, 0.9)


class Spooling:
    """Follows one spool. Each method takes an event and returns the line to log, or None."""

    def __init__(self) -> None:
        self.why: str | None = (
            None  # why webhooks go to the spool; None after Kafka has accepted a body of it
        )
        self._draining = False
        self._reached = [0, 0]

    def stored(self, why: str) -> Notice | None:
        """A webhook went to the spool for this reason, or the next one will."""
        if why == self.why:
            return None
        self.why, self._draining = why, False
        return notice("spool_used", reason=why)

    def acknowledged(self, held: Held) -> Notice | None:
        """Kafka acknowledged bodies of the spool; `held` are the remaining ones."""
        self.why = None
        if not held.bodies:
            self._draining = False
            return notice("spool_empty")
        if self._draining:
            return None
        self._draining = True
        return notice("spool_draining", bodies=held.bodies, bytes=held.bytes)

    def unused(self) -> Notice | None:
        """The spool is empty, and Kafka acknowledges webhooks."""
        if self.why is None:
            return None
        self.why = None
        return notice("spool_unused")

    def filled(self, fill: Spooled) -> list[Notice]:
        """Return a warning for each bound of which the spool has reached a higher level."""
        used = {
            f"{fill.bytes} bytes of {fill.max_bytes} (BLUETICK_SPOOL_MAX_BYTES)": fill.size_share,
            f"its first body has waited {fill.oldest_age_seconds:.0f} s of "
            f"{fill.max_age_seconds:.0f} (BLUETICK_SPOOL_MAX_AGE)": fill.age_share,
        }
        before, self._reached = self._reached, [_reached(share) for share in used.values()]
        return [
            notice("spool_filling", share=_LEVELS[now - 1], reason=what)
            for what, was, now in zip(used, before, self._reached, strict=True)
            if now > was
        ]


def _reached(share: float) -> int:
    """Return how many of the levels a share has reached."""
    return sum(share >= level for level in _LEVELS)
