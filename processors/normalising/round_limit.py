"""When a round of the normaliser ends, far below the session timeout. Pure."""

MOST_BODIES = 4096
# What may come of a round's bodies: a small one that was compressed may hold much.
MOST_BYTES = 16 * 1024 * 1024

_MOST_SECONDS = 1.5
_SHARE_OF_SESSION = 0.05


def full(size: int, seconds: float, session: float) -> bool:
    """Whether a round of so many bytes, so many seconds old, takes no more.

    `session` is the session timeout, seconds.
    """
    return size >= MOST_BYTES or seconds >= min(_MOST_SECONDS, _SHARE_OF_SESSION * session)
