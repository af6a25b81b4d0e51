"""Contents from the poorest to the richest, and what decides between two that say as much."""

from itertools import pairwise
from typing import Any

import pytest

from schemas.content_rank import PLACEHOLDERS, rank_of

LADDER: list[dict[str, Any]] = [
    {"type": "unknown"},
    {"type": "unknown", "text": "waiting for this message", "link": "https://x.example"},
    {"type": "image"},
    {"type": "image", "mime_type": "image/png"},
    {"type": "image", "mime_type": "image/png", "filename": "a.png"},
    {"type": "image", "link": "https://x.example/1"},
    {"type": "image", "mime_type": "image/png", "link": "https://x.example/1"},
    {"type": "image", "caption": "a"},
    {"type": "text", "text": "a", "title": "b"},
    {"type": "image", "caption": "a", "link": "https://x.example/1"},
]


@pytest.mark.parametrize(("poorer", "richer"), [*pairwise(LADDER)])
def test_the_richer_content_ranks_higher(poorer: Any, richer: Any) -> None:
    """Whatever the times are."""
    assert rank_of(poorer, 9) < rank_of(richer, 1)
    assert rank_of(poorer, 1) < rank_of(richer, 9)


@pytest.mark.parametrize("kind", sorted(PLACEHOLDERS | {"UNKNOWN"}))
def test_a_placeholder_is_the_poorest(kind: str) -> None:
    """Also as the newest edit, and however its type is spelt."""
    assert rank_of({"type": kind}, 9, edited_at=9) < rank_of({"type": "text"}, 1)


def test_an_edit_outranks_what_it_replaces() -> None:
    """A shorter text by a later edit wins; of two edits the later does."""
    long = {"type": "text", "text": "a", "title": "b"}
    short = {"type": "text", "text": "a"}
    assert rank_of(long, 1) < rank_of(short, 2, edited_at=2)
    assert rank_of(long, 2, edited_at=2) < rank_of(short, 3, edited_at=3)


def test_the_time_decides_between_equals_then_the_digest() -> None:
    """So the order is total: two contents are of one rank only if they are one."""
    a, b = {"type": "text", "text": "a"}, {"type": "text", "text": "b"}
    assert rank_of(a, 1) < rank_of(b, 2) < rank_of(a, 3)
    assert rank_of(a, 1) != rank_of(b, 1)
    assert rank_of(a, 1) == rank_of(dict(reversed(a.items())), 1)


def test_empty_fields_say_nothing() -> None:
    """An empty text is no text."""
    bare = rank_of({"type": "text"}, 1)
    empty = rank_of({"type": "text", "text": "", "options": []}, 1)
    assert (empty.grade, empty.fields) == (bare.grade, bare.fields)
