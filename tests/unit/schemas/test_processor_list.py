"""The list of processors, and what the names of topics and settings take from it."""

import pytest

from providers import NAMES
from schemas.processor_list import PROCESSORS, Processor
from schemas.topics import Topics
from service.settings import Settings

RAW = ("n.raw.smsmanager", "n.raw.whapi")
DERIVED = ("n.statuses", "n.events", "n.messages", "n.inbound")


@pytest.mark.parametrize(
    ("name", "inputs", "outputs", "needed"),
    [
        (
            "normalise",
            RAW,
            ("n.observations", "n.dead-letters"),
            (*RAW, "n.observations", "n.dead-letters"),
        ),
        (
            "track",
            ("n.observations",),
            (*DERIVED, "n.dead-letters"),
            (*RAW, "n.observations", *DERIVED, "n.dead-letters"),
        ),
        (
            "measure",
            ("n.messages", "n.quality-changes"),
            ("n.quality", "n.quality-changes", "n.quality-contributions"),
            ("n.messages", "n.quality", "n.quality-changes", "n.quality-contributions"),
        ),
    ],
)
def test_topics_of_a_processor(
    name: str, inputs: tuple[str, ...], outputs: tuple[str, ...], needed: tuple[str, ...]
) -> None:
    """What it reads, what it writes, and all that it needs."""
    topics = Topics("n", providers=NAMES)
    assert topics.inputs(name) == inputs
    assert topics.outputs(name) == outputs
    assert topics.needed(name) == needed


@pytest.mark.parametrize("one", PROCESSORS, ids=lambda one: one.name)
def test_each_processor_has_a_health_port(one: Processor) -> None:
    """Its setting has the default of its entry, which no other service has."""
    assert Settings().health_port(one.name) == one.health_port
    fields = Settings.model_fields
    assert [name for name in fields if fields[name].default == one.health_port] == [
        one.port_setting
    ]


def test_processors_are_in_the_order_of_their_topics() -> None:
    """`up` starts them, and `rebuild` waits for them, in the order of the list.

    A processor may read what it writes itself.
    """
    for number, one in enumerate(PROCESSORS):
        later = {kind for other in PROCESSORS[number + 1 :] for kind in other.outputs}
        assert not {*one.inputs} & later, one.name
