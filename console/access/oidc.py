"""Login by OpenID Connect: the routes that send a person to the identity provider and back."""

from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

from httpx import HTTPError
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from console.access.access import Access
from console.access.audit import Audit
from console.access.decide import Refusal
from console.access.guard import Refused
from console.access.roles import person_of

_CALLBACK = "/login/callback"
_NEXT = "next"


def login_routes(access: Access, audit: Audit, refused: Refused) -> list[Route]:
    """Return the routes of the login; none without OpenID Connect."""
    if access.oidc is None:
        return []
    # Authlib takes long to load, and only this login needs it.
    from authlib.integrations.base_client import OAuthError  # noqa: PLC0415
    from authlib.integrations.starlette_client import OAuth  # noqa: PLC0415
    from joserfc.errors import JoseError  # noqa: PLC0415

    oauth = OAuth()
    oauth.register(
        "provider",
        client_id=access.oidc.client,
        client_secret=access.oidc.secret.get_secret_value(),
        server_metadata_url=f"{access.oidc.issuer}/.well-known/openid-configuration",
        client_kwargs={"scope": "openid profile email", "code_challenge_method": "S256"},
    )

    async def login(request: Request) -> Response:
        request.session[_NEXT] = own_path(request.query_params.get("next", "/"))
        try:
            redirect: Response = await oauth.provider.authorize_redirect(
                request, f"{access.url}{_CALLBACK}"
            )
        except HTTPError as error:
            why = f"The identity provider does not answer ({type(error).__name__}); try again."
            return await refused(request, Refusal(502, why))
        return redirect

    async def callback(request: Request) -> Response:
        try:
            token = await oauth.provider.authorize_access_token(request)
        except (OAuthError, JoseError, HTTPError, ValueError) as error:
            why = f"The login failed ({type(error).__name__}); begin it again."
            return await refused(request, Refusal(401, why))
        claims = token.get("userinfo") or {}
        name = name_in(claims)
        groups = [str(group) for group in claims.get("groups") or ()]
        person = person_of(name, groups, access.roles)
        target = own_path(str(request.session.get(_NEXT, "/")))
        # A new session: nothing of before the login counts after it.
        request.session.clear()
        request.session.update(name=name, roles=" ".join(sorted(person.roles)))
        await audit.record(person, request, "login")
        return RedirectResponse(target, 303)

    async def logout(request: Request) -> Response:
        request.session.clear()
        return RedirectResponse("/", 303)

    return [
        Route("/login", login),
        Route(_CALLBACK, callback),
        Route("/logout", logout, methods=["POST"]),
    ]


def name_in(claims: Mapping[str, Any]) -> str:
    """Return the person's name: the address that the provider has verified, else its own id."""
    verified = claims.get("email_verified") is True
    return str(claims.get("email") if verified else claims.get("sub"))


def own_path(target: str) -> str:
    """Return a path of this console; `/` for an address of another site."""
    parts = urlsplit(target)
    own = not parts.scheme and not parts.netloc and target.startswith("/")
    return target if own and "\\" not in target else "/"
