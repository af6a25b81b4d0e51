"""The sentences about the login to Kafka, its connections and rights. Pure.

Each names the address or the user, the setting, and what to do. They are part of
service/problem_sentences.py.
"""

from collections.abc import Callable, Mapping, Sequence

_KINDS = {"transactional-id": "transactional id"}


def _client_certificate_refused(*, where: str, sent: bool) -> str:
    if sent:
        return (
            f"Kafka at {where} refuses the client certificate in BLUETICK_CERTIFICATE_FILE: it is "
            "expired, or its CA is not in the brokers' truststore; use a certificate that they "
            "trust"
        )
    return (
        f"Kafka at {where} closes the connection after TLS: it requires a client certificate; "
        "name one in BLUETICK_CERTIFICATE_FILE, with its key in BLUETICK_KEY_FILE"
    )


def _mechanism_refused(*, where: str, mechanism: str, offered: Sequence[str], user: str) -> str:
    there = ", ".join(offered) or "another one"
    return (
        f"Kafka at {where} does not accept BLUETICK_SASL_MECHANISM={mechanism} for the user "
        f"{user}; set it to what the broker offers: {there}"
    )


def _excluded(*, settings: Sequence[str]) -> str:
    return f"{' and '.join(settings)} are both set; unset one of them"


def _login_lacks(*, security: str, mechanism: str, missing: Sequence[str]) -> str:
    return (
        f"BLUETICK_SECURITY={security} with BLUETICK_SASL_MECHANISM={mechanism} needs "
        f"{' and '.join(missing)}; set {'it' if len(missing) == 1 else 'them'}"
    )


def _right_missing(kind: str) -> Callable[..., str]:
    """Return the sentence of a missing right, with the command that grants it."""

    def words(*, user: str, principal: str, names: Sequence[str], operations: Sequence[str]) -> str:
        shown = _KINDS.get(kind, kind)
        to = "the cluster" if kind == "cluster" else f"the {shown} {', '.join(names) or 'it uses'}"
        rights = " and ".join(operations) or "use"
        flags = "".join(f" --operation {one}" for one in operations)
        each = " ".join(f"--{kind} {name}" for name in names or ["NAME"])
        on = "--cluster" if kind == "cluster" else each
        return (
            f"Kafka denies the user {user} the right to {rights} on {to}; grant it: kafka-acls.sh "
            f"--add --allow-principal 'User:{principal}'{flags or ' --operation All'} {on} "
            "(docs/security.md)"
        )

    return words


MESSAGES: Mapping[str, str | Callable[..., str]] = {
    "ca_file_unusable": (
        "the CA certificates in {file} (BLUETICK_CA_FILE) cannot be used: {why}; name a readable "
        "PEM file"
    ),
    "client_certificate_unusable": (
        "the client certificate {certificate} (BLUETICK_CERTIFICATE_FILE) cannot be used with the "
        "key {key} (BLUETICK_KEY_FILE): {why}; name a PEM certificate and its key, and set "
        "BLUETICK_KEY_PASSWORD if the key is encrypted"
    ),
    "kafka_ca_unknown": (
        "the certificate of Kafka at {where} is not signed by a CA in {trusted}; name the file of "
        "that CA's certificate in BLUETICK_CA_FILE"
    ),
    "kafka_certificate_expired": (
        "the certificate of Kafka at {where} is not valid now ({why}); renew it at the broker, or "
        "correct this machine's clock"
    ),
    "kafka_certificate_wrong": (
        "the certificate of Kafka at {where} is not accepted: {why}; correct it at the broker, or "
        "the CA in BLUETICK_CA_FILE"
    ),
    "kafka_client_certificate_refused": _client_certificate_refused,
    "kafka_cluster_right_missing": _right_missing("cluster"),
    "kafka_connection_closed": (
        "Kafka at {where} closes the connection without an answer to "
        "BLUETICK_SECURITY={security}; correct that setting or the port, or see the broker's log"
    ),
    "kafka_group_right_missing": _right_missing("group"),
    "kafka_host_name_wrong": (
        "the certificate of Kafka at {where} is for another host name ({why}); use a name that is "
        "in the certificate, or renew it at the broker with this one"
    ),
    "kafka_host_unknown": (
        "the host name of {where} cannot be resolved; correct the name, or DNS on this machine"
    ),
    "kafka_mechanism_refused": _mechanism_refused,
    "kafka_password_refused": (
        "Kafka at {where} refuses the login of the user {user} by {mechanism}: the password in "
        "{setting} is wrong, or this user has no {mechanism} credentials there; correct the "
        "password, or BLUETICK_SASL_MECHANISM"
    ),
    "kafka_request_failed": (
        "Kafka answers at {kafka} (BLUETICK_KAFKA), but a request failed ({why}); try again, and "
        "see the brokers' log if it fails again"
    ),
    "kafka_sasl_missing": (
        "Kafka at {where} closes the connection before the first request: this port requires a "
        "login, and BLUETICK_SECURITY={security} has none; set SASL_SSL or SASL_PLAINTEXT with "
        "BLUETICK_USERNAME, or use another port"
    ),
    "kafka_sasl_unexpected": (
        "Kafka at {where} expects no SASL login of the user {user} on this port, and "
        "BLUETICK_SECURITY={security} begins one; set PLAINTEXT or SSL, or use another port"
    ),
    "kafka_silent": (
        "Kafka does not answer at {where}: {why}; start it, or correct the address or the network"
    ),
    "kafka_tls_missing": (
        "Kafka at {where} expects TLS on this port, and BLUETICK_SECURITY={security} has none; set "
        "it to {right}, or use another port"
    ),
    "kafka_tls_unexpected": (
        "Kafka at {where} closes the connection at the start of TLS: this port has probably no "
        "TLS, and BLUETICK_SECURITY={security} begins it; set it to {right}, or use another port"
    ),
    "kafka_token_refused": (
        "Kafka at {where} refuses the token of {setting}: it is expired, or for another audience, "
        "issuer or scope; renew it"
    ),
    "kafka_token_unavailable": ("there is no token for Kafka at {where}: {why}; correct {setting}"),
    "kafka_topic_right_missing": _right_missing("topic"),
    "kafka_transactional_id_right_missing": _right_missing("transactional-id"),
    "login_lacks": _login_lacks,
    "secret_unreadable": (
        "the secret cannot be read from {file} ({setting}): {why}; name a readable file that holds "
        "only the secret"
    ),
    "setting_alone": "{setting} is set without {needed}; set both, or none",
    "settings_exclude": _excluded,
    "settings_need_sasl": (
        "{settings}: set, but BLUETICK_SECURITY={security} has no login; set it to SASL_SSL or "
        "SASL_PLAINTEXT, or unset {settings}"
    ),
    "settings_need_tls": (
        "{settings}: set, but BLUETICK_SECURITY={security} has no TLS; set it to SSL or SASL_SSL, "
        "or unset {settings}"
    ),
    "settings_unused": (
        "{settings}: set, but BLUETICK_SASL_MECHANISM={mechanism} does not use it; unset it, or "
        "correct the mechanism"
    ),
}
