"""The log lines about observations that are set aside."""

from processors.tracking.letter_notices import notices
from processors.tracking.tracking_dead_letters import Letter
from providers.contract import DeadLetter
from providers.rejection import Code
from schemas.coordinates import Coordinates


def letter(code: Code, offset: int) -> Letter:
    raw, observed = Coordinates("raw.whapi", 0, 1), Coordinates("observations", 3, offset)
    found = DeadLetter(code=code, reason="why", value=b"{}")
    return Letter("whapi/c/1", found, raw, observed, 0, "whapi", None)


def test_each_code_has_one_line() -> None:
    """It names the first observation, and how many more there are."""
    many, bound = list(
        notices([letter("too_large", 15), letter("too_many_words", 16), letter("too_large", 17)])
    )
    assert str(many.notice) == (
        "observations/3/15 and 1 more set aside as a dead letter, too_large: why"
    )
    assert (many.code, many.notice.fields["count"], many.past_bound) == ("too_large", 2, False)
    assert str(bound.notice) == "observations/3/16 set aside as a dead letter, too_many_words: why"
    assert bound.past_bound
