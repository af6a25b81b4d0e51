"""Work cut into short steps: between two of them the caller may pause or give up. Pure."""

from collections.abc import Generator
from typing import TypeAlias, TypeVar

T = TypeVar("T")

# Yields after each step, and returns what the work comes to.
Steps: TypeAlias = Generator[None, None, T]


def finished(steps: Steps[T]) -> T:
    """Take all steps at once."""
    while True:
        try:
            next(steps)
        except StopIteration as end:
            result: T = end.value
            return result
