"""The application: the API and the pages, behind the decision who may see and do what."""

import secrets
from dataclasses import dataclass

from starlette.applications import Starlette
from starlette.routing import Mount
from starlette.types import ASGIApp

from console.access.access import access_of
from console.access.audit import Audit
from console.access.guard import guarded
from console.api.api import api
from console.context import Context
from console.pages.findings import Findings
from console.pages.live import Changes
from console.pages.render import refused
from console.pages.routes import page_routes
from console.pages.site import Site
from console.read_model.database import Database
from console.read_model.queries import overview
from service.settings import Settings


@dataclass(frozen=True)
class App:
    """The ASGI application, and what has to be closed with it."""

    asgi: ASGIApp
    site: Site


def create_app(settings: Settings, database: Database) -> App:
    """Return the application; raises `Problem` if the settings would leave it open."""
    access = access_of(settings)
    context = Context(settings, database)

    async def progress() -> object:
        return await context.run(overview.progress)

    file = settings.console_audit or settings.data / "console" / settings.namespace / "audit.jsonl"
    site = Site(context, Audit(settings, file), Changes(progress), Findings(settings))
    app = Starlette(routes=[Mount("/api/v1", api(context)), *page_routes(site)])
    app.state.namespace = settings.namespace
    app.state.login = access.login
    key = settings.console_session_key
    return App(
        guarded(
            app,
            access,
            site.audit,
            refused,
            key=key.get_secret_value() if key else secrets.token_urlsafe(32),
            cookie=f"bluetick-{settings.namespace}",
        ),
        site,
    )
