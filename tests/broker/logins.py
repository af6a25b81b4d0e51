"""Settings for every way to log in to the secure broker, and for every fault of a login."""

from pathlib import Path
from typing import Any

from service.settings import Settings
from tests.broker.secure_kafka import PASSWORD, SecureKafka

SCRAM: dict[str, Any] = {"username": "scram", "password": PASSWORD}
TOKEN: dict[str, Any] = {"sasl_mechanism": "OAUTHBEARER"}


def ways(secure: SecureKafka, users: Path) -> dict[str, Settings]:
    """Return settings for each way to log in."""
    encrypted = secure.certificates.encrypted("client", "key-password")
    plain = {"sasl_mechanism": "PLAIN", "username": "plain", "password": PASSWORD}
    scram_256 = {"sasl_mechanism": "SCRAM-SHA-256", **SCRAM, "username": "scram-256"}
    command = f"cat {users / 'valid'}"
    logins: dict[str, tuple[str, dict[str, Any]]] = {
        "mutual TLS": ("MUTUAL", dict(secure.certificates.cert("client"))),
        "mutual TLS, encrypted key": ("MUTUAL", {**encrypted, "key_password": "key-password"}),
        "PLAIN": ("LOGIN", plain),
        "SCRAM-SHA-256": ("LOGIN", scram_256),
        "SCRAM-SHA-512": ("LOGIN", SCRAM),
        "SCRAM-SHA-512 without TLS": ("CLEAR", SCRAM),
        "token from a file": ("TOKEN", {**TOKEN, "token_file": users / "valid"}),
        "token from a command": ("TOKEN", {**TOKEN, "token_command": command}),
        "nothing": ("PLAINTEXT", {}),
    }
    return {
        name: secure.settings(listener, namespace="any", partitions=1, **given)
        for name, (listener, given) in logins.items()
    }


def faults(secure: SecureKafka, users: Path) -> dict[str, tuple[str, Settings, tuple[str, ...]]]:
    """Return, by name, the code of a fault, its settings, and words of its sentence."""
    one, of = secure.certificates, secure.settings
    no_tls = {"ca_file": None}
    user = ("user scram (BLUETICK_USERNAME)",)
    return {
        "wrong password": (
            "kafka_password_refused",
            of("LOGIN", **{**SCRAM, "password": "wrong"}),
            (*user, "BLUETICK_PASSWORD", "SCRAM-SHA-512"),
        ),
        "credentials of another mechanism": (
            "kafka_password_refused",
            of("LOGIN", **SCRAM, sasl_mechanism="SCRAM-SHA-256"),
            (*user, "no SCRAM-SHA-256 credentials"),
        ),
        "mechanism that the broker lacks": (
            "kafka_mechanism_refused",
            of("CLEAR", **SCRAM, sasl_mechanism="PLAIN"),
            ("BLUETICK_SASL_MECHANISM=PLAIN", "offers: SCRAM-SHA-512"),
        ),
        "unknown CA": (
            "kafka_ca_unknown",
            of("TLS", ca_file=one.other_ca),
            ("not signed by a CA in BLUETICK_CA_FILE",),
        ),
        "CA of no file": (
            "kafka_ca_unknown",
            of("TLS", **no_tls),
            ("the system's CA certificates", "BLUETICK_CA_FILE"),
        ),
        "expired certificate": ("kafka_certificate_expired", of("EXPIRED"), ("has expired",)),
        "other host name": ("kafka_host_name_wrong", of("NAMED"), ("another host name",)),
        "no TLS on a port of TLS": (
            "kafka_tls_missing",
            of("TLS", security="PLAINTEXT", **no_tls),
            ("BLUETICK_SECURITY=PLAINTEXT", "set it to SSL"),
        ),
        "login without TLS on a port of TLS": (
            "kafka_tls_missing",
            of("LOGIN", security="SASL_PLAINTEXT", **no_tls, **SCRAM),
            ("set it to SASL_SSL",),
        ),
        "TLS on a port without": (
            "kafka_tls_unexpected",
            of("CLEAR", security="SASL_SSL", ca_file=one.ca, **SCRAM),
            ("BLUETICK_SECURITY=SASL_SSL", "set it to SASL_PLAINTEXT"),
        ),
        "no client certificate": (
            "kafka_client_certificate_refused",
            of("MUTUAL"),
            ("requires a client certificate", "BLUETICK_CERTIFICATE_FILE"),
        ),
        "client certificate of another CA": (
            "kafka_client_certificate_refused",
            of("MUTUAL", **one.cert("stranger")),
            ("refuses the client certificate in BLUETICK_CERTIFICATE_FILE",),
        ),
        "no login": (
            "kafka_sasl_missing",
            of("LOGIN", security="SSL"),
            ("BLUETICK_SECURITY=SSL", "BLUETICK_USERNAME"),
        ),
        "login on a port without": (
            "kafka_sasl_unexpected",
            of("TLS", security="SASL_SSL", **SCRAM),
            (*user, "BLUETICK_SECURITY=SASL_SSL"),
        ),
        "expired token": (
            "kafka_token_refused",
            of("TOKEN", **TOKEN, token_file=users / "expired"),
            ("BLUETICK_TOKEN_FILE", "expired"),
        ),
        "no token": (
            "kafka_token_unavailable",
            of("TOKEN", **TOKEN, token_command="false"),
            ("BLUETICK_TOKEN_COMMAND", "exit code 1"),
        ),
        "no such host": (
            "kafka_host_unknown",
            of("TLS", kafka="nowhere.invalid:9092"),
            ("nowhere.invalid:9092 (BLUETICK_KAFKA)",),
        ),
        "no broker": (
            "kafka_silent",
            of("TLS", kafka="127.0.0.1:9"),
            ("127.0.0.1:9 (BLUETICK_KAFKA)", "start it"),
        ),
    }
