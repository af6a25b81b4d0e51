"""Which exception, at which stage of a connection, has which cause."""

import asyncio
import socket
import ssl
from typing import Any

import pytest
from aiokafka import errors

from service.errors import Problem
from service.kafka.access import Access
from service.kafka.causes import (
    CAUSES,
    CONNECTION_CAUSES,
    Failure,
    Stage,
    connection_failed,
    refused_right,
)
from service.kafka.tokens import TokenError
from service.problem_sentences import MESSAGES

PLAIN = Access("k:9092")
TLS = Access("k:9092", "SSL")
CERTIFIED = TLS._replace(given=frozenset({"certificate_file", "key_file"}))
LOGIN = Access("k:9092", "SASL_SSL", username="bt", given=frozenset({"username", "password"}))
CLEAR = LOGIN._replace(security="SASL_PLAINTEXT")
TOKEN = Access("k:9092", "SASL_SSL", "OAUTHBEARER", given=frozenset({"token_file"}))


def certificate(code: int, message: str = "why") -> ssl.SSLCertVerificationError:
    error = ssl.SSLCertVerificationError(1, message)
    error.verify_code, error.verify_message = code, message
    return error


def alert(reason: str) -> ssl.SSLError:
    error = ssl.SSLError(1, reason)
    error.reason = reason
    return error


def closed(cause: BaseException) -> errors.KafkaConnectionError:
    """Return aiokafka's error for a request on a connection that broke."""
    error = errors.KafkaConnectionError("Connection at k:9092 closed")
    error.__cause__ = cause
    return error


END = asyncio.IncompleteReadError(b"", 4)
TLS_ALERT = asyncio.IncompleteReadError(b"\x02\x02\x50", 0x15030300)

CASES: list[tuple[str, BaseException, Stage, Access]] = [
    ("silent", ConnectionRefusedError(), "connecting", LOGIN),
    ("silent", TimeoutError(), "connecting", TLS),
    ("silent", TimeoutError(), "request", LOGIN),
    ("silent", OSError(113, "No route to host"), "connecting", PLAIN),
    ("host_unknown", socket.gaierror(-2, "unknown"), "connecting", TLS),
    ("tls_missing", closed(TLS_ALERT), "greeting", PLAIN),
    ("tls_missing", closed(TLS_ALERT), "greeting", CLEAR),
    ("tls_unexpected", ConnectionResetError(), "connecting", LOGIN),
    ("tls_unexpected", alert("WRONG_VERSION_NUMBER"), "connecting", TLS),
    ("silent", ConnectionResetError(), "connecting", PLAIN),
    *(("ca_unknown", certificate(code), "connecting", TLS) for code in (18, 19, 20, 21)),
    ("certificate_expired", certificate(10), "connecting", TLS),
    ("certificate_expired", certificate(9), "connecting", TLS),
    ("host_name_wrong", certificate(62), "connecting", TLS),
    ("host_name_wrong", certificate(64), "connecting", TLS),
    ("certificate_wrong", certificate(23), "connecting", TLS),
    ("client_certificate_refused", closed(alert("SSLV3_ALERT_BAD_CERTIFICATE")), "greeting", TLS),
    ("client_certificate_refused", alert("TLSV1_ALERT_UNKNOWN_CA"), "connecting", CERTIFIED),
    ("client_certificate_refused", closed(END), "greeting", CERTIFIED),
    ("sasl_missing", closed(END), "request", TLS),
    ("sasl_unexpected", errors.IllegalSaslStateError(), "login", LOGIN),
    ("mechanism_refused", errors.UnsupportedSaslMechanismError(), "login", LOGIN),
    ("password_refused", errors.SaslAuthenticationFailed("no"), "login", CLEAR),
    ("password_refused", closed(END), "login", LOGIN),
    ("token_refused", errors.SaslAuthenticationFailed("invalid_token"), "login", TOKEN),
    ("token_refused", closed(END), "request", TOKEN),
    ("token_unavailable", TokenError("the command printed nothing"), "login", TOKEN),
    ("connection_closed", closed(END), "greeting", PLAIN),
]


@pytest.mark.parametrize(("cause", "error", "stage", "access"), CASES)
def test_the_cause_of_an_error(
    cause: str, error: BaseException, stage: Stage, access: Access
) -> None:
    """Every cause has a sentence of its own, with the address."""
    code, fields = connection_failed(Failure("k:9092", error, stage, ("PLAIN",)), access)
    assert code == f"kafka_{cause}"
    assert "k:9092 (BLUETICK_KAFKA)" in str(Problem(code, **fields))


def test_a_time_limit_is_not_a_cancellation() -> None:
    """Asyncio ends a request at its limit by a CancelledError; the sentence names the limit."""
    error = closed(TimeoutError())
    error.__cause__.__cause__ = asyncio.CancelledError()  # type: ignore[union-attr]
    code, fields = connection_failed(Failure("k:9092", error, "connecting"), PLAIN)
    assert ": TimeoutError;" in str(Problem(code, **fields))


def test_every_cause_of_a_connection_is_tried_and_has_a_sentence() -> None:
    assert {f"kafka_{cause}" for cause, *_ in CASES} == {*CONNECTION_CAUSES}
    assert {*CAUSES} <= MESSAGES.keys()


def test_an_address_of_the_brokers_is_not_in_the_setting() -> None:
    failure = Failure("b:1", ConnectionRefusedError(), "connecting", from_broker=True)
    code, fields = connection_failed(failure, PLAIN)
    assert "b:1 (advertised.listeners of the brokers)" in str(Problem(code, **fields))


@pytest.mark.parametrize(
    ("error", "resource", "names"),
    [
        (errors.TopicAuthorizationFailedError("t"), "topic", ("t",)),
        (errors.TopicAuthorizationFailedError({"b", "a"}), "topic", ("a", "b")),
        (errors.GroupAuthorizationFailedError("g"), "group", ("g",)),
        (errors.GroupAuthorizationFailedError("Unable to find it"), "group", ()),
        (errors.TransactionalIdAuthorizationFailed("x.0"), "transactional-id", ("x.0",)),
        (errors.ClusterAuthorizationFailedError(), "cluster", ()),
        (closed(errors.TopicAuthorizationFailedError("t")), "topic", ("t",)),
    ],
)
def test_what_a_refusal_is_about(error: Any, resource: str, names: tuple[str, ...]) -> None:
    """Also if it is the cause of another error; a sentence of aiokafka is no name."""
    found = refused_right(error)
    assert found is not None
    assert (found.resource, found.names) == (resource, names)
    assert found.code in CAUSES


def test_another_error_is_no_refusal_of_a_right() -> None:
    assert refused_right(errors.KafkaConnectionError()) is None


def test_no_sentence_asks_to_start_what_runs() -> None:
    """Only a broker without an answer is to be started."""
    for cause, error, stage, access in CASES:
        code, fields = connection_failed(Failure("k:9092", error, stage), access)
        assert ("start it" in str(Problem(code, **fields))) == (cause == "silent")


def test_the_command_grants_the_right_on_every_refused_topic() -> None:
    """An administrator runs it once, not once for each topic."""
    fields = {"user": "u", "principal": "u", "names": ["a", "b"], "operations": ["Read"]}
    assert "--operation Read --topic a --topic b (docs" in str(
        Problem("kafka_topic_right_missing", **fields)
    )
