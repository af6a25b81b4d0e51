"""How much a round of the normaliser takes, so that it ends far below the session timeout. Pure.

A round that could not be sent or committed is repeated with half of its bodies, down to one: so a
round that lasts too long, or that Kafka refuses, does not come again as it was.
"""

from typing import NamedTuple

MOST_BODIES = 4096
# What may come of a round's bodies: a small one that was compressed may hold much.
MOST_BYTES = 16 * 1024 * 1024

_MOST_SECONDS = 1.5
_SHARE_OF_SESSION = 0.05


class Cut(NamedTuple):
    """The bodies a round may take at most."""

    bodies: int = MOST_BODIES

    def ends(self, bodies: int, size: int, seconds: float, session: float) -> bool:
        """Whether a round of so many bodies and bytes, so many seconds old, takes no more.

        `session` is the session timeout, seconds.
        """
        return (
            bodies >= self.bodies
            or size >= MOST_BYTES
            or seconds >= min(_MOST_SECONDS, _SHARE_OF_SESSION * session)
        )

    def failed(self, bodies: int) -> "Cut":
        """The next round's cut, after one of so many bodies has to be repeated."""
        return Cut(max(1, min(self.bodies, bodies) // 2)) if bodies else self

    def succeeded(self) -> "Cut":
        """The next round's cut, after one is committed."""
        return Cut(min(MOST_BODIES, 2 * self.bodies))
