"""Ages and durations for people. Pure."""


def age_text(seconds: float) -> str:
    """Return a duration in the largest unit of which there are at least two: `3 h`."""
    for unit, size in (("d", 86_400), ("h", 3600), ("min", 60)):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds:.0f} s"
