"""Settings that are valid one by one, and contradict each other. Pure.

Each contradiction is a `Problem`. A service and a command refuse to start with any of them.
"""

from collections.abc import Iterable, Mapping
from itertools import combinations
from typing import NamedTuple, Protocol

from schemas.privacy import policy_of
from service.errors import Problem
from service.kafka.access import Access, contradiction
from service.setting_names import variable

# How long a rebalance waits for a worker to give up its partitions.
REBALANCE_SECONDS = 60

_EVERYWHERE = frozenset({"", "0.0.0.0", "::"})  # noqa: S104 - compared, not listened on


class Values(Protocol):
    """The settings that the rules read."""

    @property
    def model_fields_set(self) -> set[str]: ...
    @property
    def access(self) -> Access: ...
    @property
    def namespace(self) -> str: ...
    @property
    def raw_namespace(self) -> str | None: ...
    @property
    def observations_namespace(self) -> str | None: ...
    @property
    def host(self) -> str: ...
    @property
    def port(self) -> int: ...
    @property
    def health_host(self) -> str: ...
    @property
    def ingest_metrics_port(self) -> int: ...
    @property
    def publish_deadline(self) -> float: ...
    @property
    def spool(self) -> object: ...
    @property
    def spool_max_age(self) -> float: ...
    @property
    def data(self) -> object: ...
    @property
    def privacy(self) -> str: ...
    @property
    def privacy_key(self) -> object: ...
    @property
    def privacy_key_file(self) -> object: ...
    @property
    def transaction_timeout(self) -> float: ...


class Address(NamedTuple):
    """Where a service listens; port 0 is any free port."""

    host: str
    port: int


def contradictions(settings: Values) -> list[Problem]:
    """Return what contradicts; [] if nothing does."""
    rules = (_access, _namespaces, _traces, _spool, _timeouts, _ports, _privacy)
    return [problem for rule in rules for problem in rule(settings)]


def colliding_ports(addresses: Mapping[str, Address]) -> Iterable[Problem]:
    """Yield the ports that one machine cannot listen on together; by the names of the settings."""
    for (one, first), (other, second) in combinations(addresses.items(), 2):
        hosts = {first.host, second.host}
        if first.port and first.port == second.port and (len(hosts) == 1 or hosts & _EVERYWHERE):
            yield Problem("ports_collide", one=one, other=other, port=first.port)


def _access(settings: Values) -> Iterable[Problem]:
    if wrong := contradiction(settings.access):
        code, fields = wrong
        yield Problem(code, **fields)


def _namespaces(settings: Values) -> Iterable[Problem]:
    own, observed = settings.namespace, settings.observations_namespace
    if not own.strip("."):
        yield Problem("namespace_of_dots", namespace=own)
    if observed not in (None, own) and settings.raw_namespace == own:
        yield Problem("observations_of_other_raw", namespace=own, observed=observed)


def _traces(settings: Values) -> Iterable[Problem]:
    if "trace_ratio" in settings.model_fields_set and "traces" not in settings.model_fields_set:
        yield Problem("trace_ratio_without_traces")


def _spool(settings: Values) -> Iterable[Problem]:
    limits = sorted({"spool_max_age", "spool_max_bytes"} & settings.model_fields_set)
    if settings.spool is None:
        if limits:
            yield Problem("spool_bound_without_spool", settings=list(map(variable, limits)))
        return
    if settings.spool_max_age <= settings.publish_deadline:
        age, deadline = settings.spool_max_age, settings.publish_deadline
        yield Problem("spool_age_below_deadline", age=age, deadline=deadline)
    if settings.spool == settings.data:
        yield Problem("spool_in_data", directory=str(settings.spool))


def _timeouts(settings: Values) -> Iterable[Problem]:
    seconds = settings.transaction_timeout
    if seconds > REBALANCE_SECONDS:
        yield Problem(
            "transaction_outlasts_rebalance", seconds=seconds, rebalance=REBALANCE_SECONDS
        )


def _ports(settings: Values) -> Iterable[Problem]:
    """Only ingest has two ports; processors may have the same ones on machines of their own.

    The default of the second one is no contradiction: `up` moves it with the first.
    """
    if "ingest_metrics_port" not in settings.model_fields_set:
        return ()
    return colliding_ports(
        {
            "BLUETICK_PORT": Address(settings.host, settings.port),
            "BLUETICK_INGEST_METRICS_PORT": Address(
                settings.health_host, settings.ingest_metrics_port
            ),
        }
    )


def _privacy(settings: Values) -> Iterable[Problem]:
    inline, file = settings.privacy_key, settings.privacy_key_file
    if inline is not None and file is not None:
        yield Problem("privacy_key_twice")
    if policy_of(settings.privacy).needs_key and inline is None and file is None:
        yield Problem("privacy_without_key", privacy=settings.privacy)
