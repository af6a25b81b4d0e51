"""A planned replay, without a broker: selection, counts, facts compared with states."""

from collections import Counter
from collections.abc import Sequence

import pytest
from hypothesis import given
from msgspec.structs import replace

from processors.normalising.body_normaliser import Bodies
from processors.replay.plan import Selection
from processors.replay.plan_counts import Counts, Facts, Kind, wanted
from processors.replay.progress import Spec
from processors.replay.range_syntax import Only
from processors.runtime.raw_record import RawRecord
from providers.contract import DeadLetter, Normalised
from schemas.records import MessageState, Observation, RawOrigin, ViewerState
from service.settings import Settings
from tests.examples import examples
from tests.unit.messages import KEY, Folded, reply, seen
from tests.unit.processors.tracking.test_lifecycle_laws import HISTORIES, is_correction

SENT = seen("sent", 2)
VIEWED = seen("read", 2, viewer="v", message_key="whapi/C/m2", provider="whapi")
ANSWER = reply(3)
OWN = reply(4, message_key="whapi/C/in", message_id="in", in_reply_to="whapi/C/m2")


@pytest.mark.parametrize(
    ("only", "expected"),
    [
        (None, [SENT, VIEWED, ANSWER, OWN]),
        (Only("status", "read"), [VIEWED]),
        (Only("status", "failed"), []),
        (Only("key", KEY), [SENT, ANSWER]),
        (Only("key", "whapi/C/m2"), [VIEWED, OWN]),
        (Only("key", "whapi/C/in"), [OWN]),
        (Only("code", "bad_value"), [SENT, VIEWED, ANSWER, OWN]),
    ],
)
def test_which_observations_are_meant(only: Only | None, expected: list[Observation]) -> None:
    """Those of a status, or all that touch a message: what answers it as well."""
    assert wanted(only, [SENT, VIEWED, ANSWER, OWN]) == expected


@pytest.mark.parametrize(("source", "bodies"), [(None, 3), ("shop", 1), ("whapi", 1), ("x", 0)])
def test_which_bodies_are_meant(source: str | None, bodies: int) -> None:
    """Those that came in by a source; a record written by hand has its provider as its source."""
    records = [
        RawRecord("bluetick.raw.whapi", 0, number, 1, headers, b"{}")
        for number, headers in enumerate(
            ([("ce_source", b"/webhooks/shop")], [("ce_source", b"/webhooks/other")], [])
        )
    ]
    counts = Counts()
    chosen = Selection(Bodies(Settings()), Spec((), source=source), None)
    for record in records:
        chosen.observations(record, counts)
    assert counts.bodies == bodies


def test_bodies_are_counted() -> None:
    """Dead letters and what is ignored count by provider, observations if they are meant."""
    letter = DeadLetter(code="not_json", reason="", value=b"")
    counts = Counts()
    counts.add("whapi", Normalised([SENT, SENT], [letter], Counter({"chats": 2})), 1)
    counts.add("whapi", Normalised([], [letter], Counter()), 0)

    assert (counts.bodies, counts.observations) == (2, 1)
    assert counts.dead_letters == {("whapi", "not_json"): 2}
    assert counts.ignored == {("whapi", "chats"): 2}


def compared(
    known: Sequence[Observation], reported: Sequence[Observation]
) -> dict[Kind, Counter[str]]:
    """Compare the facts of the second with the states of the first."""
    facts = Facts()
    for observation in reported:
        facts.add(observation)
    folded = Folded(*known)
    states: dict[str, MessageState | ViewerState] = {**folded.states, **folded.viewers}
    for key, state in states.items():
        if key in facts:
            facts.compare(key, state)
    return {kind: Counter(map(str, count.elements())) for kind, count in facts.count().items()}


@pytest.mark.parametrize(
    ("known", "reported", "expected"),
    [
        ([], [SENT, SENT], {"new": 1}),
        ([SENT], [SENT], {"known": 1}),
        ([seen("delivered", 2)], [SENT], {"new": 1}),
        # Told at another time, or in the same millisecond by a body that lies further back.
        ([SENT], [seen("sent", 1)], {"changed": 1}),
        ([SENT], [seen("sent", 3)], {"known": 1}),
        ([SENT], [seen("sent", 3), seen("sent", 1)], {"changed": 1}),
        ([SENT], [replace(SENT, raw=RawOrigin("raw", 0, 1, 0))], {"changed": 1}),
        ([SENT], [replace(SENT, raw=RawOrigin("raw", 0, 3, 0))], {"known": 1}),
        ([SENT], [replace(SENT, raw=RawOrigin("raw", 0, 2, 1))], {"known": 1}),
        # An unknown time counts less than any time of the provider.
        ([seen("sent", None, received_at=1)], [seen("sent", 9)], {"changed": 1}),
        ([seen("sent", 9)], [seen("sent", None, received_at=1)], {"known": 1}),
        ([seen("sent", -5, raw=SENT.raw)], [SENT], {"known": 1}),
        ([SENT], [seen("sent", -5, raw=SENT.raw)], {"changed": 1}),
        ([SENT], [replace(SENT, catch_up=True)], {"known": 1}),
        ([replace(SENT, catch_up=True)], [SENT], {"changed": 1}),
        # The same body, replayed before under any name.
        ([replace(SENT, replay="r")], [SENT], {"known": 1}),
        ([SENT], [seen("sent", 1, "viber")], {"new": 1}),
        ([SENT], [seen("sent", 1, viewer="v")], {"new": 1}),
    ],
)
def test_standings_of_facts(
    known: list[Observation], reported: list[Observation], expected: dict[str, int]
) -> None:
    """New, known, or better than the known report; each fact counts once."""
    assert compared(known, reported) == {Kind("smsmanager", "sent"): expected}


def test_facts_count_by_status_and_provider() -> None:
    """Inbound messages count as facts, and an unknown word is `unknown`, however many there are."""
    odd = [seen("unknown", 1, provider_status=word) for word in ("x", "y")]
    assert compared([SENT], [SENT, *odd, ANSWER, ANSWER, OWN, VIEWED]) == {
        Kind("smsmanager", "inbound"): {"new": 1},
        Kind("smsmanager", "sent"): {"known": 1},
        Kind("smsmanager", "unknown"): {"new": 2},
        Kind("whapi", "inbound"): {"new": 1},
        Kind("whapi", "read"): {"new": 1},
    }


def test_a_dropped_state_makes_facts_new_again() -> None:
    """The last word on a message counts: after its end nothing of it is known."""
    facts = Facts()
    facts.add(SENT)
    facts.compare(KEY, Folded(SENT).state)
    facts.compare(KEY, None)

    assert facts.count() == {Kind("smsmanager", "sent"): {"new": 1}}


@examples(2)
@given(HISTORIES, HISTORIES)
def test_a_plan_says_what_the_tracker_does(
    known: list[Observation], reported: list[Observation]
) -> None:
    """As many facts are new as the tracker then publishes; none is changed or new once it has."""
    known, reported = (
        [replace(one, replay=None) for one in history] for history in (known, reported)
    )
    replayed = [replace(one, replay="r") for one in reported]
    planned = compared(known, reported)

    before, after = Folded(*known), Folded(*known, *replayed)

    made = [o for o in after.outputs[len(before.outputs) :] if o.topic != "events"]
    new = [o for o in made if not is_correction(o)]
    assert sum(count.get("new", 0) for count in planned.values()) == len(new)
    corrected = {o.record.message_key for o in made if is_correction(o)}
    known_before = {o.record.message_key for o in before.outputs if o.topic == "inbound"}
    announced = sum(count.get("corrected", 0) for count in planned.values())
    assert announced == len(corrected & known_before)
    for counts in compared([*known, *replayed], reported).values():
        assert counts.keys() == {"known"}
