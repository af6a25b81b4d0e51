"""Simulated traffic is repeatable, and Bluetick produces its expected results."""

import re
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cli.simulator.requests import Post
from cli.simulator.simulate import Fact, Simulation, simulate
from processors.normalising.webhook_to_observations import normalise
from processors.tracking.lifecycle.facts import fact_key
from providers import NAMES, import_provider
from providers.contract import Normalised
from schemas.coordinates import Coordinates
from schemas.records import InboundObservation, StatusObservation
from service.errors import Problem
from tests.unit.messages import Folded

BASE = 1_750_000_000_000


def parsed(place: int, post: Post) -> Normalised:
    webhook = post.received(BASE + place, str(place))
    return normalise(webhook, Coordinates("raw", 0, place))


def all_parsed(simulation: Simulation) -> list[Normalised]:
    return [parsed(place, post) for place, post in enumerate(simulation.posts)]


def facts_of(folded: Folded, key: str) -> set[Fact]:
    own = folded.states[key].attempts.items()
    ladders = [(gateway, None, attempt.facts) for gateway, attempt in own]
    seen = [
        (gateway, one.viewer, ladder.facts)
        for one in folded.viewers.values()
        for gateway, ladder in one.attempts.items()
        if one.message_key == key
    ]
    return {
        Fact(gateway, viewer, fact_key(fact.status, fact.provider_status))
        for gateway, viewer, facts in [*ladders, *seen]
        for fact in facts.values()
    }


@given(
    messages=st.integers(0, 40),
    seed=st.integers(0, 2**32),
    duplicates=st.sampled_from([0.0, 0.3, 1.0]),
    shuffle=st.booleans(),
    malformed=st.sampled_from([0.0, 0.2, 1.0]),
)
def test_bluetick_produces_the_expected_results(
    messages: int, seed: int, duplicates: float, malformed: float, *, shuffle: bool
) -> None:
    """Normalised and tracked, the posts give exactly the expected facts and counts."""
    simulation = simulate(
        messages=messages,
        seed=seed,
        duplicates=duplicates,
        shuffle=shuffle,
        malformed=malformed,
        base_time_ms=BASE,
    )
    truth = simulation.truth
    results = all_parsed(simulation)
    observations = [one for result in results for one in result.observations]
    assert len(observations) == truth.observations
    assert Counter(d.code for result in results for d in result.dead_letters) == truth.dead_letters
    assert sum((Counter(result.ignored) for result in results), Counter()) == truth.ignored
    inbound = {one.message_key for one in observations if isinstance(one, InboundObservation)}
    assert len(inbound) == truth.inbound

    folded = Folded(*observations)
    assert {key for key in folded.states if facts_of(folded, key)} == set(truth.lifecycles)
    published = [output.topic for output in folded.outputs]
    assert published.count("statuses") == truth.facts
    assert published.count("inbound") == truth.inbound
    for key, lifecycle in truth.lifecycles.items():
        state = folded.states[key]
        assert facts_of(folded, key) == lifecycle.facts
        assert state.status == lifecycle.status
        assert {(c.gateway, c.failure) for c in state.contradictions} == lifecycle.disputed
        assert len(state.inbound.keys() - {key}) == lifecycle.replies


def test_the_same_seed_gives_the_same_posts() -> None:
    """Posts depend on the arguments alone, and on the seed."""

    def posts(seed: int) -> list[Post]:
        return simulate(
            messages=50, seed=seed, duplicates=0.3, malformed=0.3, shuffle=True, base_time_ms=BASE
        ).posts

    assert posts(7) == posts(7)
    assert posts(7) != posts(8)


def test_disturbances_do_not_change_the_lifecycles() -> None:
    """Repetition, disorder and malformed items do not change the expected results of a message."""
    calm = simulate(messages=80, seed=3, base_time_ms=BASE)
    rough = simulate(
        messages=80, seed=3, duplicates=0.5, malformed=0.5, shuffle=True, base_time_ms=BASE
    )
    assert rough.truth.lifecycles == calm.truth.lifecycles
    assert rough.truth.inbound == calm.truth.inbound
    assert rough.truth.observations > calm.truth.observations
    assert rough.truth.dead_letters.total() > calm.truth.dead_letters.total() == 0


def test_unshuffled_posts_keep_each_message_in_order() -> None:
    """Without `shuffle` the facts of a message arrive in the order in which they happened."""
    last: dict[str, int] = {}
    for result in all_parsed(simulate(messages=300, seed=5, base_time_ms=BASE)):
        for one in result.observations:
            if isinstance(one, StatusObservation) and one.occurred_at:
                assert last.get(one.message_key, 0) <= one.occurred_at
                last[one.message_key] = one.occurred_at


def test_shuffled_posts_do_not() -> None:
    """With `shuffle` the same posts come in another order."""
    calm = simulate(messages=50, seed=5, base_time_ms=BASE).posts
    shuffled = simulate(messages=50, seed=5, shuffle=True, base_time_ms=BASE).posts
    assert shuffled != calm
    assert sorted(post.body for post in shuffled) == sorted(post.body for post in calm)


def test_every_journey_and_malformed_shape_occurs() -> None:
    """A large simulation has every journey, in all modes, batched, with every malformed shape."""
    simulation = simulate(messages=3000, seed=1, duplicates=0.1, malformed=0.1, base_time_ms=BASE)
    truth = simulation.truth
    led = {lifecycle.journey for lifecycle in truth.lifecycles.values()}
    journeys = {journey for name in NAMES for journey in import_provider.simulator(name).journeys}
    assert led == {j for j in journeys if any(step.how != "inbound" for step in j.steps)}
    assert {(post.source, post.method) for post in simulation.posts} == {
        ("smsmanager", "POST"),
        *(("whapi", method) for method in ("POST", "PUT", "PATCH", "DELETE")),
    }
    assert {"", "/statuses/post", "/statuses"} <= {post.path for post in simulation.posts}
    assert truth.dead_letters.keys() == {
        *("empty_body", "not_json", "not_utf8", "wrong_root", "too_deep"),
        *("missing_field", "wrong_type", "bad_value"),
    }
    assert truth.ignored.keys() == {"presences", "chats_updates", "messages.action.reaction"}
    results = all_parsed(simulation)
    assert any(result.dead_letters and result.observations for result in results)
    assert any(len(result.observations) > 3 for result in results)


def test_one_source_can_be_asked_for() -> None:
    """Only the sources asked for send."""
    simulation = simulate(messages=40, sources=["whapi"], base_time_ms=BASE)
    assert {post.source for post in simulation.posts} == {"whapi"}


def test_numbers_are_fictional() -> None:
    """Every phone number is from a range set aside for fiction."""
    fictional = re.compile(r"447700900\d{3}|120255501\d{2}|1203630\d{11}@g\.us|stories")
    for result in all_parsed(simulate(messages=500, seed=2, base_time_ms=BASE)):
        for one in result.observations:
            for party in (
                one.recipient,
                getattr(one, "sender", None),
                getattr(one, "viewer", None),
            ):
                assert party is None or fictional.fullmatch(party)


@pytest.mark.parametrize("share", [-0.1, 1.5])
def test_a_share_outside_0_to_1_is_refused(share: float) -> None:
    """The sentence names the option."""
    with pytest.raises(Problem, match="duplicates"):
        simulate(messages=1, duplicates=share, base_time_ms=BASE)
    with pytest.raises(Problem, match="malformed"):
        simulate(messages=1, malformed=share, base_time_ms=BASE)
