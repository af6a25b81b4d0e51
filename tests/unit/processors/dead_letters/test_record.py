"""Dead letters: their records, open and resolved ones, retries, causes and shapes."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cli.dead_letters.causes import Selection, grouped, place, place_of
from cli.output.records import Record
from cli.output.redaction import shape
from processors.dead_letters import record as deadletters
from processors.dead_letters.record import Entry, Identity, Ledger, headers, marker, read
from processors.normalising.webhook_to_observations import SPLITS
from processors.replay.retry_outcome import outcome_of
from providers.contract import DeadLetter, Normalised, Part
from schemas.coordinates import Coordinates
from service.errors import Problem
from tests.unit.webhooks import AT, result_of

RAW = Coordinates("bluetick.raw.whapi", 3, 120)
HERE = Coordinates("bluetick.dead-letters", 3, 7)
LETTER = DeadLetter(code="bad_value", reason="`x` is 5", value=b"{}", pointer="/3", exception="E")


def record(headers: deadletters.Headers, *, timestamp: int, value: bytes | None) -> Record:
    return Record(*HERE, timestamp, None, headers, value)


def test_a_dead_letter_is_read_as_it_was_written() -> None:
    """Origin, code, pointer and reason are read back, in spite of forged headers."""
    own = [("ce_id", b"1"), (deadletters.CODE, b"forged"), (deadletters.TOPIC, b"elsewhere")]
    entry = read(record(headers(LETTER, RAW, 5, own), timestamp=9, value=b""))
    assert entry == Entry(HERE, 9, Identity.of_body(RAW, "/3", "bad_value"), "`x` is 5", None)


def test_headers_have_the_names_of_kafka_streams() -> None:
    """They are headers of KIP-1034, as text, and Bluetick's own."""
    written = dict(headers(LETTER, RAW, 5, ()))
    assert written == {
        "__streams.errors.exception": b"E",
        "__streams.errors.message": b"`x` is 5",
        "__streams.errors.topic": b"bluetick.raw.whapi",
        "__streams.errors.partition": b"3",
        "__streams.errors.offset": b"120",
        "dead-letter-code": b"bad_value",
        "dead-letter-pointer": b"/3",
        "dead-letter-timestamp": b"5",
    }


def test_an_internal_error_has_its_innermost_calls(monkeypatch: pytest.MonkeyPatch) -> None:
    """The error's own text is left out: it may quote personal data."""

    def careless(_: object) -> Any:
        return int("Ann 420777123456")

    def split(*_: object) -> list[Part]:
        return [Part("/0", b"1", careless)]

    monkeypatch.setitem(SPLITS, "whapi", split)
    [letter] = result_of("whapi", b"[1]").dead_letters
    written = dict(headers(letter, AT, 1, ()))
    assert written["__streams.errors.exception"] == b"builtins.ValueError"
    trace = written["__streams.errors.stacktrace"].decode()
    assert trace.splitlines()[0].startswith(
        "processors.normalising.webhook_to_observations.normalised:"
    )
    assert ".careless:" in trace.splitlines()[-1]
    assert "420777" not in repr(letter)


def test_a_refusal_has_no_stacktrace() -> None:
    """The body is the cause, not the code."""
    [letter] = result_of("whapi", b"no").dead_letters
    assert (letter.exception, letter.stacktrace) == ("providers.rejection.Refused", "")


@pytest.mark.parametrize(
    "written",
    [
        [],
        [("x", b"y")],
        [(deadletters.TOPIC, b"t"), (deadletters.PARTITION, b"1")],
        [(deadletters.TOPIC, b"t"), (deadletters.PARTITION, b"1"), (deadletters.OFFSET, b"-1")],
        [
            (deadletters.TOPIC, b"t"),
            (deadletters.PARTITION, b"1"),
            (deadletters.OFFSET, b"9" * 5000),
        ],
    ],
)
def test_other_records_are_not_entries(written: list[tuple[str, bytes]]) -> None:
    """Any record on the topic can be read."""
    assert read(record(written, timestamp=1, value=b"")) is None


def test_a_marker_has_no_value() -> None:
    """The header on a record with a value resolves nothing."""
    written = marker(Identity.of_body(RAW, "/3", "bad_value"), "r1")
    real, forged = (
        read(record(written, timestamp=1, value=None if empty else b"")) for empty in (True, False)
    )
    assert real
    assert real.resolved == "r1"
    assert forged
    assert forged.resolved is None


def entry(number: int, offset: int, resolved: str | None = None, **fields: Any) -> Entry:
    """Return an entry at an offset of the topic, for the dead letter of a number."""
    raw = Coordinates("bluetick.raw.whapi", 0, number)
    values: dict[str, Any] = {"timestamp": offset, "reason": "r", "code": "bad_value"} | fields
    at = Coordinates("bluetick.dead-letters", 0, offset)
    letter = Identity.of_body(raw, "", values["code"])
    return Entry(at, values["timestamp"], letter, values["reason"], resolved)


@pytest.mark.parametrize(
    ("steps", "expected"),
    [
        ("L", "open"),
        ("LL", "open"),
        ("LM", "resolved"),
        ("LMM", "resolved"),
        ("LML", "open"),
        ("LMLM", "resolved"),
        ("M", "nothing"),
        ("ML", "open"),
    ],
)
def test_open_and_resolved_dead_letters(steps: str, expected: str) -> None:
    """A marker resolves earlier records; a later record opens the dead letter again."""
    entries = [entry(1, n, "r1" if step == "M" else None) for n, step in enumerate(steps)]
    standing = ["open" if kept.resolved is None else "resolved" for kept in Ledger(entries)]
    assert standing == [name for name in [expected] if name != "nothing"]


@given(st.lists(st.tuples(st.integers(0, 3), st.booleans()), max_size=12), st.data())
def test_partitions_may_be_mixed(steps: list[tuple[int, bool]], data: st.DataObject) -> None:
    """Only the order of a dead letter's own records matters."""
    entries = [entry(n, at, "r" if resolves else None) for at, (n, resolves) in enumerate(steps)]
    mixed = data.draw(st.permutations(entries))
    places = sorted(range(len(mixed)), key=lambda at: mixed[at].letter)
    for number in range(4):
        own = [one for one in entries if one.letter.raw.offset == number]
        for at, one in zip(
            sorted(at for at in places if mixed[at].letter.raw.offset == number), own, strict=True
        ):
            mixed[at] = one
    assert _standing(entries) == _standing(mixed)


def _standing(entries: list[Entry]) -> dict[Identity, str | None]:
    return {kept.entry.letter: kept.resolved for kept in Ledger(entries)}


def today(*letters: tuple[str, str]) -> Normalised:
    """Return a result of today's code with dead letters of (pointer, code)."""
    made: Any = [DeadLetter(code=code, reason="", value=b"", pointer=p) for p, code in letters]  # type: ignore[arg-type]
    return Normalised(dead_letters=made)


@pytest.mark.parametrize(
    ("known", "now", "marked", "new", "resolved"),
    [
        # No item fails.
        ([("", "not_json")], [], [("", "not_json")], [], 1),
        # It fails as before: nothing is written.
        ([("/0", "bad_value")], [("/0", "bad_value")], [], [], 0),
        # It fails for another reason: the old one is marked, but not counted as resolved.
        ([("", "not_json")], [("", "wrong_root")], [("", "not_json")], [("", "wrong_root")], 0),
        # The body can be read now, and one of its items cannot.
        ([("", "not_json")], [("/1", "bad_value")], [("", "not_json")], [("/1", "bad_value")], 1),
        # One item of two.
        (
            [("/0", "bad_value"), ("/1", "bad_value")],
            [("/1", "bad_value")],
            [("/0", "bad_value")],
            [],
            1,
        ),
    ],
)
def test_the_outcome_of_a_retry(
    known: list[tuple[str, str]],
    now: list[tuple[str, str]],
    marked: list[tuple[str, str]],
    new: list[tuple[str, str]],
    resolved: int,
) -> None:
    """Dead letters that no longer fail the same way are marked; new failures are written."""
    found = outcome_of(RAW, {Identity.of_body(RAW, *one) for one in known}, today(*now))
    assert found.marked == [Identity.of_body(RAW, *one) for one in marked]
    assert [(one.pointer, one.code) for one in found.new] == new
    assert [(one.pointer, one.code) for one in found.failing] == now
    assert found.resolved == resolved


PLACES = st.lists(
    st.tuples(st.sampled_from(["", "/0", "/1"]), st.sampled_from(["bad_value", "not_json"])),
    unique=True,
    max_size=5,
)


@given(PLACES, PLACES)
def test_after_a_retry_the_failing_items_are_open(
    known: list[tuple[str, str]], now: list[tuple[str, str]]
) -> None:
    """Exactly today's dead letters are open; a second retry changes nothing."""
    before = {Identity.of_body(RAW, *one) for one in known}
    first = outcome_of(RAW, before, today(*now))
    after = before - set(first.marked) | {
        Identity.of_body(RAW, n.pointer, n.code) for n in first.new
    }
    assert after == {Identity.of_body(RAW, *one) for one in now}
    second = outcome_of(RAW, after, today(*now))
    assert (second.marked, second.new, second.resolved) == ([], [], 0)


def test_causes_have_no_variable_parts() -> None:
    """The same reason with other numbers is the same cause; the largest comes first."""
    letters = [entry(n, n, reason=f"see its character {n}", code="not_json") for n in (5, 77, 8)]
    letters += [entry(9, 9), entry(5, 10, "r1", code="not_json")]
    first, second = grouped(Ledger(letters))
    assert first.cause == ("whapi", "not_json", "see its character #")
    assert (first.open, first.resolved, first.first, first.last) == (2, 1, 5, 77)
    assert place(first.example) == "bluetick.raw.whapi/0/5"
    assert (second.cause.code, second.open) == ("bad_value", 1)


@pytest.mark.parametrize(
    ("meant", "holds"),
    [
        (Selection(), True),
        (Selection(provider="whapi"), True),
        (Selection(provider="smsmanager"), False),
        (Selection(code="bad_value"), True),
        (Selection(code="not_json"), False),
        (Selection(since=50), True),
        (Selection(since=51), False),
        (Selection(until=51), True),
        (Selection(until=50), False),
    ],
)
def test_a_selection(meant: Selection, holds: bool) -> None:  # noqa: FBT001
    """By provider, code and the time it was written, `until` not included."""
    assert meant.holds(entry(1, 50)) == holds


@pytest.mark.parametrize("text", ["raw.whapi/3/120", "raw.whapi[3]@120"])
def test_a_place(text: str) -> None:
    """The form of `show`, or of logs and health."""
    assert place_of(text) == Coordinates("raw.whapi", 3, 120)


@pytest.mark.parametrize("text", ["", "17", "raw.whapi", "raw.whapi/3", "raw.whapi/x/1", "a/1/2/3"])
def test_no_place(text: str) -> None:
    """Anything else is reported."""
    with pytest.raises(Problem, match="is not valid; write <topic>/<partition>/<offset>"):
        place_of(text)


SECRETS = ("Dear Ann", "420777123456", "+420 777 123 456", "ann@example.com", "yes")


@pytest.mark.parametrize("secret", SECRETS)
@pytest.mark.parametrize("cut", [False, True])
def test_a_shape_shows_no_text_and_no_number(secret: str, cut: bool) -> None:  # noqa: FBT001
    """Whole or cut in two, texts and numbers are hidden; names of fields and vocabulary are not."""
    body = {"result": "delivered", "to": secret, "body": [{"text": secret}], "n": 420777123456}
    text = json.dumps(body).encode()
    shown = "\n".join(shape(text[:-1] if cut else text))
    assert secret not in shown
    assert "777123" not in shown
    assert ('"result": "delivered"' in shown) is not cut
    assert ('"xxxxxx": "xxxxxxxxx"' in shown) is cut


@pytest.mark.parametrize(
    ("value", "lines"),
    [
        (b'{"id":"a","id":"b"}', ["{", '  "id": "a",', '  "id": "b"', "}"]),
        (b'{"timestamp":1700000000}', ["{", '  "timestamp": 1700000000', "}"]),
        (b'{"to":"+420777123456"}', ["{", '  "to": "…456"', "}"]),
        (b'{"447700900123@s":NaN}', ["{", '  "…123@s": NaN', "}"]),
        (b'{"id":"447700900123@s"}', ["{", '  "id": "…123@s"', "}"]),
        (b"\x1f\x8b\x08\x00\x01", ["not UTF-8; it begins with 1f 8b 08 00"]),
        (b"", [""]),
        (b"a=1&b=Ann", ["x=9&x=xxx"]),
        (b"\x1b[2J", ["?[9x"]),
        (b"[" * 5000, ["[" * 400, "… 4600 more characters"]),
    ],
)
def test_shapes(value: bytes, lines: list[str]) -> None:
    """Errors stay visible: repeated names, odd numbers, brackets, other encodings."""
    assert shape(value) == lines


@given(st.binary(max_size=200) | st.text(max_size=200).map(str.encode))
def test_anything_has_a_shape(value: bytes) -> None:
    """Any bytes have printable lines, without control characters."""
    assert all(line.isprintable() for line in shape(value))
