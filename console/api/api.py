"""The application of /api/v1: it checks the parameters, runs the query, masks the result."""

from collections.abc import Awaitable, Callable
from typing import Any, get_origin

import orjson
from pydantic import TypeAdapter, ValidationError
from sqlalchemy.exc import SQLAlchemyError
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from console.access.guard import may_reveal
from console.api.openapi import document
from console.api.operations import OPERATIONS, Operation
from console.api.parameters import Parameters
from console.context import Context
from console.masking import masked
from console.problem_details import Mistake, of_crash, of_http, problem
from service.version import __version__

_JSON = "application/json"


def api(context: Context) -> Starlette:
    """Return the application; who asks, and whether they may, is decided before it."""
    described = orjson.dumps(document(OPERATIONS, __version__))

    async def openapi(_: Request) -> Response:
        return Response(described, media_type=_JSON)

    routes = [Route(one.path, _endpoint(context, one), methods=["GET"]) for one in OPERATIONS]
    return Starlette(
        routes=[*routes, Route("/openapi.json", openapi, methods=["GET"])],
        exception_handlers={HTTPException: of_http, Exception: of_crash},
    )


def _endpoint(context: Context, operation: Operation) -> Callable[[Request], Awaitable[Response]]:
    results: TypeAdapter[Any] = TypeAdapter(operation.result)

    async def answer(request: Request) -> Response:
        try:
            found = await operation.answer(context, _parameters(operation.parameters, request))
        except ValidationError as error:
            mistakes = [_mistake(one) for one in error.errors()]
            return problem(400, "some parameters are not valid", mistakes)
        except SQLAlchemyError as error:
            return problem(503, f"the read model cannot be read: {type(error).__name__}")
        if found is None:
            return problem(404, operation.missing)
        shown = masked(found, reveal=may_reveal(request))
        return Response(results.dump_json(shown), media_type=_JSON)

    return answer


def _parameters(model: type[Parameters], request: Request) -> Parameters:
    """Return the parameters of a request; one that is no list may be there once."""
    values: dict[str, object] = {}
    for name in dict.fromkeys(request.query_params):
        every = request.query_params.getlist(name)
        field = model.model_fields.get(name)
        is_list = field is not None and get_origin(field.annotation) is list
        values[name] = every if is_list or len(every) > 1 else every[0]
    return model.model_validate(values)


def _mistake(detail: Any) -> Mistake:
    return Mistake(".".join(map(str, detail["loc"])), detail["msg"])
