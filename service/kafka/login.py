"""The options of every Kafka client: address, `client.id`, TLS, and the login."""

import ssl
from pathlib import Path
from typing import Any

from aiokafka.abc import AbstractTokenProvider

from service.errors import Problem, system_reason
from service.kafka.service_name import client_id
from service.kafka.tokens import FromFile, from_command
from service.settings import Settings


def options(settings: Settings) -> dict[str, Any]:
    """Return the options of an aiokafka client; raises `Problem` for files that cannot be used."""
    access = settings.access
    chosen: dict[str, Any] = {
        "bootstrap_servers": settings.kafka.split(","),
        "client_id": client_id(settings.topics, settings.instance),
        "security_protocol": settings.security,
    }
    if access.sasl:
        chosen["sasl_mechanism"] = settings.sasl_mechanism
    if access.tokens:
        chosen["sasl_oauth_token_provider"] = _tokens(settings)
    elif access.sasl:
        password = settings.password.get_secret_value() if settings.password else ""
        chosen |= {"sasl_plain_username": settings.username, "sasl_plain_password": password}
    if access.tls:
        chosen["ssl_context"] = _tls(settings)
    return chosen


def _tokens(settings: Settings) -> AbstractTokenProvider:
    if settings.token_file:
        return FromFile(settings.token_file)
    return from_command(settings.token_command or "")


def _tls(settings: Settings) -> ssl.SSLContext:
    try:
        context = ssl.create_default_context(cafile=settings.ca_file)
    except (OSError, ValueError) as error:
        raise Problem("ca_file_unusable", file=str(settings.ca_file), why=_words(error)) from None
    if settings.certificate_file:
        _identify(context, settings.certificate_file, settings)
    return context


def _identify(context: ssl.SSLContext, certificate: Path, settings: Settings) -> None:
    password = settings.key_password.get_secret_value() if settings.key_password else ""
    try:
        # A function: without a password OpenSSL would ask for one on the terminal.
        context.load_cert_chain(certificate, settings.key_file, lambda: password)
    except (OSError, ValueError) as error:
        raise Problem(
            "client_certificate_unusable",
            certificate=str(certificate),
            key=str(settings.key_file),
            why=_words(error),
        ) from None


def _words(error: Exception) -> str:
    if isinstance(error, ssl.SSLError):
        return error.reason or "it holds no PEM, or its password is wrong"
    return system_reason(error)
