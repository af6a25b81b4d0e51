"""A login by OpenID Connect, at a provider on this machine: PKCE, claims, roles, log out."""

import asyncio
import socket
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest
from joserfc import jwt
from joserfc.jwk import RSAKey
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse, Response
from starlette.routing import Route

from console.app import create_app
from console.read_model.database import Database
from service.http.connection_limits import Connections
from service.http.server import Server
from service.settings import Settings

URL = "http://console.test"


@dataclass
class Provider:
    """An identity provider that logs one person in without asking."""

    issuer: str
    claims: dict[str, Any] = field(default_factory=dict)
    nonce: str = ""
    challenge: str = ""
    verifier: str = ""
    key: RSAKey = field(
        default_factory=lambda: RSAKey.generate_key(2048, {"kid": "k", "use": "sig"})
    )

    def app(self) -> Starlette:
        return Starlette(
            routes=[
                Route("/.well-known/openid-configuration", self.metadata),
                Route("/authorize", self.authorize),
                Route("/token", self.token, methods=["POST"]),
                Route("/keys", self.keys),
            ]
        )

    async def metadata(self, _: Request) -> Response:
        return JSONResponse(
            {
                "issuer": self.issuer,
                "authorization_endpoint": f"{self.issuer}/authorize",
                "token_endpoint": f"{self.issuer}/token",
                "jwks_uri": f"{self.issuer}/keys",
                "id_token_signing_alg_values_supported": ["RS256"],
            }
        )

    async def authorize(self, request: Request) -> Response:
        asked = request.query_params
        self.nonce, self.challenge = asked["nonce"], asked["code_challenge"]
        return RedirectResponse(f"{asked['redirect_uri']}?code=c&state={asked['state']}")

    async def token(self, request: Request) -> Response:
        self.verifier = parse_qs((await request.body()).decode())["code_verifier"][0]
        now = int(time.time())
        claims = {"iss": self.issuer, "aud": "console", "iat": now, "exp": now + 60}
        claims |= {"sub": "17", "nonce": self.nonce, **self.claims}
        signed = jwt.encode({"alg": "RS256", "kid": "k"}, claims, self.key)
        return JSONResponse({"access_token": "a", "token_type": "Bearer", "id_token": signed})

    async def keys(self, _: Request) -> Response:
        return JSONResponse({"keys": [self.key.as_dict(private=False)]})


@pytest.fixture
async def provider() -> AsyncIterator[Provider]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        made = Provider(f"http://127.0.0.1:{listener.getsockname()[1]}")
        server = Server(made.app(), Connections(10.0, 100), grace=1)
        serving = asyncio.create_task(server.serve([listener]))
        yield made
        server.should_exit = True
        await serving


@pytest.fixture
async def client(
    provider: Provider, database: Database, tmp_path: Path
) -> AsyncIterator[httpx.AsyncClient]:
    settings = Settings(
        kafka="127.0.0.1:1",
        console_audit=tmp_path / "audit.jsonl",
        console_login="oidc",
        console_url=URL,
        console_roles={"ann@example.com": "act", "group:support": "reveal"},
        console_oidc_issuer=provider.issuer,
        console_oidc_client="console",
        console_oidc_secret="secret",
    )
    app = create_app(settings, database)
    transport = httpx.ASGITransport(app.asgi)
    async with httpx.AsyncClient(transport=transport, base_url=URL) as client:
        yield client
    await app.site.close()


async def log_in(client: httpx.AsyncClient, page: str = "/messages?q=x") -> httpx.Response:
    """Follow the redirects of a login as a browser does; return the answer to the callback."""
    first = await client.get(page)
    assert first.status_code == 303
    to_provider = await client.get(first.headers["location"])
    async with httpx.AsyncClient() as browser:
        back = await browser.get(to_provider.headers["location"])
    return await client.get(back.headers["location"])


async def test_a_login_leads_to_the_page_that_was_asked_for(
    client: httpx.AsyncClient, provider: Provider, tmp_path: Path
) -> None:
    provider.claims = {"email": "ann@example.com", "email_verified": True, "groups": ["support"]}
    answer = await log_in(client)
    assert answer.headers["location"] == "/messages?q=x"
    assert provider.challenge
    assert provider.verifier not in ("", provider.challenge)
    page = await client.get("/messages?q=x")
    assert "ann@example.com" in page.text
    assert '"action":"login"' in await asyncio.to_thread((tmp_path / "audit.jsonl").read_text)
    token = page.text.partition('name="csrf" value="')[2].partition('"')[0]
    await client.post("/logout", data={"csrf": token})
    assert (await client.get("/messages")).status_code == 303


async def test_a_person_without_a_role_sees_nothing(
    client: httpx.AsyncClient, provider: Provider
) -> None:
    """An address that the provider has not verified gives no role."""
    provider.claims = {"email": "ann@example.com"}
    await log_in(client)
    assert (await client.get("/messages")).status_code == 403
    assert (await client.get("/api/v1/overview")).status_code == 403


async def test_a_token_of_another_login_is_refused(
    client: httpx.AsyncClient, provider: Provider
) -> None:
    provider.claims = {"nonce": "another"}
    assert (await log_in(client)).status_code == 401
    assert (await client.get("/messages")).status_code == 303


async def test_a_callback_that_nothing_began_is_refused(client: httpx.AsyncClient) -> None:
    answer = await client.get("/login/callback?code=c&state=s")
    assert answer.status_code == 401
    assert urlsplit(str(answer.url)).path == "/login/callback"


async def test_the_api_answers_without_a_redirect(client: httpx.AsyncClient) -> None:
    assert (await client.get("/api/v1/overview")).status_code == 401
