"""The log lines about the spool: when and why it is used, and how full it is. Pure."""

from ingest.health import Spooled
from ingest.spool.quota import Held

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

    def stored(self, why: str) -> str | None:
        """A webhook went to the spool for this reason, or the next one will."""
        if why == self.why:
            return None
        self.why, self._draining = why, False
        return f"webhooks go to the spool: {why}"

    def acknowledged(self, held: Held) -> str | None:
        """Kafka acknowledged bodies of the spool; `held` are the remaining ones."""
        self.why = None
        if not held.bodies:
            self._draining = False
            return "the spool is empty again"
        if self._draining:
            return None
        self._draining = True
        return f"the spool drains to Kafka: {held.bodies} bodies, {held.bytes} bytes are left"

    def unused(self) -> str | None:
        """The spool is empty, and Kafka acknowledges webhooks."""
        if self.why is None:
            return None
        self.why = None
        return "webhooks go to Kafka again"

    def filled(self, fill: Spooled) -> list[str]:
        """Return a warning for each bound of which the spool has reached a higher level."""
        used = {
            f"{fill.bytes} bytes of {fill.max_bytes} (BLUETICK_SPOOL_MAX_BYTES)": fill.size_share,
            f"its first body has waited {fill.oldest_age_seconds:.0f} s of "
            f"{fill.max_age_seconds:.0f} (BLUETICK_SPOOL_MAX_AGE)": fill.age_share,
        }
        before, self._reached = self._reached, [_reached(share) for share in used.values()]
        return [
            f"the spool has reached {_LEVELS[now - 1]:.0%} of a bound: {what}; past the bound "
            "webhooks get 503; restore Kafka, or raise the bound"
            for what, was, now in zip(used, before, self._reached, strict=True)
            if now > was
        ]


def _reached(share: float) -> int:
    """Return how many of the levels a share has reached."""
    return sum(share >= level for level in _LEVELS)
