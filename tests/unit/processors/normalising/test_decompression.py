"""Compressed bodies: inflated if the encoding is right, otherwise dead letters, unchanged."""

import gzip
import zlib
from itertools import pairwise
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from processors.normalising.decompression import FLOOR, MAX_INFLATED, MAX_MEMBERS, inflated
from providers.pausable_work import finished
from providers.rejection import Refused
from schemas.topics import MAX_BODY
from tests.unit.webhooks import outcome, result_of

ITEM = b'{"message_id":"m","gateway":"sms","timestamp":1,"result":"sent"}'
BODY = b"[" + ITEM + b"]"


def zipped(data: bytes) -> bytes:
    """Return the same bytes at each run: they are part of test names."""
    return gzip.compress(data, mtime=0)


GZIP = zipped(BODY)
RAW = zlib.compress(BODY, wbits=-15)
EMPTY = zipped(b"")

GOOD = [
    ("", BODY),
    ("identity", BODY),
    ("gzip", GZIP),
    ("GZIP", GZIP),
    ("x-gzip", GZIP),
    ("identity, gzip", GZIP),
    ("gzip", zipped(BODY[:9]) + EMPTY + zipped(BODY[9:])),
    ("deflate", zlib.compress(BODY)),
    ("deflate", RAW),
]

BAD = [
    ("gzip", BODY),
    ("gzip", b""),
    ("gzip", GZIP[:-1]),
    ("gzip", GZIP[:10]),
    ("gzip", GZIP + b"x"),
    ("gzip", GZIP + bytes(8)),
    ("gzip", GZIP + GZIP[:-1]),
    ("gzip", GZIP[:-8] + bytes(8)),
    ("gzip", zlib.compress(BODY)),
    ("gzip", EMPTY * (MAX_MEMBERS + 1)),
    ("gzip", zipped(bytes(FLOOR + 1))),
    ("gzip", zipped(bytes(FLOOR)) + zipped(b"1")),
    ("gzip, gzip", zipped(GZIP)),
    ("gzip, deflate", GZIP),
    ("deflate", BODY),
    ("deflate", GZIP),
    ("deflate", zlib.compress(BODY)[:-1]),
    ("deflate", zlib.compress(BODY) + b"x"),
    ("deflate", RAW[:-1]),
    ("deflate", RAW + b"x"),
    ("br", BODY),
    ("chunked", BODY),
]


@pytest.mark.parametrize(("encoding", "body"), GOOD)
def test_a_correctly_compressed_body_is_read(encoding: str, body: bytes) -> None:
    """Each encoding gives the same observation."""
    result = result_of("smsmanager", body, headers={"content-encoding": encoding})
    assert outcome(result) == outcome(result_of("smsmanager", BODY))


@pytest.mark.parametrize(("encoding", "body"), BAD)
def test_an_invalid_encoding_is_a_dead_letter(encoding: str, body: bytes) -> None:
    """It has the code `bad_encoding`, and the body verbatim."""
    result = result_of("smsmanager", body, headers={"content-encoding": encoding})
    [letter] = result.dead_letters
    assert (letter.code, letter.value, letter.pointer) == ("bad_encoding", body, "")
    assert not result.observations


def test_a_body_compressed_twice_is_a_dead_letter() -> None:
    """The header names one encoding of two: the decoded body is not text."""
    result = result_of("smsmanager", zipped(GZIP), headers={"content-encoding": "gzip"})
    assert outcome(result)[1] == [("not_utf8", "")]


SIZES = [
    # inflated size, compressible bytes of it, whether it is read
    (FLOOR, FLOOR, True),
    (FLOOR + 1, FLOOR + 1, False),
    (2 * FLOOR, 2 * FLOOR - 40_000, True),
    (2 * FLOOR, 2 * FLOOR - 10_000, False),
    (MAX_INFLATED, FLOOR, True),
    (MAX_INFLATED + 1, FLOOR, False),
]


@pytest.mark.parametrize(("size", "empty", "good"), SIZES)
def test_a_bomb_is_detected_by_ratio_and_size(size: int, empty: int, good: bool) -> None:  # noqa: FBT001
    """A ratio of 100 is allowed above the floor, up to the maximum size."""
    chance = Random(1)
    body = zipped(bytes(empty)) + zipped(chance.randbytes(size - empty))
    assert _inflates(body) == good


def _inflates(body: bytes) -> bool:
    try:
        finished(inflated(body, "gzip"))
    except Refused:
        return False
    return True


def test_an_item_too_large_for_a_dead_letter_is_kept_as_the_body() -> None:
    """An inflated item may be larger than any body; the compressed body always fits."""
    long = Random(1).randbytes(MAX_BODY).hex().encode()
    body = zipped(b"[" + ITEM + b',{"message_id":"n","payload":"' + long[:MAX_BODY] + b'"}]')
    result = result_of("smsmanager", body, headers={"content-encoding": "gzip"})
    assert outcome(result) == (1, [("missing_field", "/1")], {})
    assert result.dead_letters[0].value == body


@given(st.binary(max_size=300), st.lists(st.integers(0, 300), max_size=3))
def test_any_bytes_come_back(body: bytes, cuts: list[int]) -> None:
    """Any bytes, compressed in up to 16 members, are restored."""
    edges = [0, *sorted(cuts), len(body)]
    members = [zipped(body[a:b]) for a, b in pairwise(edges)]
    assert finished(inflated(b"".join(members), "gzip")) == body
    assert finished(inflated(zlib.compress(body), "deflate")) == body


@given(st.binary(max_size=200), st.sampled_from(["gzip", "deflate", "gzip,gzip", "br"]))
def test_no_bytes_do_harm(body: bytes, encoding: str) -> None:
    """Any bytes give a result or a dead letter: no unexpected error."""
    result = result_of("smsmanager", body, headers={"content-encoding": encoding})
    assert not [letter for letter in result.dead_letters if letter.code == "internal_error"]
