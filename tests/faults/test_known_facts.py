"""The comparison with known facts reports each difference, and assigns delays to faults."""

import gzip
import struct
from collections import Counter
from random import Random

import msgspec
import pytest

from cli.simulator.simulate import Fact, Lifecycle, Truth
from processors.normalising.webhook_to_observations import normalise
from providers.simulation import journey
from schemas.coordinates import Coordinates
from schemas.topics import MAX_BODY
from schemas.webhook import RawWebhook
from tests.broker.reading import Read
from tests.faults import hostile_bodies
from tests.faults.active_controller import _TOPIC, _leader, _request
from tests.faults.admin import _java_hash
from tests.faults.http_load import Answer, digest, refused
from tests.faults.known_facts import (
    Arrival,
    Effect,
    FaultPeriod,
    arrivals,
    compare_facts,
    compare_inbound,
    compare_raw,
    effects,
)

SENT, READ = Fact("sms", None, "sent"), Fact("sms", "447700900001", "read")
LIFE = Lifecycle(
    "a/-/1",
    journey(1, "sms sent, sms read", "read"),
    frozenset({SENT, READ}),
    "sent",
    frozenset(),
    0,
)
TRUTH = Truth({"a/-/1": LIFE}, 1, 2, Counter(), Counter())


def status(fact: Fact, key: str = "a/-/1", offset: int = 0) -> Read:
    fields = {"gateway": fact.gateway, "viewer": fact.viewer, "status": fact.status}
    origin = {"raw": {"topic": "raw", "partition": 0, "offset": offset}}
    return Read("statuses", 0, 0, key, msgspec.json.encode(fields | origin), {}, 0)


def raw(body: bytes, offset: int = 0) -> Read:
    return Read("raw", 0, offset, "", body, {}, 0)


def test_right_facts_are_right() -> None:
    assert compare_facts([status(SENT), status(READ)], [TRUTH]) == []


def test_messages_of_others_are_not_compared() -> None:
    records = [status(SENT), status(READ), status(SENT, key="b/-/1")]
    assert compare_facts(records, [TRUTH]) == []


@pytest.mark.parametrize(
    ("facts", "sentence"),
    [
        ([SENT], "1 lost"),
        ([SENT, READ, READ], "1 doubled"),
        ([SENT, READ, Fact("sms", None, "failed")], "1 changed or invented"),
        ([SENT, Fact("sms", None, "read")], "1 lost"),
    ],
)
def test_each_difference_of_facts_is_named(facts: list[Fact], sentence: str) -> None:
    wrong = compare_facts(map(status, facts), [TRUTH])
    assert any(sentence in one for one in wrong)


def test_each_difference_of_raw_bodies_is_named() -> None:
    posted = {digest(b"a"), digest(b"b")}
    assert compare_raw([raw(b"a"), raw(b"b"), raw(b"a")], posted, posted) == []
    [lost] = compare_raw([raw(b"a")], posted, posted)
    [foreign] = compare_raw([raw(b"a"), raw(b"c")], posted, {digest(b"a")})
    assert "1 lost" in lost
    assert "1 changed or invented" in foreign


def test_inbound_messages_are_counted() -> None:
    one = raw(b"")
    assert compare_inbound([one], [TRUTH]) == []
    assert "1 lost" in compare_inbound([], [TRUTH])[0]
    assert "1 doubled" in compare_inbound([one, one], [TRUTH])[0]


def test_a_delay_is_from_the_200_to_the_status() -> None:
    records = [status(SENT, offset=0), status(READ, offset=1)]
    bodies = [raw(b"a", 0), raw(b"b", 1)]
    answered = {digest(b"a"): 10.0, digest(b"b"): 20.0}
    assert arrivals(records, [11.0, 19.0], bodies, answered) == [Arrival(10, 11), Arrival(20, 19)]
    assert [one.delay for one in arrivals(records, [11.0, 19.0], bodies, answered)] == [1, 0]


def test_a_fault_has_the_delays_seen_before_the_next_fault() -> None:
    fault_periods = [FaultPeriod("one", 10, 20), FaultPeriod("two", 50, 55)]
    seen = [Arrival(9, 11), Arrival(12, 25), Arrival(30, 31), Arrival(49, 60), Arrival(70, 71)]
    assert effects(seen, fault_periods) == [Effect(5, 13), Effect(5, 11)]


def test_effects_of_a_fault_that_delayed_nothing() -> None:
    assert effects([Arrival(9, 11)], [FaultPeriod("one", 10, 20)]) == [Effect(0, 2)]
    assert effects([], [FaultPeriod("one", 10, 20)]) == [Effect(0, 0)]


def test_refusals_are_counted_by_target_and_time() -> None:
    answers = [Answer(1, 0, 503), Answer(2, 0, 200), Answer(2, 1, 0), Answer(9, 0, 503)]
    assert refused(answers, 0, 1, 5) == (1, 2)
    assert refused(answers, 1, 1, 5) == (1, 1)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("", 0),
        ("a", 97),
        ("hello", 99162322),
        ("Hello World", 862545276),
        ("polygenelubricants", 0),
    ],
)
def test_names_are_hashed_as_java_does(text: str, value: int) -> None:
    assert _java_hash(text) == value


def test_the_quorum_request_and_answer() -> None:
    [length] = struct.unpack_from(">i", _request())
    assert length == len(_request()) - 4
    answer = (
        struct.pack(">ibh", 1, 0, 0)
        + b"\2"
        + bytes([len(_TOPIC) + 1])
        + _TOPIC
        + b"\2"
        + struct.pack(">ihi", 0, 0, 3)
    )
    assert _leader(answer) == 3
    with pytest.raises(OSError, match="error 41"):
        _leader(struct.pack(">ibh", 1, 0, 41))


@pytest.mark.parametrize("kind", sorted(set(hostile_bodies.KINDS) - {"members"}))
def test_hostile_bodies_are_read(kind: str) -> None:
    """They are below the size limit and have items: none is rejected as a whole."""
    post = next(hostile_bodies.KINDS[kind](Random(1)))
    webhook = RawWebhook(
        id="1",
        source=post.source,
        provider=post.source.removeprefix(f"{hostile_bodies.MARK}-"),
        body=post.body,
        received_at=1,
        headers=dict(post.headers),
    )
    result = normalise(webhook, Coordinates("t", 0, 0))
    assert len(post.body) <= MAX_BODY
    assert result.observations or len(result.dead_letters) > 1


def test_hostile_members_are_one_item() -> None:
    """This expensive body is not normalised here: zlib reads all its members, and it is JSON."""
    post = next(hostile_bodies.members(Random(1)))
    assert len(post.body) <= MAX_BODY
    assert len(msgspec.json.decode(gzip.decompress(post.body))) == 1
