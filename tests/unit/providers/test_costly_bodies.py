"""Bodies made to cost much: what becomes of each, and that the work is linear, by counting it."""

import zlib
from collections.abc import Callable, Generator
from random import Random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.hostile import HOSTILE, ORDINARY, Sent, report, zipped
from processors.normalising import decompression
from processors.normalising.accounts import UNCORRECTED
from processors.normalising.decompression import MAX_MEMBERS, SLICE, inflated
from processors.normalising.webhook_to_observations import begun, normalise, normalised
from providers import json_slices
from providers.contract import Normalised
from providers.json_slices import UNBOUNDED, USUAL, Bounds
from providers.pausable_work import finished
from providers.rejection import Refused
from schemas.topics import MAX_BODY
from tests.unit.webhooks import AT

# The codes of a body's dead letters; what is not here has none.
CODES = {
    "16 gzip members": {"not_json"},
    "17 gzip members": {"bad_encoding"},
    "1 000 gzip members, 10 MB": {"bad_encoding"},
    "40 000 empty gzip members": {"bad_encoding"},
    "deflate blocks without content": {"bad_encoding"},
    "gzip bomb": {"bad_encoding"},
    "gzip bomb at the ratio": {"wrong_type"},
    "10 000 items, the last NaN": {"missing_field", "too_many_bad_items"},
    "10 000 tiny items": {"missing_field", "too_many_bad_items"},
    "10 000 tiny receipts": {"missing_field", "too_many_bad_items"},
    "500 000 tiny items": {"too_costly"},
    "brackets 64 deep": {"too_costly"},
    "brackets that never close": {"too_costly"},
    "brackets, 10 MB": {"too_costly"},
    "a string of quotes, 10 MB": {"wrong_type", "too_costly"},
    "a string that never ends": {"not_json"},
    "a key 50 000 times": {"duplicate_key"},
    "a key as often as the bound allows": {"duplicate_key"},
    "a key 600 000 times": {"too_costly"},
    "two items at the bound": {"wrong_type", "duplicate_key"},
    "90 000 members": {"too_many_items"},
    "90 000 members, one NaN": {"too_many_items"},
    "arrays of items under many keys": {"too_costly"},
    "numbers of 4 000 digits, 10 MB": {"too_costly"},
    "fractions of 4 000 digits, 10 MB": {"too_costly"},
    "not UTF-8 at the end, 10 MB": {"not_utf8"},
}
_BOUNDED = 11_000
"""The steps of a body: an item each, and a few hundred to inflate and measure it."""


@pytest.mark.parametrize("name", [*ORDINARY, *HOSTILE])
def test_what_becomes_of_a_body(name: str) -> None:
    """It fits what ingest takes, ends in few steps, and each replay gives the same."""
    sent = {**ORDINARY, **HOSTILE}[name]()
    assert len(sent.body) <= MAX_BODY
    steps, count = normalised(sent.received(), AT), 0
    try:
        while True:
            next(steps)
            count += 1
    except StopIteration as end:
        result = end.value
    assert count <= _BOUNDED
    assert {letter.code for letter in result.dead_letters} == CODES.get(name, set())
    assert normalise(sent.received(), AT) == result


def test_a_retry_reads_what_was_too_costly() -> None:
    """The bounds are those of the live normaliser; all else about the body is judged as ever."""
    values = b'[{"message_id":"m","gateway":"sms","result":"sent","payload":[' + b"1e1," * 100_001
    sent = Sent("smsmanager", values + b"0]}," + report(1) + b"]").received()
    live = normalise(sent, AT)
    assert [(one.code, one.pointer) for one in live.dead_letters] == [("too_costly", "/0")]
    assert len(live.observations) == 1
    assert len(normalise(sent, AT, UNBOUNDED).observations) == 2


def text(containers: int, commas: int, strings: int) -> bytes:
    """Return a body with n arrays, commas and strings in one item."""
    inner = b"[]" * containers + b"," * commas + b'""' * strings
    return b"[" + b"[" * 65 + inner + b"]" * 65 + b"]"


@pytest.mark.parametrize(
    ("containers", "commas", "code"),
    [(34, 0, "too_deep"), (35, 0, "too_costly"), (34, 100, "too_deep"), (34, 101, "too_costly")],
)
def test_the_bounds_of_a_body(containers: int, commas: int, code: str) -> None:
    """Neither one more array nor one more value."""
    bounds = Bounds(values=200, containers=100, commas=0, quotes=0, digits=0)
    with pytest.raises(Refused) as refused:
        finished(json_slices.checked(text(containers, commas, 5000), bounds))
    assert refused.value.code == code


@pytest.mark.parametrize(
    ("item", "refused"),
    [
        (b"," * 100, False),
        (b"," * 101, True),
        (b'"' * 200 + b" " * 200, False),
        (b'"' * 201 + b" " * 200, True),
        # Digits of long numbers are counted by the 400.
        (b"7" * 1199 + b" " * 200, False),
        (b"7" * 1200 + b" " * 200, True),
        ((b"7" * 399 + b" ") * 100, False),
    ],
)
def test_the_bounds_of_an_item(item: bytes, refused: bool) -> None:  # noqa: FBT001
    """Commas, quotes, and digits of long numbers."""
    bounds = Bounds(values=0, containers=0, commas=100, quotes=200, digits=1000)
    if not refused:
        json_slices.refuse_costly(item, bounds)
        return
    with pytest.raises(Refused, match="the item holds more than"):
        json_slices.refuse_costly(item, bounds)


class Counting:
    """An inflater that counts the bytes it is given and gives."""

    handled = 0

    def __init__(self, how: int) -> None:
        self._inner: Any = zlib.decompressobj(how)

    def decompress(self, piece: bytes, most: int) -> bytes:
        out: bytes = self._inner.decompress(piece, most)
        Counting.handled += len(piece) + len(out) + len(self._inner.unconsumed_tail)
        return out

    @property
    def eof(self) -> bool:
        return bool(self._inner.eof)

    @property
    def unused_data(self) -> bytes:
        Counting.handled += len(self._inner.unused_data)
        rest: bytes = self._inner.unused_data
        return rest


class _Zlib:
    """The module as `inflate` uses it."""

    decompressobj = Counting
    error = zlib.error


@pytest.fixture
def counting(monkeypatch: pytest.MonkeyPatch) -> Callable[[], int]:
    """How many bytes inflating has handled since."""
    monkeypatch.setattr(decompression, "zlib", _Zlib)
    Counting.handled = 0
    return lambda: Counting.handled


@pytest.mark.parametrize("members", [1, 2, MAX_MEMBERS, MAX_MEMBERS + 1, 1000])
@pytest.mark.parametrize("empty", [False, True])
def test_inflating_handles_each_byte_once(
    counting: Callable[[], int],
    members: int,
    empty: bool,  # noqa: FBT001
) -> None:
    """However many members there are; a slice is read again where a member ends."""
    chance = Random(1)
    first = chance.randbytes(400_000)
    # The large one comes last: what is behind a member must not be copied for each.
    packed = (zipped(b"") if empty else zipped(b"x" * 1000)) * (members - 1) + zipped(first)
    if members > MAX_MEMBERS:
        with pytest.raises(Refused, match="more than 16 gzip members"):
            finished(inflated(packed, "gzip"))
    else:
        finished(inflated(packed, "gzip"))
    # In and out once, and of each member one slice again.
    assert counting() <= len(packed) + len(first) + 1000 * MAX_MEMBERS + 2 * SLICE * MAX_MEMBERS


@given(st.lists(st.binary(max_size=2000), min_size=1, max_size=20))
def test_as_many_members_as_are_allowed(parts: list[bytes]) -> None:
    """Up to sixteen are read, and more are refused, whatever is in them."""
    packed = b"".join(map(zipped, parts))
    if len(parts) <= MAX_MEMBERS:
        assert finished(inflated(packed, "gzip")) == b"".join(parts)
        return
    with pytest.raises(Refused, match="more than 16 gzip members"):
        finished(inflated(packed, "gzip"))


def _steps(size: int) -> int:
    """Return the number of steps to measure `size` brackets of each kind."""
    measured: Generator[None, None, bytes] = json_slices.checked(
        b"[" * size + b"]" * size, UNBOUNDED
    )
    count = 0
    try:
        while True:
            next(measured)
            count += 1
    except Refused:
        return count


def test_measuring_is_cut_into_steps() -> None:
    """A step takes fixed numbers of brackets or strings, and the number of steps is linear."""
    assert _steps(200_000) < _steps(2_000_000) <= 10 * _steps(200_000)
    strings = b"[" * 65 + b'"a"' * 50_000 + b"]" * 65
    with pytest.raises(Refused, match="nested deeper"):
        finished(json_slices.checked(strings, USUAL))
    assert len(list(json_slices._pieces(strings))) == 51


def _items(count: int, size: int) -> bytes:
    """Return `count` items of `size` bytes each, with the comma after them."""
    return b"[" + b",".join([b"7" * (size - 1)] * count) + b"]"


@pytest.mark.parametrize("provider", ["smsmanager", "whapi", "unknown"])
@pytest.mark.parametrize(
    ("sent", "at_once"),
    [
        (_items(100, 40), True),
        (_items(2047, 2) + b" ", True),  # 4 096 bytes
        (_items(2047, 2) + b"  ", False),
        (b"[" * 2048 + b"]" * 2048, True),
        (b"", True),
    ],
)
def test_a_small_body_is_done_at_once(provider: str, sent: bytes, at_once: bool) -> None:  # noqa: FBT001
    """It gives what the steps give; a larger or compressed one is left to the caller's pace."""
    for encoding in ("", "gzip"):
        body_sent = zipped(sent) if encoding else sent
        webhook = Sent(provider, body_sent, encoding).received()
        made = begun(webhook, AT, USUAL, UNCORRECTED)
        assert isinstance(made, Normalised) == (at_once and not encoding)
        result = made if isinstance(made, Normalised) else finished(made)
        assert result == normalise(webhook, AT)


def test_small_items_share_a_step() -> None:
    """A step takes items of 4 KiB together, so a body of tiny ones has few."""
    webhook = Sent("smsmanager", _items(10_000, 2), "").received()
    steps = sum(1 for _ in normalised(webhook, AT))
    assert 4 <= steps <= 10
    webhook = Sent("smsmanager", _items(100, 5000), "").received()
    assert sum(1 for _ in normalised(webhook, AT)) >= 100
