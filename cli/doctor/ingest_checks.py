"""The checks of ingest and of the webhooks that arrive: from facts to findings. Pure."""

from collections.abc import Iterator, Sequence

from cli.doctor.facts import Ingest, Webhooks
from cli.doctor.findings import Finding
from cli.output.ages import age_text

# The alert BluetickSourceSilent has the same limits.
SILENT_SECONDS = 3600
_USUAL = 20


def check_ingest(ingest: Ingest) -> list[Finding]:
    """Judge the health of ingest; it may run on another machine, so no answer is no problem."""
    if ingest.why:
        return [Finding("info", "ingest_no_answer", address=ingest.address, why=ingest.why)]
    found = [Finding("problem", "ingest_not_ready", why=one) for one in ingest.problems]
    found += [Finding("warning", "ingest_degraded", why=one) for one in ingest.warnings]
    return found or [Finding("ok", "ingest_ready", address=ingest.address)]


def check_webhooks(webhooks: Sequence[Webhooks]) -> list[Finding]:
    """Judge when the last webhook of each provider came."""
    return [finding for one in webhooks for finding in _webhooks(one)]


def is_silent(one: Webhooks) -> bool:
    """Return whether a provider that usually sends at this time has sent none for an hour."""
    return one.age is not None and one.age >= SILENT_SECONDS and one.day_before >= _USUAL


def _webhooks(one: Webhooks) -> Iterator[Finding]:
    if one.age is None:
        yield Finding("info", "webhooks_none", provider=one.provider)
        return
    named = {"provider": one.provider, "age": age_text(one.age)}
    if is_silent(one):
        yield Finding("problem", "webhooks_stopped", **named, day_before=one.day_before)
    elif one.age >= SILENT_SECONDS:
        yield Finding("info", "webhooks_silent", **named)
    else:
        yield Finding("ok", "webhooks_arrive", **named)
