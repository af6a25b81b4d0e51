"""The end of a round of normalise, far below the session timeout. Pure."""

MOST_BODIES = 4096
# The bytes of a round's results: a small compressed body may have a large result.
MOST_BYTES = 16 * 1024 * 1024

_MOST_SECONDS = 1.5
_SHARE_OF_SESSION = 0.05


def longest(session: float) -> float:
    """Return the seconds of a round at most, by the session timeout in seconds."""
    return min(_MOST_SECONDS, _SHARE_OF_SESSION * session)
