"""Settings of the login and of TLS that contradict each other are refused, in one sentence."""

from typing import Any

import pytest

from service.errors import Problem
from service.kafka.access import CONTRADICTIONS, Access, contradiction

LOGIN = {"username", "password"}


def access(security: str, *given: str, mechanism: str = "SCRAM-SHA-512") -> Access:
    user = "bt" if "username" in given else None
    return Access("k:9092", security, mechanism, user, frozenset(given))


@pytest.mark.parametrize(
    "right",
    [
        access("PLAINTEXT"),
        access("SSL"),
        access("SSL", "ca_file"),
        access("SSL", "certificate_file", "key_file"),
        access("SSL", "certificate_file", "key_file", "key_password_file"),
        access("SASL_PLAINTEXT", *LOGIN),
        access("SASL_SSL", "username", "password_file", "ca_file"),
        access("SASL_SSL", "username", "password", "certificate_file", "key_file"),
        access("SASL_SSL", "token_file", mechanism="OAUTHBEARER"),
        access("SASL_SSL", "token_command", mechanism="OAUTHBEARER"),
    ],
    ids=lambda one: f"{one.security}-{'-'.join(sorted(one.given))}",
)
def test_settings_that_agree(right: Access) -> None:
    assert contradiction(right) is None


@pytest.mark.parametrize(
    ("wrong", "sentence"),
    [
        (
            access("SASL_SSL", "username"),
            (
                "BLUETICK_SECURITY=SASL_SSL with BLUETICK_SASL_MECHANISM=SCRAM-SHA-512 needs "
                "BLUETICK_PASSWORD or BLUETICK_PASSWORD_FILE; set it"
            ),
        ),
        (
            access("SASL_PLAINTEXT"),
            (
                "BLUETICK_SECURITY=SASL_PLAINTEXT with BLUETICK_SASL_MECHANISM=SCRAM-SHA-512 needs "
                "BLUETICK_USERNAME and BLUETICK_PASSWORD or BLUETICK_PASSWORD_FILE; set them"
            ),
        ),
        (
            access("SASL_SSL", mechanism="OAUTHBEARER"),
            (
                "BLUETICK_SECURITY=SASL_SSL with BLUETICK_SASL_MECHANISM=OAUTHBEARER needs "
                "BLUETICK_TOKEN_FILE or BLUETICK_TOKEN_COMMAND; set it"
            ),
        ),
        (
            access("SSL", "username"),
            (
                "BLUETICK_USERNAME: set, but BLUETICK_SECURITY=SSL has no login; set it to "
                "SASL_SSL or SASL_PLAINTEXT, or unset BLUETICK_USERNAME"
            ),
        ),
        (
            access("PLAINTEXT", "ca_file"),
            (
                "BLUETICK_CA_FILE: set, but BLUETICK_SECURITY=PLAINTEXT has no TLS; set it to "
                "SSL or SASL_SSL, or unset BLUETICK_CA_FILE"
            ),
        ),
        (
            access("SSL", "certificate_file"),
            "BLUETICK_CERTIFICATE_FILE is set without BLUETICK_KEY_FILE; set both, or none",
        ),
        (
            access("SSL", "key_file"),
            "BLUETICK_KEY_FILE is set without BLUETICK_CERTIFICATE_FILE; set both, or none",
        ),
        (
            access("SSL", "key_password"),
            "BLUETICK_KEY_PASSWORD is set without BLUETICK_KEY_FILE; set both, or none",
        ),
        (
            access("SASL_SSL", *LOGIN, "password_file"),
            "BLUETICK_PASSWORD and BLUETICK_PASSWORD_FILE are both set; unset one of them",
        ),
        (
            access("SASL_SSL", "token_file", "token_command", mechanism="OAUTHBEARER"),
            "BLUETICK_TOKEN_FILE and BLUETICK_TOKEN_COMMAND are both set; unset one of them",
        ),
        (
            access("SASL_SSL", *LOGIN, "token_file"),
            (
                "BLUETICK_TOKEN_FILE: set, but BLUETICK_SASL_MECHANISM=SCRAM-SHA-512 does not use "
                "it; unset it, or correct the mechanism"
            ),
        ),
        (
            access("SASL_SSL", "username", "token_file", mechanism="OAUTHBEARER"),
            (
                "BLUETICK_USERNAME: set, but BLUETICK_SASL_MECHANISM=OAUTHBEARER does not use it; "
                "unset it, or correct the mechanism"
            ),
        ),
    ],
    ids=[
        *("no-password", "no-login", "no-token", "user-without-sasl", "ca-without-tls"),
        *("no-key", "no-certificate", "password-of-no-key", "two-passwords", "two-tokens"),
        *("token-for-scram", "user-for-token"),
    ],
)
def test_settings_that_contradict_each_other(wrong: Access, sentence: str) -> None:
    """The sentence names the settings, and says what to set."""
    found: Any = contradiction(wrong)
    code, fields = found
    assert code in CONTRADICTIONS
    assert str(Problem(code, **fields)) == sentence
