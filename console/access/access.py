"""Who may reach the console, from its settings: without a login only this machine.

Pure: it decides, and reads nothing.
"""

from collections.abc import Mapping, Sequence
from ipaddress import IPv4Network, IPv6Network, ip_network
from typing import Literal, NamedTuple, Protocol
from urllib.parse import urlsplit

from pydantic import SecretStr

from console.access.roles import unknown_roles
from ingest.sources.ip_allowlist import is_loopback
from service.errors import Problem
from service.setting_names import variable

Login = Literal["off", "oidc", "proxy"]
_LOOPBACK_NAMES = ("localhost", "127.0.0.1", "[::1]")


class Values(Protocol):
    """The settings that it reads."""

    @property
    def console_host(self) -> str: ...
    @property
    def console_url(self) -> str | None: ...
    @property
    def console_login(self) -> Login: ...
    @property
    def console_roles(self) -> Mapping[str, str]: ...
    @property
    def console_oidc_issuer(self) -> str | None: ...
    @property
    def console_oidc_client(self) -> str | None: ...
    @property
    def console_oidc_secret(self) -> SecretStr | None: ...
    @property
    def console_proxy_header(self) -> str | None: ...
    @property
    def console_proxy_addresses(self) -> str | None: ...


class Oidc(NamedTuple):
    """The identity provider, and this console as its client."""

    issuer: str
    client: str
    secret: SecretStr


class Access(NamedTuple):
    """How people reach the console.

    `names` are the hosts (without a port) that a request may name, None for any. `secure` is
    whether browsers reach it by HTTPS only.
    """

    login: Login
    roles: Mapping[str, str]
    url: str | None = None
    names: tuple[str, ...] | None = None
    oidc: Oidc | None = None
    header: str = ""
    proxies: tuple[IPv4Network | IPv6Network, ...] = ()

    @property
    def secure(self) -> bool:
        return self.url is not None and self.url.startswith("https://")


def access_of(settings: Values) -> Access:
    """Return the access that the settings describe; raises `Problem` if it would be open."""
    login = settings.console_login
    if login == "off":
        if not is_loopback(settings.console_host):
            raise Problem("console_without_login", host=settings.console_host)
        return Access(login, {}, names=_LOOPBACK_NAMES)
    _refuse_missing(settings, _NEEDED[login])
    _refuse_unknown_roles(settings.console_roles)
    url = settings.console_url and settings.console_url.rstrip("/")
    named = (urlsplit(url).hostname or "",) if url else None
    access = Access(login, settings.console_roles, url, named)
    if login == "proxy":
        return access._replace(
            header=settings.console_proxy_header or "",
            proxies=_networks(settings.console_proxy_addresses or ""),
        )
    return access._replace(oidc=_oidc(settings))


_NEEDED: Mapping[Login, Sequence[str]] = {
    "oidc": (
        "console_url",
        "console_roles",
        "console_oidc_issuer",
        "console_oidc_client",
        "console_oidc_secret",
    ),
    "proxy": ("console_roles", "console_proxy_header", "console_proxy_addresses"),
}


def _refuse_missing(settings: Values, needed: Sequence[str]) -> None:
    missing = [variable(name) for name in needed if not getattr(settings, name)]
    if missing:
        raise Problem("console_login_incomplete", login=settings.console_login, missing=missing)


def _refuse_unknown_roles(given: Mapping[str, str]) -> None:
    if unknown := unknown_roles(given):
        raise Problem("console_roles_unknown", roles=unknown)


def _oidc(settings: Values) -> Oidc:
    secret = settings.console_oidc_secret or SecretStr("")
    return Oidc(
        (settings.console_oidc_issuer or "").rstrip("/"), settings.console_oidc_client or "", secret
    )


def _networks(text: str) -> tuple[IPv4Network | IPv6Network, ...]:
    entries = [entry for entry in text.replace(",", " ").split() if entry]
    try:
        found = tuple(map(ip_network, entries))
    except ValueError as error:
        raise Problem("console_proxy_address_invalid", why=str(error)) from None
    if not found or not all(one.prefixlen for one in found):
        raise Problem("console_proxy_address_invalid", why="it trusts every address, or none")
    return found
