"""Settings: environment variables `BLUETICK_*`, read once at the start, each with its default."""

import os
from collections.abc import Collection
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field, FilePath, SecretStr, ValidationError, create_model, field_validator
from pydantic_core import PydanticCustomError
from pydantic_settings import BaseSettings, SettingsConfigDict

from providers import NAMES
from schemas.privacy import Privacy, keys_of, policy_of
from schemas.processor_list import PROCESSORS, processor
from schemas.topics import MAX_BODY, Topics
from service.contradictions import contradictions
from service.errors import Problem
from service.kafka.access import SECURITY_SETTINGS, Access
from service.setting_names import variable

# The directory for a user's data (XDG Base Directory), which `$XDG_DATA_HOME` moves.
_USER_DATA = Path("~/.local/share")
_NO_HOME = Path("/nonexistent")
_DATA = _USER_DATA / "bluetick"
Origin = Literal["default", "environment", "option", "file"]

NAMESPACE = r"^[A-Za-z0-9._-]{1,100}$"
_ADDRESSES = r"^[^:,\s]+:\d{1,5}(,[^:,\s]+:\d{1,5})*$"
_COLLECTOR = r"^(off|otlp|https?://[^\s@]+)$"
_URL = r"^https?://[^\s@/?#]+[^\s@?#]*$"

# Patterns, for people.
_WORDS = {
    NAMESPACE: "it is 1 to 100 of A-Z a-z 0-9 . _ -",
    _ADDRESSES: "it is host:port, or several of them with commas between",
    _URL: "it is a URL such as https://console.example.com",
    _COLLECTOR: "it is off, otlp, or a URL such as http://collector:4318",
}


class _Group(BaseSettings):
    """Settings that belong together: a table of docs/settings.md, from their descriptions."""

    model_config = SettingsConfigDict(env_prefix="BLUETICK_", frozen=True)


class _Shared(_Group):
    """Every service and command."""

    kafka: str = Field(
        "127.0.0.1:9092",
        pattern=_ADDRESSES,
        description="Kafka's bootstrap addresses, host:port,…",
    )
    namespace: str = Field(
        "bluetick", pattern=NAMESPACE, description="prefix of topics, groups and transactional ids"
    )
    raw_namespace: str | None = Field(
        None,
        pattern=NAMESPACE,
        description="namespace of the raw topics; default: the namespace of the observations",
    )
    observations_namespace: str | None = Field(
        None,
        pattern=NAMESPACE,
        description="namespace of the observations; default: `BLUETICK_NAMESPACE`",
    )
    partitions: int = Field(6, ge=1, le=1000, description="partitions of every topic")
    replication: int | None = Field(
        None,
        ge=1,
        description="replicas of every partition; default: 3, or the number of brokers if lower",
    )
    installation: str | None = Field(
        None,
        pattern=NAMESPACE,
        description="a name of this installation in `ce_source` of what track publishes, "
        "`/bluetick/<name>/track`; default: `/bluetick/track`",
    )
    security: Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"] = Field(
        "PLAINTEXT", description="Kafka's security protocol"
    )
    sasl_mechanism: Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512", "OAUTHBEARER"] = Field(
        "SCRAM-SHA-512", description="SASL mechanism"
    )
    username: str | None = Field(None, description="SASL user name")
    password: SecretStr | None = Field(None, description="SASL password")
    password_file: FilePath | None = Field(
        None, description="a file with the SASL password, instead of `BLUETICK_PASSWORD`"
    )
    token_file: FilePath | None = Field(
        None, description="a file with the token for OAUTHBEARER, read for each connection"
    )
    token_command: str | None = Field(
        None,
        min_length=1,
        description="a command that prints a token for OAUTHBEARER; it runs without a shell",
    )
    ca_file: FilePath | None = Field(
        None, description="CA certificates (PEM) to trust instead of the system's"
    )
    certificate_file: FilePath | None = Field(
        None, description="the client's certificate (PEM), with its chain, for mutual TLS"
    )
    key_file: FilePath | None = Field(None, description="the private key (PEM) of that certificate")
    key_password: SecretStr | None = Field(None, description="the password of an encrypted key")
    key_password_file: FilePath | None = Field(
        None, description="a file with the password of the key, instead of `BLUETICK_KEY_PASSWORD`"
    )
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = Field(
        "INFO",
        description="lowest level that the services log; for Kafka's client and uvicorn "
        "at least WARNING",
    )
    log_format: Literal["json", "console"] | None = Field(
        None,
        description="form of the services' log lines: one JSON object a line, or text for people; "
        "default: `console` if standard error is a terminal, else `json`",
    )
    traces: str = Field(
        "off",
        pattern=_COLLECTOR,
        description="where the services send their spans: `off`, the URL of an OpenTelemetry "
        "collector (OTLP over HTTP, such as `http://collector:4318`), or `otlp` for that of "
        "`OTEL_EXPORTER_OTLP_ENDPOINT` (docs/tracing.md)",
    )
    trace_ratio: float = Field(
        0.01, ge=0, le=1, description="share of the webhooks of which spans are sent"
    )
    health_host: str = Field(
        "127.0.0.1",
        description="address of every service's health and metrics. The pages name Kafka's "
        "addresses and paths: let only probes and monitoring reach them",
    )


class _Ingest(_Group):
    """Ingest."""

    host: str = Field("127.0.0.1", description="address for webhooks")
    port: int = Field(8080, ge=0, le=65535, description="port for webhooks")
    ingest_metrics_port: int = Field(
        8083, ge=0, le=65535, description="port of ingest's health and metrics"
    )
    sources: Path | None = Field(
        None,
        description="the sources file: who may send, and with which proof (docs/sources.md); "
        "default: every provider, without proof, on loopback only",
    )
    max_body: int = Field(MAX_BODY, ge=1, le=MAX_BODY, description="largest body, in bytes")
    receive_deadline: float = Field(
        10.0, gt=0, description="seconds for a request's head to arrive, and again for its body"
    )
    publish_deadline: float = Field(
        1.5, gt=0, description="seconds to wait for Kafka before the spool is used, or 503 sent"
    )
    max_in_flight: int = Field(2000, ge=1, description="requests waiting for Kafka before 503")
    max_in_flight_bytes: int = Field(
        64 * 1024 * 1024, ge=MAX_BODY, description="bytes waiting for Kafka before 503"
    )
    max_connections: int = Field(
        10_000,
        ge=1,
        description="open connections; above it, the connection idle for longest is closed",
    )
    drain: float = Field(
        3.0,
        ge=0,
        le=60,
        description="seconds for which ingest still accepts webhooks after SIGTERM, not ready",
    )
    spool: Path | None = Field(
        None,
        description="directory for bodies while Kafka is unavailable; without it: 503 meanwhile",
    )
    spool_max_bytes: int = Field(
        1024 * 1024 * 1024, ge=MAX_BODY, description="bytes that a process may spool before 503"
    )
    spool_max_age: float = Field(
        259_200.0, gt=0, description="age in seconds of the oldest spooled body before 503"
    )


class _Workers(_Group):
    """Every processor."""

    session_timeout: float = Field(
        30.0, ge=6, description="seconds without heartbeats until a worker loses its partitions"
    )
    transaction_timeout: float = Field(
        15.0, ge=5, description="seconds that a transaction, or a round of normalise, may last"
    )
    instance: str | None = Field(
        None,
        pattern=NAMESPACE,
        description="a stable, unique id of this worker (Kafka's `group.instance.id`): a restart "
        "within the session timeout, planned or not, moves no partition. Default for track "
        "and measure: an id in the data directory, for unplanned restarts",
    )
    failpoint: str | None = Field(
        None, description="for fault tests: where to die or pause (docs/reliability.md)"
    )


class _Normalise(_Group):
    """Normalise."""

    dead_letter_ratio: float = Field(
        0.5,
        ge=0,
        le=1,
        description="share of a source's last 1000 bodies (at least 200) that may become dead "
        "letters before normalise stops the source; 0: no limit",
    )
    dead_letter_run: int = Field(
        500,
        ge=0,
        description="number of a source's consecutive bodies that may become dead letters before "
        "normalise stops the source; 0: no limit",
    )
    stories: bool = Field(
        default=False,
        description="whether a story that a contact posts is an inbound message; otherwise it is "
        "ignored and counted",
    )
    privacy: str = Field(
        "keep",
        description="what the derived topics hold of personal data: `numbers:hash` or "
        "`numbers:omit`, `texts:omit`, `payload:omit`, with commas between (docs/privacy.md)",
    )
    privacy_key: SecretStr | None = Field(
        None,
        description="the keys of the hashes, `<id>[@<since>]=<secret>` with commas between",
    )
    privacy_key_file: FilePath | None = Field(
        None, description="a file with these keys, one a line, instead of `BLUETICK_PRIVACY_KEY`"
    )


class _Track(_Group):
    """Track."""

    data: Path = Field(
        _DATA,
        description="directory for data: the stores and group instance ids of track and measure, "
        "and the Kafka that `up` starts; `$XDG_DATA_HOME` moves the default",
    )
    stalled_queued: float = Field(
        600.0, gt=0, description="seconds a message may be queued or sending until `stalled`"
    )
    stalled_sent: float = Field(
        86_400.0, gt=0, description="seconds a message may be sent until `stalled`"
    )
    stalled_queued_by_channel: dict[str, float] = Field(
        {}, description='`BLUETICK_STALLED_QUEUED` of single channels, as JSON: {"viber": 120}'
    )
    stalled_sent_by_channel: dict[str, float] = Field(
        {}, description='`BLUETICK_STALLED_SENT` of single channels, as JSON: {"viber": 3600}'
    )
    timer_grace: float = Field(
        60.0, ge=0, description="seconds that timers wait for bodies on their way from ingest"
    )


class _Console(_Group):
    """Console."""

    console_host: str = Field(
        "127.0.0.1",
        description="address of the pages and the API; one that other machines reach needs a login",
    )
    console_port: int = Field(8085, ge=0, le=65535, description="port of the pages and the API")
    console_health_port: int = Field(
        8086, ge=0, le=65535, description="port of the console's health and metrics"
    )
    console_db: SecretStr | None = Field(
        None,
        description="the read model's database, `postgresql://user:password@host/name`; default: "
        "a SQLite file in `BLUETICK_DATA`",
    )
    console_db_file: FilePath | None = Field(
        None, description="a file with that URL, instead of `BLUETICK_CONSOLE_DB`"
    )
    console_retention: float = Field(
        30.0, gt=0, description="days for which the read model keeps messages and what is of them"
    )
    console_url: str | None = Field(
        None,
        pattern=_URL,
        description="the URL by which browsers reach the console, such as "
        "`https://console.example.com`",
    )
    console_login: Literal["off", "oidc", "proxy"] = Field(
        "off",
        description="how people log in: `off` (loopback only), `oidc` (OpenID Connect), or `proxy` "
        "(a reverse proxy names them)",
    )
    console_roles: dict[str, str] = Field(
        {},
        description="roles by person, by `group:<name>`, or `*` for everyone, as JSON: "
        '{"*": "view", "ann@example.com": "view reveal act"}',
    )
    console_oidc_issuer: str | None = Field(
        None, pattern=_URL, description="the identity provider's issuer URL"
    )
    console_oidc_client: str | None = Field(
        None, description="the console's client id at the identity provider"
    )
    console_oidc_secret: SecretStr | None = Field(None, description="the client's secret")
    console_oidc_secret_file: FilePath | None = Field(
        None, description="a file with that secret, instead of `BLUETICK_CONSOLE_OIDC_SECRET`"
    )
    console_proxy_header: str | None = Field(
        None, description="the header in which the proxy names the person, such as `X-Remote-User`"
    )
    console_proxy_addresses: str | None = Field(
        None, description="the proxy's addresses or networks, with commas between"
    )
    console_session_key: SecretStr | None = Field(
        None,
        description="the key that signs sessions, at least 32 characters; default: a new one at "
        "each start, which ends all sessions",
    )
    console_session_key_file: FilePath | None = Field(
        None, description="a file with that key, instead of `BLUETICK_CONSOLE_SESSION_KEY`"
    )
    console_audit: Path | None = Field(
        None,
        description="the file of the audit log, JSON lines; default: "
        "`console/<namespace>/audit.jsonl` in the data directory",
    )


class _Measure(_Group):
    """Measure."""

    quality_names: int = Field(
        50,
        ge=1,
        le=1000,
        description="operators of a route and period, and reasons of a cell, that the figures of "
        "quality name; further ones count as `other`",
    )
    quality_minute_days: int = Field(
        7, ge=1, le=3650, description="days for which the figures of each minute are kept"
    )
    quality_hour_days: int = Field(
        90, ge=1, le=3650, description="days for which the figures of each hour are kept"
    )
    quality_day_days: int = Field(
        730, ge=1, le=3650, description="days for which the figures of each day are kept"
    )


class _Settings(_Console, _Measure, _Track, _Normalise, _Workers, _Ingest, _Shared):
    """Every setting of every service."""

    @field_validator("sources", "spool", "data", mode="before")
    @classmethod
    def _refuse_nowhere(cls, value: object) -> object:
        """Refuse an empty path: it would be the current directory or, for sources, open ingest."""
        if value == "":
            raise PydanticCustomError("empty", "it is empty; name a path, or leave it unset")
        return value

    @field_validator("privacy")
    @classmethod
    def _refuse_unknown_policy(cls, text: str) -> str:
        try:
            return str(policy_of(text))
        except ValueError as error:
            raise PydanticCustomError("policy", "{why}", {"why": str(error)}) from None

    @field_validator("data")
    @classmethod
    def _below_home(cls, path: Path) -> Path:
        """Resolve the default. Without a home, the error of the first use names the setting."""
        if path != _DATA:
            return path
        named = Path(os.environ.get("XDG_DATA_HOME", ""))
        if named.is_absolute():
            return named / _DATA.name
        try:
            return path.expanduser()
        except RuntimeError:
            return _NO_HOME / _DATA.name

    @property
    def stores(self) -> Path:
        """The directory of the namespace's local stores."""
        return self.data / "state" / self.namespace

    @property
    def audit_file(self) -> Path:
        """The file of the console's audit log."""
        return self.console_audit or self.data / "console" / self.namespace / "audit.jsonl"

    @property
    def topics(self) -> Topics:
        return Topics(
            self.namespace, self.raw_namespace, self.observations_namespace, providers=NAMES
        )

    @property
    def privacy_in_force(self) -> Privacy:
        """The policy for personal data, with its keys; raises `Problem` for keys of no form."""
        secret = self.privacy_key
        try:
            keys = keys_of(secret.get_secret_value()) if secret else ()
        except ValueError as error:
            raise Problem("invalid_privacy_key", why=str(error)) from None
        return Privacy(policy_of(self.privacy), keys)

    def health_port(self, name: str) -> int:
        """The port of a processor's health and metrics."""
        port: int = getattr(self, processor(name).port_setting)
        return port

    def of(self, namespace: str) -> "Settings":
        """The same for another namespace, with raw topics and observations of its own."""
        own = {"raw_namespace": None, "observations_namespace": None}
        return self.model_copy(update={"namespace": namespace, **own})

    @property
    def access(self) -> Access:
        """How these settings reach Kafka and log in there, without the secrets."""
        given = {name for name in SECURITY_SETTINGS if getattr(self, name) is not None}
        return Access(
            kafka=self.kafka,
            security=self.security,
            mechanism=self.sasl_mechanism,
            username=self.username,
            given=frozenset(given),
        )


if TYPE_CHECKING:
    Settings = _Settings
else:
    # Each processor adds the setting of its health port.
    Settings = create_model(
        "Settings",
        __base__=_Settings,
        __module__=__name__,
        **{
            one.port_setting: (
                int,
                Field(
                    one.health_port,
                    ge=0,
                    le=65535,
                    description=f"port of {one.name}'s health and metrics",
                ),
            )
            for one in PROCESSORS
        },
    )

_GROUPS = (_Shared, _Ingest, _Workers, _Normalise, _Track, _Measure, _Console)


def groups() -> dict[str, list[str]]:
    """Return the names of the settings by the title of their group, in the order of the page."""
    found = {str(group.__doc__).rstrip("."): [*group.__annotations__] for group in _GROUPS}
    grouped = {name for names in found.values() for name in names}
    ports = [name for name in Settings.model_fields if name not in grouped]
    return {**found, "Health of the processors": ports}


def origin(name: str, options: Collection[str], environment: Collection[str]) -> Origin:
    """Return the origin of a setting's value.

    `options` are the settings given on the command line; `environment` are the variables.
    """
    set_ = {one.upper() for one in environment}
    if name in options:
        return "option"
    if f"{name}_file" in Settings.model_fields and variable(f"{name}_file") in set_:
        return "file"
    return "environment" if variable(name) in set_ else "default"


# The settings that hold a secret; each has another one, `<name>_file`, with the name of a file.
SECRETS = tuple(name for name in _Settings.model_fields if f"{name}_file" in _Settings.model_fields)


def load(**overrides: Any) -> Settings:
    """Read the settings; command line options, where given (not None), win over the environment.

    Raises `Problem` for values that are invalid, or that contradict each other.
    """
    _refuse_unknown()
    given = {name: value for name, value in overrides.items() if value is not None}
    try:
        settings = Settings(**given)
    except ValidationError as error:
        raise Problem(
            "invalid_setting", why=[_explain(detail) for detail in error.errors()]
        ) from None
    if found := contradictions(settings):
        raise Problem("contradictory_settings", why=[str(one) for one in found])
    secrets = {name: _secret(settings, name) for name in SECRETS}
    read = settings.model_copy(update={name: value for name, value in secrets.items() if value})
    _ = read.privacy_in_force  # refuses invalid keys
    return read


def _secret(settings: Settings, name: str) -> SecretStr | None:
    """Read a secret from the file that the settings name, without the end of its last line."""
    file: Path | None = getattr(settings, f"{name}_file")
    if file is None:
        return None
    setting = variable(f"{name}_file")
    try:
        text = file.read_text().rstrip("\r\n")
    except (OSError, UnicodeDecodeError) as error:
        why = getattr(error, "strerror", None) or "it is not text"
        raise Problem("secret_unreadable", setting=setting, file=str(file), why=why) from None
    if not text:
        raise Problem("secret_unreadable", setting=setting, file=str(file), why="it is empty")
    return SecretStr(text)


def _refuse_unknown() -> None:
    """A misspelt setting would otherwise be silently its default."""
    known = {variable(name) for name in Settings.model_fields}
    unknown = sorted(
        name for name in os.environ if name.startswith("BLUETICK_") and name not in known
    )
    if unknown:
        raise Problem("unknown_setting", settings=unknown)


def _explain(detail: Any) -> str:
    name = str(detail["loc"][0])
    shown = "" if name in SECRETS else f" {detail['input']!r}"
    why = _WORDS.get(detail.get("ctx", {}).get("pattern"), detail["msg"])
    return f"the setting BLUETICK_{name.upper()}{shown} is not valid: {why}"
