"""The question before a replay."""

from collections import Counter

from cli.replay.plan import question
from processors.replay.plan import Plan
from processors.replay.plan_counts import Counts, Kind
from processors.replay.progress import Spec
from processors.runtime.offset_ranges import Window


def test_the_question_names_new_facts_and_observations() -> None:
    """The facts that are new, of all kinds, are fewer than the observations to publish."""
    made = Plan(
        Spec((), Window(), None, None, None, None),
        Counts(bodies=9000, observations=14883),
        {
            Kind("whapi", "read"): Counter({"new": 100, "known": 9}),
            Kind("whapi", "sent"): Counter({"new": 52, "changed": 1}),
        },
    )
    assert question(made) == "152 facts are new. Publish all 14,883 observations again?"
    made.facts.clear()
    assert question(made).startswith("0 facts are new. ")
