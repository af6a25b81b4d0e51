"""From the exception of a connection or a request to the reason: a code and its fields. Pure.

aiokafka's errors are recognised by the names of their classes, so that this imports no client.
"""

import ssl
from collections.abc import Iterator
from typing import Any, Literal, NamedTuple

from service.kafka.access import Access, Wrong
from service.setting_names import variable

Stage = Literal["connecting", "greeting", "login", "request"]
"""How far a connection came: TCP and TLS, the versions of the requests, SASL, a first request."""

CONNECTION_CAUSES = (
    "kafka_silent",
    "kafka_host_unknown",
    "kafka_tls_missing",
    "kafka_tls_unexpected",
    "kafka_ca_unknown",
    "kafka_certificate_expired",
    "kafka_host_name_wrong",
    "kafka_certificate_wrong",
    "kafka_client_certificate_refused",
    "kafka_sasl_missing",
    "kafka_sasl_unexpected",
    "kafka_mechanism_refused",
    "kafka_password_refused",
    "kafka_token_refused",
    "kafka_token_unavailable",
    "kafka_connection_closed",
)
RIGHT_CAUSES = (
    "kafka_topic_right_missing",
    "kafka_group_right_missing",
    "kafka_transactional_id_right_missing",
    "kafka_cluster_right_missing",
)
CAUSES = (*CONNECTION_CAUSES, *RIGHT_CAUSES)
"""The codes of all failures of Kafka's connections and rights; without `kafka_` for metrics."""

# What another moment may explain as well: a broker that stops closes connections too.
DOUBTFUL = frozenset(
    {
        "kafka_tls_unexpected",
        "kafka_client_certificate_refused",
        "kafka_sasl_missing",
        "kafka_password_refused",
        "kafka_token_refused",
        "kafka_connection_closed",
    }
)

# OpenSSL's codes of a certificate that it does not accept (x509_vfy.h).
_EXPIRED = {9, 10}  # not valid yet, or no longer
_UNKNOWN_CA = {2, 18, 19, 20, 21, 27}
_OTHER_NAME = {62, 64}
_TLS_ALERT = 0x1503  # the first bytes of an alert: its content type, and the version's first byte
_RESOURCES = {
    "TopicAuthorizationFailedError": "topic",
    "GroupAuthorizationFailedError": "group",
    "TransactionalIdAuthorizationFailed": "transactional-id",
    "ClusterAuthorizationFailedError": "cluster",
}


class Failure(NamedTuple):
    """A connection that failed: to which address (host:port), with what error, at which stage.

    `offered` are the SASL mechanisms that the broker named; `from_broker` is whether a broker's
    metadata, not the setting, holds the address.
    """

    address: str
    error: BaseException
    stage: Stage
    offered: tuple[str, ...] = ()
    from_broker: bool = False


class Refused(NamedTuple):
    """What Kafka refuses for lack of a right: the kind of resource, and its names, if known."""

    resource: str
    names: tuple[str, ...]

    @property
    def code(self) -> str:
        """The code of the problem."""
        return f"kafka_{self.resource.replace('-', '_')}_right_missing"


def label(code: str) -> str:
    """Return the code as the label `cause` of the metric."""
    return code.removeprefix("kafka_")


def refused_right(error: BaseException) -> Refused | None:
    """Return which resource an error, or a cause of it, says this user has no right to."""
    for one in _chain(error):
        for name in _names(one) & _RESOURCES.keys():
            return Refused(_RESOURCES[name], tuple(_texts(one.args)))
    return None


def connection_failed(failure: Failure, access: Access) -> Wrong:
    """Return why a connection failed, as the code and the fields of a `Problem`."""
    code = _code(failure, access)
    return code, {"where": _where(failure), **_fields(code, failure, access)}


def _where(failure: Failure) -> str:
    source = "advertised.listeners of the brokers" if failure.from_broker else variable("kafka")
    return f"{failure.address} ({source})"


def _code(failure: Failure, access: Access) -> str:
    chain = list(_chain(failure.error))
    names = set[str]().union(*map(_names, chain))
    if "TokenError" in names:
        return "kafka_token_unavailable"
    certificate = [one for one in chain if isinstance(one, ssl.SSLCertVerificationError)]
    if certificate:
        return _certificate_code(certificate[0].verify_code)
    if "gaierror" in names:
        return "kafka_host_unknown"
    return _alert_code(chain) or _login_code(names, access) or _closed_code(failure, names, access)


def _certificate_code(verify_code: int) -> str:
    if verify_code in _EXPIRED:
        return "kafka_certificate_expired"
    if verify_code in _UNKNOWN_CA:
        return "kafka_ca_unknown"
    return "kafka_host_name_wrong" if verify_code in _OTHER_NAME else "kafka_certificate_wrong"


def _alert_code(chain: list[BaseException]) -> str | None:
    """Return what an alert of TLS means: to a client with TLS, or to one without."""
    for one in chain:
        expected = getattr(one, "expected", None)
        if isinstance(expected, int) and expected >> 16 == _TLS_ALERT:
            return "kafka_tls_missing"
        reason = str(getattr(one, "reason", None) or "")
        if "ALERT" in reason and ("CERTIFICATE" in reason or "UNKNOWN_CA" in reason):
            return "kafka_client_certificate_refused"
    return None


def _login_code(names: set[str], access: Access) -> str | None:
    if "UnsupportedSaslMechanismError" in names:
        return "kafka_mechanism_refused"
    if names & {"SaslAuthenticationFailed", "AuthenticationFailedError"}:
        return "kafka_token_refused" if access.tokens else "kafka_password_refused"
    return "kafka_sasl_unexpected" if "IllegalSaslStateError" in names else None


def _closed_code(failure: Failure, names: set[str], access: Access) -> str:
    """Return why a broker closed the connection: it does not say so, the stage does."""
    closed = bool(names & {"SSLError", "ConnectionResetError", "ConnectionAbortedError"})
    if failure.stage == "connecting" and access.tls and closed:
        return "kafka_tls_unexpected"
    if failure.stage == "connecting" or names & {"TimeoutError", "ConnectionRefusedError"}:
        return "kafka_silent"
    if failure.stage == "greeting":
        return "kafka_client_certificate_refused" if access.tls else "kafka_connection_closed"
    if access.sasl:
        return "kafka_token_refused" if access.tokens else "kafka_password_refused"
    return "kafka_sasl_missing"


def _fields(code: str, failure: Failure, access: Access) -> dict[str, Any]:
    why = _why(failure.error)
    given: dict[str, dict[str, Any]] = {
        "kafka_silent": {"why": why},
        "kafka_tls_missing": {"security": access.security, "right": _with_tls(access)},
        "kafka_tls_unexpected": {"security": access.security, "right": _without_tls(access)},
        "kafka_ca_unknown": {"trusted": _trusted(access)},
        "kafka_certificate_expired": {"why": why},
        "kafka_host_name_wrong": {"why": why},
        "kafka_certificate_wrong": {"why": why},
        "kafka_client_certificate_refused": {"sent": "certificate_file" in access.given},
        "kafka_sasl_missing": {"security": access.security},
        "kafka_sasl_unexpected": {"security": access.security, "user": access.user},
        "kafka_mechanism_refused": {
            "mechanism": access.mechanism,
            "offered": list(failure.offered),
            "user": access.user,
        },
        "kafka_password_refused": {
            "user": access.user,
            "mechanism": access.mechanism,
            "setting": access.password_setting,
        },
        "kafka_token_refused": {"setting": access.token_setting},
        "kafka_token_unavailable": {"why": why, "setting": access.token_setting},
        "kafka_connection_closed": {"security": access.security},
    }
    return given.get(code, {})


def _with_tls(access: Access) -> str:
    return "SASL_SSL" if access.sasl else "SSL"


def _without_tls(access: Access) -> str:
    return "SASL_PLAINTEXT" if access.sasl else "PLAINTEXT"


def _trusted(access: Access) -> str:
    return variable("ca_file") if "ca_file" in access.given else "the system's CA certificates"


def _why(error: BaseException) -> str:
    """Return the text of the innermost cause that has one, else its name.

    A time limit of asyncio ends in a CancelledError, which says nothing about Kafka.
    """
    chain = [one for one in _chain(error) if "CancelledError" not in _names(one)] or [error]
    for one in chain:
        if isinstance(one, ssl.SSLCertVerificationError):
            return str(one.verify_message)
    texts = [str(one.args[0]) for one in chain if "TokenError" in _names(one)]
    return texts[0] if texts else type(chain[-1]).__name__


def _chain(error: BaseException) -> Iterator[BaseException]:
    """Yield an error and its causes, at most once each."""
    seen: set[int] = set()
    following: BaseException | None = error
    while following is not None and id(following) not in seen:
        seen.add(id(following))
        yield following
        following = following.__cause__ or following.__context__


def _names(error: BaseException) -> set[str]:
    return {kind.__name__ for kind in type(error).__mro__}


def _texts(values: Any) -> Iterator[str]:
    """Yield the names in an error's arguments: text without spaces, or collections of it."""
    for one in values:
        if isinstance(one, str):
            yield from [one] if " " not in one else []
        elif isinstance(one, (list, tuple, set, frozenset)):
            yield from sorted(_texts(one))
