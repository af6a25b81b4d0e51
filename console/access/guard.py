"""The middleware around pages and API: it decides, and adds what every response has."""

import secrets
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from types import MappingProxyType
from typing import Any
from urllib.parse import parse_qs, quote

from starlette.datastructures import Headers, MutableHeaders
from starlette.middleware import Middleware
from starlette.middleware.sessions import SessionMiddleware
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from console.access.access import Access
from console.access.audit import Audit
from console.access.decide import (
    SAFE_METHODS,
    TOKEN_FIELD,
    TOKEN_HEADER,
    Asked,
    Refusal,
    decide,
)
from console.access.roles import Person
from console.access.security_headers import security_headers
from console.problem_details import problem
from service.errors import Problem
from service.http.request_body import Bodies, Cause, Disconnected, RefusedBody
from service.settings import Settings

_SESSION_SECONDS = 8 * 3600
_KEY_CHARACTERS = 32
_LARGEST_FORM = 1024 * 1024
_FORMS_AT_A_TIME = 16  # of the largest size, that are not complete
_FORM_SECONDS = 10.0
_REFUSED_FORMS: Mapping[Cause, Refusal] = MappingProxyType(
    {
        "too-slow": Refusal(408, "This form took too long to arrive. Send it again."),
        "too-large": Refusal(413, "This form is too large."),
        "overloaded": Refusal(503, "Too many forms are being sent. Send this one again."),
    }
)
_API = "/api/"
_FORM = "application/x-www-form-urlencoded"

Refused = Callable[[Request, Refusal], Awaitable[Response]]
"""Returns the page of a refusal."""


def middleware(
    settings: Settings, access: Access, audit: Audit, refused: Refused
) -> list[Middleware]:
    """Return sessions, and a decision before each request; raises `Problem` for a short key.

    `request.state` then has `person` (who asks), `login` and `namespace`.
    """
    shown = {"login": access.login, "namespace": settings.namespace}
    return [
        Middleware(
            SessionMiddleware,
            secret_key=_key(settings),
            session_cookie=_cookie(settings, access),
            max_age=_SESSION_SECONDS,
            https_only=access.secure,
        ),
        Middleware(_Guard, access, audit, refused, shown),
    ]


def _key(settings: Settings) -> str:
    given = settings.console_session_key
    if given is None:
        return secrets.token_urlsafe(_KEY_CHARACTERS)
    if len(given.get_secret_value()) < _KEY_CHARACTERS:
        raise Problem("console_key_too_short", least=_KEY_CHARACTERS)
    return given.get_secret_value()


def _cookie(settings: Settings, access: Access) -> str:
    """Return the cookie's name; browsers share cookies between the ports of a host."""
    return "__Host-bluetick" if access.secure else f"bluetick-{settings.console_port}"


class _Guard:
    def __init__(
        self,
        app: ASGIApp,
        access: Access,
        audit: Audit,
        refused: Refused,
        shown: Mapping[str, str],
    ) -> None:
        self._app = app
        self._access = access
        self._audit = audit
        self._refused = refused
        self._shown = shown
        self._bodies = Bodies(_LARGEST_FORM, _FORMS_AT_A_TIME * _LARGEST_FORM, _FORM_SECONDS)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":  # the start and the end of the application
            await self._app(scope, receive, send)
            return
        session: MutableMapping[str, Any] = scope["session"]
        # A copy: the lifespan's state is shared by all requests.
        scope["state"] = {**scope.get("state", {}), **self._shown}
        send = self._with_headers(scope["path"], send)
        request = Request(scope, receive)
        try:
            body = await self._form(request)
        except Disconnected:
            return
        except RefusedBody as refused:
            refusal = _REFUSED_FORMS[refused.cause]
            await (await self._answer(request, refusal))(scope, receive, send)
            return
        decision = decide(self._access, _asked(request, body), session)
        if isinstance(decision, Refusal):
            await (await self._answer(request, decision))(scope, receive, send)
            return
        scope["state"]["person"] = decision
        if TOKEN_FIELD not in session and request.method in SAFE_METHODS:
            session[TOKEN_FIELD] = secrets.token_urlsafe(24)
        if may_reveal(request) and decision.name:
            try:
                await self._audit.record(decision, request, "reveal")
            except Problem as unrecorded:
                unseen = Refusal(503, str(unrecorded))
                await (await self._answer(request, unseen))(scope, receive, send)
                return
        await self._app(scope, _again(body, receive), send)

    async def _form(self, request: Request) -> bytes:
        """Return the body of a form, which a request that only reads does not have."""
        if request.method in SAFE_METHODS:
            return b""
        return await self._bodies.read(request.receive)

    async def _answer(self, request: Request, refusal: Refusal) -> Response:
        if request.url.path.startswith(_API):
            return problem(refusal.status, refusal.sentence)
        if refusal.login and request.method in SAFE_METHODS:
            path = request.url.path + (f"?{request.url.query}" if request.url.query else "")
            return RedirectResponse(f"/login?next={quote(path)}", 303)
        return await self._refused(request, refusal)

    def _with_headers(self, path: str, send: Send) -> Send:
        given = security_headers(secure=self._access.secure, kept=path.startswith("/static/"))

        async def sending(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).update(given)
            await send(message)

        return sending


def person_of(request: Request) -> Person:
    """Return who asks."""
    person: Person = request.state.person
    return person


def may_reveal(request: Request) -> bool:
    """Whether numbers and texts are shown: the request asks for it, so the guard has allowed it."""
    return b"reveal=1" in request.scope["query_string"].split(b"&")


def _asked(request: Request, body: bytes) -> Asked:
    headers: Mapping[str, str] = Headers(scope=request.scope)
    token = headers.get(TOKEN_HEADER, "")
    if not token and headers.get("content-type", "").startswith(_FORM):
        token = parse_qs(body.decode("utf-8", "replace")).get(TOKEN_FIELD, [""])[0]
    return Asked(
        method=request.method,
        path=request.url.path,
        headers=headers,
        peer=request.client.host if request.client else "",
        reveal=may_reveal(request),
        token=token,
    )


def _again(body: bytes, receive: Receive) -> Receive:
    """Return a `receive` that gives the body that was read, then what the connection says."""
    waiting: list[Message] = (
        [{"type": "http.request", "body": body, "more_body": False}] if body else []
    )

    async def receiving() -> Message:
        return waiting.pop() if waiting else await receive()

    return receiving
