"""The application: the API and the pages, behind the decision who may see and do what."""

from collections.abc import Callable
from dataclasses import dataclass

from starlette.applications import Starlette
from starlette.routing import Mount

from console.access.access import access_of
from console.access.guard import middleware
from console.api.api import api
from console.context import Context
from console.pages.render import refused
from console.pages.routes import page_routes
from console.pages.site import Site, site_of
from console.read_model.database import Database
from service.settings import Settings


@dataclass(frozen=True)
class App:
    """The ASGI application, and what has to be closed with it."""

    asgi: Starlette
    site: Site


def create_app(
    settings: Settings, database: Database, loading_problem: Callable[[], str] = str
) -> App:
    """Return the application; raises `Problem` if the settings would leave it open.

    `loading_problem` says why the read model is not kept up to date, "" while it is.
    """
    access = access_of(settings)
    context = Context(settings, database)
    site = site_of(context, loading_problem)
    routes = [Mount("/api/v1", api(context)), *page_routes(site, access)]
    guarded = middleware(settings, access, site.audit, refused)
    return App(Starlette(routes=routes, middleware=guarded), site)
