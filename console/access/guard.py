"""The middleware around pages and API: it decides, and adds what every response has."""

import secrets
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from typing import Any
from urllib.parse import parse_qs, quote

from starlette.datastructures import Headers, MutableHeaders
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

_SESSION_SECONDS = 8 * 3600
_LARGEST_FORM = 1024 * 1024
_API = "/api/"
_FORM = "application/x-www-form-urlencoded"

Refused = Callable[[Request, Refusal], Awaitable[Response]]
"""Returns the page of a refusal."""


def guarded(
    app: ASGIApp, access: Access, audit: Audit, refused: Refused, *, key: str, cookie: str
) -> ASGIApp:
    """Return the application with sessions, and a decision before each request.

    `key` signs the sessions, which are in the cookie of that name. `scope["state"]["person"]` is
    who asks.
    """
    name = f"__Host-{cookie}" if access.secure else cookie
    return SessionMiddleware(
        _Guard(app, access, audit, refused),
        key,
        session_cookie=name,
        max_age=_SESSION_SECONDS,
        https_only=access.secure,
    )


class _Guard:
    def __init__(self, app: ASGIApp, access: Access, audit: Audit, refused: Refused) -> None:
        self._app = app
        self._access = access
        self._audit = audit
        self._refused = refused

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        session: MutableMapping[str, Any] = scope["session"]
        send = self._with_headers(scope["path"], send)
        request = Request(scope, receive)
        body = await _form(request)
        if body is None:
            refusal = Refusal(413, "This form is too large.")
            await (await self._refused(request, refusal))(scope, receive, send)
            return
        decision = decide(self._access, _asked(request, body), session)
        scope.setdefault("state", {})["person"] = decision
        if isinstance(decision, Refusal):
            await (await self._answer(request, decision))(scope, receive, send)
            return
        if TOKEN_FIELD not in session and request.method in SAFE_METHODS:
            session[TOKEN_FIELD] = secrets.token_urlsafe(24)
        if reveals(scope) and decision.name:
            await self._audit.record(decision, request, "reveal")
        await self._app(scope, _again(body, receive), send)

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


def reveals(scope: Scope) -> bool:
    """Whether a request asks for numbers and texts."""
    return b"reveal=1" in scope["query_string"].split(b"&")


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
        reveal=reveals(request.scope),
        token=token,
    )


async def _form(request: Request) -> bytes | None:
    """Return the body of a form; None if it is too large."""
    if request.method in SAFE_METHODS:
        return b""
    body = b""
    async for part in request.stream():
        body += part
        if len(body) > _LARGEST_FORM:
            return None
    return body


def _again(body: bytes, receive: Receive) -> Receive:
    """Return a `receive` that gives the body that was read, then what the connection says."""
    waiting: list[Message] = (
        [{"type": "http.request", "body": body, "more_body": False}] if body else []
    )

    async def receiving() -> Message:
        return waiting.pop() if waiting else await receive()

    return receiving
