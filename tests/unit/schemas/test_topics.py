"""The names of topics, and whose they are."""

import pytest

from schemas.topics import Topics, namespaces

PROVIDERS = ("acme", "bolt")
RAW = ("old.raw.acme", "old.raw.bolt")


def _topics(namespace: str, raw: str | None = None, observations: str | None = None) -> Topics:
    return Topics(namespace, raw, observations, providers=PROVIDERS)


@pytest.mark.parametrize(
    ("topics", "foreign", "normalise", "track", "normalised_by"),
    [
        (_topics("old"), (), RAW, "old.observations", "old.normalise"),
        (_topics("new", "old"), RAW, RAW, "new.observations", "new.normalise"),
        (
            _topics("new", None, "old"),
            (*RAW, "old.observations"),
            RAW,
            "old.observations",
            "old.normalise",
        ),
        # A namespace that was rebuilt is rebuilt again.
        (
            _topics("third", "old", "new"),
            (*RAW, "new.observations"),
            RAW,
            "new.observations",
            "new.normalise",
        ),
        (_topics("old.b", "old"), RAW, RAW, "old.b.observations", "old.b.normalise"),
        (_topics("old", "old"), (), RAW, "old.observations", "old.normalise"),
    ],
)
def test_inputs(
    topics: Topics,
    foreign: tuple[str, ...],
    normalise: tuple[str, ...],
    track: str,
    normalised_by: str,
) -> None:
    """What is read, whose it is, and who makes the observations."""
    assert topics.foreign == foreign
    assert topics.inputs("normalise") == normalise
    assert topics.inputs("track") == (track,)
    assert topics.source.group("normalise") == normalised_by
    assert topics.source.inputs("normalise") == normalise
    assert topics.provider_of(normalise[0]) == "acme"
    own = {spec.name for spec in topics.specs(3)}
    assert own == {*topics.all} - {*foreign}
    assert all(name.removeprefix(f"{topics.namespace}.").count(".") <= 1 for name in own)


def test_groups_and_ids_are_its_own() -> None:
    """Whatever is read, nobody shares a group or a fencing token."""
    topics = _topics("new", "old", "old")
    assert topics.groups == ("new.normalise", "new.track", "new.measure")
    assert topics.all_groups == (*topics.groups, "new.console")
    assert topics.transactional_id(2) == "new.track.2"
    assert topics.measuring_id("messages", 2) == "new.measure.messages.2"


def test_namespaces_are_known_by_names_nobody_else_would_use() -> None:
    """A stranger's `orders.events` is no namespace, nor is what would be a directory."""
    names = [
        "a.raw.bolt",
        "z.raw.carl",
        "b.c.observations",
        "orders.events",
        "....observations",
        ".dead-letters",
    ]
    assert namespaces(names, ["d.track", "e.other", "..normalise"], PROVIDERS) == ["a", "b.c", "d"]
