"""Who reaches the console: refused at the start, per request, by role, by form."""

import itertools
from ipaddress import ip_network
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from console.access.access import Access, access_of
from console.access.decide import Asked, Refusal, decide
from console.access.oidc import name_in, own_path
from console.access.roles import LOCAL, Person, person_of, roles_in
from console.access.security_headers import security_headers
from service.errors import Problem
from service.settings import Settings

ROLES = {"*": "view", "ann": "act", "group:support": "reveal"}
OIDC: dict[str, Any] = {
    "console_login": "oidc",
    "console_url": "https://console.example.com/",
    "console_roles": ROLES,
    "console_oidc_issuer": "https://id.example.com",
    "console_oidc_client": "console",
    "console_oidc_secret": "s3cret",
}
PROXY: dict[str, Any] = {
    "console_login": "proxy",
    "console_roles": ROLES,
    "console_proxy_header": "X-Remote-User",
    "console_proxy_addresses": "10.0.0.5, 192.168.0.0/16",
}


@pytest.mark.parametrize(
    ("given", "code"),
    [
        ({"console_host": "0.0.0.0"}, "console_without_login"),
        ({"console_host": "10.1.2.3"}, "console_without_login"),
        *(({**OIDC, name: None}, "console_login_incomplete") for name in OIDC if "oidc_" in name),
        ({**OIDC, "console_url": None}, "console_login_incomplete"),
        ({**OIDC, "console_roles": {}}, "console_login_incomplete"),
        ({**OIDC, "console_roles": {"*": "admin"}}, "console_roles_unknown"),
        ({**PROXY, "console_proxy_header": None}, "console_login_incomplete"),
        ({**PROXY, "console_proxy_addresses": None}, "console_login_incomplete"),
        ({**PROXY, "console_proxy_addresses": "0.0.0.0/0"}, "console_proxy_address_invalid"),
        (
            {**PROXY, "console_proxy_addresses": "proxy.example.com"},
            "console_proxy_address_invalid",
        ),
        ({**PROXY, "console_proxy_addresses": ","}, "console_proxy_address_invalid"),
    ],
)
def test_what_would_be_open_does_not_start(given: dict[str, Any], code: str) -> None:
    """Beyond loopback there is a complete login, or one sentence."""
    with pytest.raises(Problem) as raised:
        access_of(Settings(**given))
    assert raised.value.code == code
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("host", ["127.0.0.1", "::1", "localhost"])
def test_on_loopback_no_login_is_needed(host: str) -> None:
    access = access_of(Settings(console_host=host))
    asked = Asked("GET", "/", {"host": "localhost:8085"}, "127.0.0.1")
    assert decide(access, asked, {}) == LOCAL


def test_the_access_of_a_login() -> None:
    access = access_of(Settings(**{**OIDC, "console_host": "0.0.0.0"}))
    assert access.secure
    assert access.names == ("console.example.com",)
    assert access.oidc is not None
    assert "s3cret" not in repr(access)
    proxied = access_of(Settings(**PROXY))
    assert proxied.proxies == (ip_network("10.0.0.5"), ip_network("192.168.0.0/16"))


OPEN = Access("off", {}, names=("localhost", "127.0.0.1"))


@pytest.mark.parametrize(
    "host", ["evil.example.com", "evil.example.com:8085", "", "localhost.evil.com", "127.0.0.1.x:1"]
)
def test_a_foreign_name_on_loopback_is_refused(host: str) -> None:
    """A page of another site whose name resolves to this machine reads nothing."""
    found = decide(OPEN, Asked("GET", "/", {"host": host}, "127.0.0.1"), {})
    assert isinstance(found, Refusal)
    assert found.status == 421


def proxied(peer: str, **headers: str) -> Person | Refusal:
    access = access_of(Settings(**PROXY))
    return decide(access, Asked("GET", "/", {"host": "any", **headers}, peer), {})


def test_the_header_of_a_listed_proxy_names_the_person() -> None:
    found = proxied("192.168.7.1", **{"x-remote-user": "ann"})
    assert found == Person("ann", frozenset({"view", "act"}))


@pytest.mark.parametrize("peer", ["10.0.0.6", "127.0.0.1", "", "not an address"])
def test_the_header_of_another_sender_counts_for_nothing(peer: str) -> None:
    found = proxied(peer, **{"x-remote-user": "ann"})
    assert isinstance(found, Refusal)
    assert found.status == 403


def test_a_proxy_that_names_nobody_is_refused() -> None:
    found = proxied("10.0.0.5")
    assert isinstance(found, Refusal)
    assert found.status == 401


def logged_in(
    roles: str, method: str = "GET", path: str = "/", *, reveal: bool = False, token: str = "t"
) -> Person | Refusal:
    access = access_of(Settings(**OIDC))
    asked = Asked(method, path, {"host": "console.example.com"}, "1.2.3.4", reveal, token)
    return decide(access, asked, {"name": "bob", "roles": roles, "csrf": "t"})


@pytest.mark.parametrize(
    ("roles", "method", "reveal", "allowed"),
    [
        ("", "GET", False, False),
        ("view", "GET", False, True),
        ("view", "GET", True, False),
        ("view", "POST", False, False),
        ("view reveal", "GET", True, True),
        ("view reveal", "POST", False, False),
        ("view act", "POST", False, True),
        ("view act", "GET", True, False),
        ("view act", "PUT", False, True),
        ("view act", "DELETE", False, True),
    ],
)
def test_what_a_role_allows(roles: str, method: str, *, reveal: bool, allowed: bool) -> None:
    found = logged_in(roles, method, "/dead-letters/retries", reveal=reveal)
    assert isinstance(found, Person) == allowed


def test_without_a_session_only_the_login_answers() -> None:
    access = access_of(Settings(**OIDC))
    host = {"host": "console.example.com"}
    found = decide(access, Asked("GET", "/messages", host), {})
    assert isinstance(found, Refusal)
    assert (found.status, found.login) == (401, True)
    for path in ("/login", "/login/callback", "/static/console.css"):
        assert isinstance(decide(access, Asked("GET", path, host), {}), Person)
    assert isinstance(decide(access, Asked("POST", "/login", host), {}), Refusal)


@pytest.mark.parametrize("token", ["", "other", "T"])
def test_a_form_of_another_page_is_refused(token: str) -> None:
    found = logged_in("view act", "POST", token=token)
    assert isinstance(found, Refusal)
    assert found.status == 403


def test_a_session_without_a_token_accepts_no_form() -> None:
    found = decide(OPEN, Asked("POST", "/replays/plans", {"host": "localhost"}, token=""), {})
    assert isinstance(found, Refusal)


@pytest.mark.parametrize("site", ["cross-site", "same-site"])
def test_a_browser_that_names_another_site_is_refused(site: str) -> None:
    headers = {"host": "localhost", "sec-fetch-site": site}
    found = decide(OPEN, Asked("POST", "/replays/plans", headers, token="t"), {"csrf": "t"})
    assert isinstance(found, Refusal)


def test_a_log_out_needs_no_role_but_a_token() -> None:
    assert isinstance(logged_in("view", "POST", "/logout"), Person)
    assert isinstance(logged_in("view", "POST", "/logout", token=""), Refusal)


def test_roles_come_from_name_groups_and_everyone() -> None:
    assert person_of("eve", (), ROLES).roles == {"view"}
    assert person_of("eve", ("support",), ROLES).roles == {"view", "reveal"}
    assert person_of("ann", ("support",), ROLES).roles == {"view", "reveal", "act"}
    assert person_of("eve", (), {"ann": "act"}).roles == frozenset()


@given(st.text())
def test_no_text_gives_a_role_that_it_does_not_name(text: str) -> None:
    words = text.replace(",", " ").split()
    assert all(role in words or (role == "view" and words) for role in roles_in(text))


def test_a_claimed_address_counts_only_if_it_is_verified() -> None:
    claims = {"sub": "17", "email": "ann@example.com"}
    assert name_in(claims) == "17"
    assert name_in({**claims, "email_verified": False}) == "17"
    assert name_in({**claims, "email_verified": True}) == "ann@example.com"


@pytest.mark.parametrize(
    ("target", "path"),
    [
        ("/messages?q=1", "/messages?q=1"),
        ("https://evil.example.com/", "/"),
        ("//evil.example.com/", "/"),
        ("/\\evil.example.com", "/"),
        ("javascript:alert(1)", "/"),
        ("\t//evil.example.com", "/"),
        ("", "/"),
    ],
)
def test_a_login_returns_to_a_page_of_this_console(target: str, path: str) -> None:
    assert own_path(target) == path


@pytest.mark.parametrize(("secure", "kept"), list(itertools.product([True, False], repeat=2)))
def test_every_response_forbids_inline_code_and_frames(*, secure: bool, kept: bool) -> None:
    headers = security_headers(secure=secure, kept=kept)
    policy = headers["content-security-policy"]
    assert "unsafe" not in policy
    assert "default-src 'none'" in policy
    assert "frame-ancestors 'none'" in policy
    assert ("strict-transport-security" in headers) == secure
    assert ("no-store" in headers["cache-control"]) != kept
