"""Errors of the API: problem details as JSON (RFC 9457)."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from http import HTTPStatus

import orjson
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from service.errors import described
from service.logger import logger

MEDIA_TYPE = "application/problem+json"

_log = logger(__name__)


@dataclass(frozen=True, slots=True)
class Mistake:
    """What is wrong with one query parameter."""

    parameter: str
    message: str


@dataclass(frozen=True, slots=True)
class ProblemDetails:
    """Why a request has no result: `detail` says what to do, `errors` which parameter is wrong."""

    title: str
    status: int
    detail: str
    errors: list[Mistake]
    type: str = "about:blank"


def problem(status: int, detail: str, errors: Sequence[Mistake] = ()) -> Response:
    """Return the answer for an error."""
    shown = ProblemDetails(HTTPStatus(status).phrase, status, detail, list(errors))
    return Response(orjson.dumps(asdict(shown)), status, media_type=MEDIA_TYPE)


async def of_http(request: Request, error: Exception) -> Response:
    """Answer an unknown path, or a method that it does not have."""
    assert isinstance(error, HTTPException)  # noqa: S101 - it is registered for these
    detail = f"{request.method} {request.url.path} is not an operation; see /api/v1/openapi.json"
    response = problem(error.status_code, detail)
    response.headers.update(error.headers or {})
    return response


async def of_crash(request: Request, error: Exception) -> Response:
    """Answer an unexpected error; its text may quote a record."""
    _log.error("page_failed", page=request.url.path, error=described(error))
    return problem(500, f"an unexpected error: {type(error).__name__}")
