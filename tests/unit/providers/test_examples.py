"""Every sample webhook results in exactly the expected file next to it, written by hand."""

from collections import Counter
from typing import Any

import pytest

from cli.up.examples import Sample, load
from processors.normalising.webhook_to_observations import normalise
from providers import NAMES
from schemas.records import InboundObservation, Observation
from schemas.webhook import RawWebhook
from tests.unit.webhooks import AT, RECEIVED_AT, fields

SAMPLES = load()


def observations_of(sample: Sample) -> list[Observation]:
    return normalise(webhook_of(sample), AT).observations


def webhook_of(sample: Sample) -> RawWebhook:
    return RawWebhook(
        id=sample.name,
        source=sample.source,
        provider=sample.source,
        body=bytes(sample.body),
        received_at=RECEIVED_AT,
        method=sample.method,
        path=sample.path,
        headers=sample.headers,
    )


@pytest.mark.parametrize("sample", SAMPLES, ids=lambda sample: sample.name)
def test_a_sample_amounts_to_what_is_expected(sample: Sample) -> None:
    """Observations in order, dead letters by code and ignored counts are all as expected."""
    result = normalise(webhook_of(sample), AT)
    assert len(result.observations) == len(sample.expect.observations)
    for found, wanted in zip(result.observations, sample.expect.observations, strict=True):
        assert {name: fields(found).get(name) for name in wanted} == wanted
    assert Counter(letter.code for letter in result.dead_letters) == sample.expect.dead_letters
    assert result.ignored == sample.expect.ignored


@pytest.mark.parametrize("sample", SAMPLES, ids=lambda sample: sample.name)
def test_what_every_observation_says(sample: Sample) -> None:
    """Where it came from, when it came, and whose it is are in every observation."""
    for observation in observations_of(sample):
        assert observation.provider == sample.source
        assert observation.received_at == RECEIVED_AT
        assert (observation.raw.topic, observation.raw.partition, observation.raw.offset) == AT
        assert observation.message_key.startswith(f"{sample.source}/{observation.account}/")


def test_a_sample_for_every_provider() -> None:
    """No provider is without samples, and every sample is where its source says."""
    assert {sample.source for sample in SAMPLES} == set(NAMES)
    assert all(sample.name.startswith(f"{sample.source}/") for sample in SAMPLES)


def test_times_are_given_only_where_they_are_known() -> None:
    """No expectation of a time was left to what the code says."""
    timed: list[dict[str, Any]] = [
        wanted for sample in SAMPLES for wanted in sample.expect.observations
    ]
    assert sum("occurred_at" in wanted for wanted in timed) > len(timed) / 4


def test_inbound_messages_are_never_repeated() -> None:
    """Messages by people that differ have different keys across all samples."""
    keys = [
        observation.message_key
        for sample in SAMPLES
        for observation in observations_of(sample)
        if isinstance(observation, InboundObservation)
    ]
    assert len(keys) == len(set(keys))
