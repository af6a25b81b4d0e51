"""The example records: made by Bluetick, valid, and complete."""

from typing import Any

import msgspec
import pytest
from jsonschema import ValidationError

from cli.contracts.examples import candidates, examples
from schemas import codec
from schemas.contract import KINDS, Kind
from tests.broker.reading import Written
from tests.contract import check, check_cloud_event

EVENTS = [kind for kind in KINDS if kind.topic in ("statuses", "events", "inbound")]


def written(name: str) -> list[Written]:
    return [
        Written(one.topic.removeprefix("bluetick."), one.key, one.headers, one.value)
        for one in candidates()[name]
    ]


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_every_record_that_was_made_is_described(kind: Kind) -> None:
    """Values and headers are valid, and have no field that the schemas lack."""
    assert check(written(kind.name)) == {kind.name}


@pytest.mark.parametrize("kind", EVENTS, ids=lambda kind: kind.name)
def test_what_is_not_described_is_found(kind: Kind) -> None:
    """A field or a header without a description, and a wrong schema, are found."""
    [one, *_] = written(kind.name)
    for wrong in (
        one._replace(value=one.value | {"novelty": 1}),
        one._replace(headers={**one.headers, "novelty": "1"}),
    ):
        with pytest.raises(ValidationError, match="novelty"):
            check([wrong])
    with pytest.raises(AssertionError):
        check_cloud_event(kind, one._replace(headers={**one.headers, "ce_dataschema": "urn:x:y"}))


def test_the_example_is_the_fullest() -> None:
    """An example has a key, headers and a value, of the topic of its kind."""
    for kind, example in zip(KINDS, examples().values(), strict=True):
        assert example in candidates()[kind.name]
        assert (example.key is None) == (kind.key is None)
        assert example.topic.split(".")[1] == kind.topic
        assert bool(example.headers) == (kind.topic not in ("observations", "quality-changes"))
        assert example.value is not None


def test_an_example_is_what_the_codec_reads() -> None:
    """The program's own decoders read the examples, and write them again unchanged."""
    decoders: dict[str, Any] = {
        "observations": codec.decode_observation,
        "statuses": codec.decode_status,
        "events": codec.decode_event,
        "inbound": codec.decode_inbound,
        "quality": codec.decode_quality,
        "quality-changes": codec.decode_quality_change,
        "quality-contributions": codec.decode_quality_contribution,
    }
    for kind in KINDS:
        example = examples()[kind.name]
        if decode := decoders.get(kind.topic):
            again = codec.encode(decode(msgspec.json.encode(example.value)))
            assert msgspec.json.decode(again) == example.value
        elif kind.topic == "messages":
            assert example.key is not None
            codec.decode_by_key(example.key, msgspec.json.encode(example.value))
