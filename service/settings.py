"""Settings: environment variables `BLUETICK_*`, read once at the start, each with its default."""

import os
import ssl
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, FilePath, SecretStr, ValidationError, field_validator
from pydantic_core import PydanticCustomError
from pydantic_settings import BaseSettings, SettingsConfigDict

from schemas.topics import MAX_BODY, Topics
from service.errors import Problem

NAMESPACE = r"^[A-Za-z0-9._-]{1,100}$"
_ADDRESSES = r"^[^:,\s]+:\d{1,5}(,[^:,\s]+:\d{1,5})*$"

# Patterns, for people.
_WORDS = {
    NAMESPACE: "it is 1 to 100 of A-Z a-z 0-9 . _ -",
    _ADDRESSES: "it is host:port, or several of them with commas between",
}


class Settings(BaseSettings):
    """Every setting of every service; the description of each is what the documentation shows."""

    model_config = SettingsConfigDict(env_prefix="BLUETICK_", frozen=True)

    kafka: str = Field(
        "127.0.0.1:9092",
        pattern=_ADDRESSES,
        description="Kafka's bootstrap addresses, host:port,…",
    )
    namespace: str = Field("bluetick", pattern=NAMESPACE, description="prefix of topics and groups")
    raw_namespace: str | None = Field(
        None,
        pattern=NAMESPACE,
        description="whose raw topics are written and read; default: where the observations are",
    )
    observations_namespace: str | None = Field(
        None, pattern=NAMESPACE, description="whose observations are tracked; default: the own"
    )
    partitions: int = Field(6, ge=1, le=1000, description="partitions of every topic")
    replication: int | None = Field(
        None, ge=1, description="copies of every partition; default: 3, or as many as brokers"
    )
    installation: str | None = Field(
        None,
        pattern=NAMESPACE,
        description="a name of this installation in `ce_source` of what track publishes, "
        "`/bluetick/<name>/track`; default: `/bluetick/track`",
    )
    security: Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"] = Field(
        "PLAINTEXT", description="how to talk to Kafka"
    )
    sasl_mechanism: Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"] = Field(
        "SCRAM-SHA-512", description="how to log in, for SASL"
    )
    username: str | None = Field(None, description="who to log in as, for SASL")
    password: SecretStr | None = Field(None, description="the password, for SASL")
    ca_file: FilePath | None = Field(
        None, description="certificates to trust instead of the system's"
    )

    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = Field(
        "INFO", description="what the services log; Kafka's client and uvicorn only WARNING and up"
    )

    host: str = Field("127.0.0.1", description="the address ingest takes webhooks on")
    port: int = Field(8080, ge=0, le=65535, description="ingest's port")
    health_host: str = Field(
        "127.0.0.1",
        description="the address of every service's health and metrics; it tells Kafka's "
        "addresses and paths: for the probes and the monitoring only",
    )
    sources: Path | None = Field(
        None,
        description="the file that says who may send and how they prove it (docs/sources.md); "
        "default: every provider, unproven, on loopback only",
    )
    max_body: int = Field(MAX_BODY, ge=1, le=MAX_BODY, description="largest body, in bytes")
    receive_deadline: float = Field(
        10.0, gt=0, description="seconds a head, and then its body, may take to arrive"
    )
    publish_deadline: float = Field(
        1.5, gt=0, description="seconds Kafka may take to answer, until the spool, or 503"
    )
    max_in_flight: int = Field(2000, ge=1, description="requests waiting for Kafka before 503")
    max_in_flight_bytes: int = Field(
        64 * 1024 * 1024, ge=MAX_BODY, description="bytes waiting for Kafka before 503"
    )

    max_connections: int = Field(
        10_000, ge=1, description="open connections; over it, the one idle longest is closed"
    )
    drain: float = Field(
        3.0,
        ge=0,
        le=60,
        description="seconds ingest goes on taking webhooks, unready, when told to stop",
    )
    spool: Path | None = Field(
        None, description="directory for bodies while Kafka is away; without it: 503 meanwhile"
    )
    spool_max_bytes: int = Field(
        1024 * 1024 * 1024, ge=MAX_BODY, description="bytes a process may spool before 503"
    )
    spool_max_age: float = Field(
        259_200.0, gt=0, description="seconds the oldest spooled body may wait before 503"
    )

    data: Path = Field(
        Path("data"), description="where the tracker keeps its stores and its name in the group"
    )
    ingest_metrics_port: int = Field(
        8083, ge=0, le=65535, description="ingest's health and metrics"
    )
    normalise_health_port: int = Field(
        8081, ge=0, le=65535, description="normalise's health and metrics"
    )
    track_health_port: int = Field(8082, ge=0, le=65535, description="track's health and metrics")
    session_timeout: float = Field(30.0, ge=6, description="seconds until a silent worker is out")
    transaction_timeout: float = Field(
        15.0, ge=5, description="seconds a transaction, or a round of normalise, may last"
    )
    instance: str | None = Field(
        None,
        pattern=NAMESPACE,
        description="a lasting name of this worker, no other's: a restart within the session "
        "timeout, planned or not, then moves no partition (static membership); default for "
        "track: one in its data directory, for restarts that are not planned",
    )
    stalled_queued: float = Field(
        600.0, gt=0, description="seconds a message may be queued or sending until `stalled`"
    )
    stalled_sent: float = Field(
        86_400.0, gt=0, description="seconds a message may be sent until `stalled`"
    )
    stalled_queued_by_channel: dict[str, float] = Field(
        {}, description='the same for some channels only, as JSON: {"viber": 120}'
    )
    stalled_sent_by_channel: dict[str, float] = Field(
        {}, description='the same for some channels only, as JSON: {"viber": 3600}'
    )
    timer_grace: float = Field(
        60.0,
        ge=0,
        description="seconds timers wait for what may still be on its way from ingest",
    )
    dead_letter_ratio: float = Field(
        0.5,
        ge=0,
        le=1,
        description="share of a source's last 1000 bodies (200 at least) that may become dead "
        "letters before normalise stops that source; 0: any",
    )
    dead_letter_run: int = Field(
        500, ge=0, description="how many of a source's bodies in a row may; 0: any"
    )
    failpoint: str | None = Field(
        None, description="for fault tests: where to die or stand still (docs/reliability.md)"
    )

    @field_validator("sources", "spool", "data", mode="before")
    @classmethod
    def _refuse_nowhere(cls, value: object) -> object:
        """Empty is no path: it would be the present directory, and as "unset" let everybody in."""
        if value == "":
            raise PydanticCustomError("empty", "it is empty; name a path, or leave it unset")
        return value

    @property
    def topics(self) -> Topics:
        return Topics(self.namespace, self.raw_namespace, self.observations_namespace)

    def of(self, namespace: str) -> "Settings":
        """The same for another namespace, with raw topics and observations of its own."""
        own = {"raw_namespace": None, "observations_namespace": None}
        return self.model_copy(update={"namespace": namespace, **own})

    def kafka_options(self) -> dict[str, Any]:
        """What every aiokafka client is told: where Kafka is and how to prove oneself."""
        options: dict[str, Any] = {
            "bootstrap_servers": self.kafka.split(","),
            "security_protocol": self.security,
        }
        if self.security.startswith("SASL"):
            options |= {
                "sasl_mechanism": self.sasl_mechanism,
                "sasl_plain_username": self.username,
                "sasl_plain_password": self.password.get_secret_value() if self.password else None,
            }
        if self.security.endswith("SSL"):
            options["ssl_context"] = ssl.create_default_context(cafile=self.ca_file)
        return options


def load(**overrides: Any) -> Settings:
    """Read the settings; command line options, where given (not None), win over the environment."""
    _refuse_unknown()
    given = {name: value for name, value in overrides.items() if value is not None}
    try:
        return Settings(**given)
    except ValidationError as error:
        raise Problem("; ".join(_explain(detail) for detail in error.errors())) from None


def _refuse_unknown() -> None:
    """A misspelt setting would otherwise be silently its default."""
    known = {f"BLUETICK_{name.upper()}" for name in Settings.model_fields}
    unknown = sorted(
        name for name in os.environ if name.startswith("BLUETICK_") and name not in known
    )
    if unknown:
        raise Problem(f"there is no setting {', '.join(unknown)}; see docs/settings.md")


def _explain(detail: Any) -> str:
    name = str(detail["loc"][0])
    shown = "" if name == "password" else f" {detail['input']!r}"
    why = _WORDS.get(detail.get("ctx", {}).get("pattern"), detail["msg"])
    return f"the setting BLUETICK_{name.upper()}{shown} is not valid: {why}"
