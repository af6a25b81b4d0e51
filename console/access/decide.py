"""Whether a request is answered, as a decision from its values. Pure."""

import hmac
from collections.abc import Mapping
from ipaddress import ip_address
from typing import Any, NamedTuple

from console.access.access import Access
from console.access.roles import LOCAL, Person, Role, person_of, roles_in

SAFE_METHODS = ("GET", "HEAD")
OPEN_PATHS = ("/static/", "/login")
"""Paths that need no login."""
TOKEN_FIELD = "csrf"  # noqa: S105 - the name of a form field
TOKEN_HEADER = "x-csrf-token"  # noqa: S105 - the name of a header
SIGN_OUT = "/logout"


class Asked(NamedTuple):
    """What a request says; `headers` have lower-case names, `peer` is the address of its sender."""

    method: str
    path: str
    headers: Mapping[str, str]
    peer: str = ""
    reveal: bool = False
    token: str = ""


class Refusal(NamedTuple):
    """An answer instead of the page; `login` is whether a login would help."""

    status: int
    sentence: str
    login: bool = False


def decide(access: Access, asked: Asked, session: Mapping[str, Any]) -> Person | Refusal:
    """Return who asks, or why the request is refused."""
    if not _is_for_us(access, asked.headers.get("host", "")):
        return Refusal(421, "This console does not answer under that host name.")
    if asked.path.startswith(OPEN_PATHS) and asked.method in SAFE_METHODS:
        return Person("", frozenset())
    person = _person(access, asked, session)
    if isinstance(person, Refusal):
        return person
    if asked.method not in SAFE_METHODS and not _is_own(asked, session):
        return Refusal(
            403, "This form is not from this page, or it has expired. Load the page again."
        )
    role = _needed(asked)
    if not person.may(role):
        return Refusal(403, f"{person.name} lacks the role {role}; ask for it to be granted.")
    return person


def _is_for_us(access: Access, host: str) -> bool:
    """Whether the request names this console; another site's name may resolve to loopback too."""
    if access.names is None:
        return True
    name, colon, port = host.rpartition(":")
    return (name if colon and port.isdigit() else host).lower() in access.names


def _person(access: Access, asked: Asked, session: Mapping[str, Any]) -> Person | Refusal:
    if access.login == "off":
        return LOCAL
    if access.login == "proxy":
        return _named_by_proxy(access, asked)
    if "name" not in session:
        return Refusal(401, "Log in to see this page.", login=True)
    return Person(str(session["name"]), frozenset(roles_in(str(session.get("roles", "")))))


def _named_by_proxy(access: Access, asked: Asked) -> Person | Refusal:
    """Return the person whom a listed proxy names; any other sender could invent the header."""
    try:
        listed = any(ip_address(asked.peer) in network for network in access.proxies)
    except ValueError:
        listed = False
    if not listed:
        return Refusal(403, "This console is reached through its proxy only.")
    name = asked.headers.get(access.header.lower(), "").strip()
    if not name:
        return Refusal(401, f"The proxy has sent no {access.header}; log in there.")
    return person_of(name, (), access.roles)


def _is_own(asked: Asked, session: Mapping[str, Any]) -> bool:
    """Whether a form was made by this console for this session."""
    if asked.headers.get("sec-fetch-site", "same-origin") not in ("same-origin", "none"):
        return False
    expected = str(session.get(TOKEN_FIELD, ""))
    return bool(expected) and hmac.compare_digest(expected.encode(), asked.token.encode())


def _needed(asked: Asked) -> Role:
    if asked.method not in SAFE_METHODS:
        return "view" if asked.path == SIGN_OUT else "act"
    return "reveal" if asked.reveal else "view"
