"""The end of a round of normalise, far below the session timeout. Pure."""

MOST_BODIES = 4096
# The bytes of a round's results: a small compressed body may have a large result.
MOST_BYTES = 16 * 1024 * 1024

_MOST_SECONDS = 0.5
# Usual bodies that arrive meanwhile are delayed by a round of large ones, and by its last body.
_MOST_SECONDS_LARGE = 0.2
_SHARE_OF_SESSION = 0.05


def longest(session: float, *, large: bool) -> float:
    """Return the seconds of a round at most; `session` is the session timeout in seconds.

    `large`: it is a round of the bodies that waited for the others.
    """
    return min(_MOST_SECONDS_LARGE if large else _MOST_SECONDS, _SHARE_OF_SESSION * session)
