"""Work cut into short steps: between two steps the caller may pause or stop. Pure."""

from collections.abc import Generator
from typing import TypeAlias, TypeVar

T = TypeVar("T")

# Yields after each step, and returns the result of the work.
Steps: TypeAlias = Generator[None, None, T]


def finished(steps: Steps[T]) -> T:
    """Take all steps at once; return the result."""
    while True:
        try:
            next(steps)
        except StopIteration as end:
            result: T = end.value
            return result
