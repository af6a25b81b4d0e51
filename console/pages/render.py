"""Rendering a template, and what every page does with a failure."""

from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from sqlalchemy.exc import SQLAlchemyError
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response

from console.access.decide import TOKEN_FIELD, Refusal
from console.access.guard import may_reveal
from console.pages import addresses, formats
from console.read_model.results import BadCursorError
from service.errors import Problem, described, reason
from service.logger import logger
from service.version import __version__

S = TypeVar("S")
Page = Callable[[Request], Awaitable[Response]]

log = logger(__name__)

_MISTAKE = 400

NAVIGATION = (
    ("/", "Overview"),
    ("/messages", "Messages"),
    ("/quality", "Quality"),
    ("/dead-letters", "Dead letters"),
    ("/replays", "Replays"),
    ("/system", "System"),
)


class MistakeError(Exception):
    """What a person typed, or an address, is not valid; the text says what to correct."""


@contextmanager
def typed() -> Iterator[None]:
    """Turn a `Problem` inside into a mistake of the person: what was typed is read here."""
    try:
        yield
    except Problem as problem:
        raise MistakeError(str(problem)) from None


def _environment() -> Environment:
    made = Environment(
        loader=FileSystemLoader(Path(__file__).parent / "templates"),
        # A value is text wherever it stands: what a sender wrote never becomes markup.
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    for filter_ in (
        *(formats.moment, formats.duration, formats.count, formats.share, formats.size),
        *(formats.country, formats.tone, formats.cause, formats.telling, addresses.message_path),
    ):
        made.filters[filter_.__name__] = filter_
    made.filters["tojson_text"] = formats.indented
    made.globals["navigation"] = NAVIGATION
    made.globals["version"] = __version__
    return made


_environment_ = _environment()


def render(request: Request, template: str, status: int = 200, **values: Any) -> Response:
    """Return a page, or a part of one; each template also knows who asks, and the address."""
    person = getattr(request.state, "person", None)
    path, query = request.url.path, request.url.query
    given = {
        "person": person,
        "token": request.session.get(TOKEN_FIELD, ""),
        "here": path + (f"?{query}" if query else ""),
        "section": "/" + path.split("/")[1],
        "revealed": may_reveal(request),
        "reveal_address": addresses.changed(path, query, reveal="1"),
        "mask_address": addresses.changed(path, query, reveal=None),
        "with_query": lambda **changes: addresses.changed(path, query, **changes),
        "record_path": addresses.record_path,
        "namespace": request.state.namespace,
        "login": request.state.login,
    }
    text = _environment_.get_template(template).render(**given, **values)
    return HTMLResponse(text, status)


def page(site: S, handler: Callable[[S, Request], Awaitable[Response]]) -> Page:
    """Return a page's handler; each of its failures is a page: a sentence, and what to do."""

    async def answering(request: Request) -> Response:
        try:
            return await handler(site, request)
        except MistakeError as mistake:
            return failure(request, 400, str(mistake))
        except Problem as problem:
            return failure(request, 503, str(problem))
        except BadCursorError:
            return failure(request, 400, "This address is of a page that does not exist.")
        except SQLAlchemyError as error:
            why = reason(getattr(error, "orig", None) or error).splitlines()[0]
            return failure(request, 503, f"The read model cannot be read: {why}")
        except Exception as error:  # noqa: BLE001 - the page says so, and the log where
            log.error("page_failed", page=request.url.path, error=described(error))  # noqa: TRY400
            return failure(request, 500, f"An unexpected error: {type(error).__name__}.")

    return answering


def failure(request: Request, status: int, sentence: str) -> Response:
    """Return the page of a failure; for a part of a page, only its box."""
    part = "hx-request" in request.headers
    template = "failure_part.html" if part else "failure.html"
    return render(request, template, status, sentence=sentence, mistake=status == _MISTAKE)


async def refused(request: Request, refusal: Refusal) -> Response:
    """Return the page of a request that is refused."""
    return failure(request, refusal.status, refusal.sentence)
