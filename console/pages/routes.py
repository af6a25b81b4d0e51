"""The routes of all pages, with the files that they load."""

from pathlib import Path

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Mount, Route
from starlette.staticfiles import StaticFiles

from console.access.access import Access
from console.access.oidc import login_routes
from console.pages import dead_letters, messages, overview, quality, records, replays, system
from console.pages.render import failure, refused
from console.pages.site import Site

_FILES = Path(__file__).parent / "static"
_PARTS = (overview, messages, records, quality, dead_letters, replays, system)


def page_routes(site: Site, access: Access) -> list[BaseRoute]:
    """Return the routes of the pages and the login; the last one answers every other path."""
    return [
        Mount("/static", StaticFiles(directory=_FILES)),
        Route("/live", site.changes.stream),
        *login_routes(access, site.audit, refused),
        *(route for part in _PARTS for route in part.routes(site)),
        Route("/{path:path}", _nothing),
    ]


async def _nothing(request: Request) -> Response:
    return failure(request, 404, "There is no such page.")
