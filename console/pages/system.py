"""The page of the system: topics, groups, versions, findings and settings."""

import os

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from cli import config, groups
from console.pages.findings import groups_in, lag_of, waiting_of
from console.pages.render import page, render
from console.pages.site import Site
from console.read_model.queries import overview
from service.setting_names import variable
from service.settings import groups as setting_groups
from service.settings import origin


def routes(site: Site) -> list[Route]:
    """Return the routes of the page of the system."""
    return [Route("/system", page(site, _system)), Route("/system/findings", page(site, _findings))]


async def _system(site: Site, request: Request) -> Response:
    values = config.effective(site.settings)
    rows = {
        title: [
            (variable(name), config.text(values[name]), origin(name, (), os.environ))
            for name in names
        ]
        for title, names in setting_groups().items()
    }
    return render(
        request,
        "system.html",
        settings=rows,
        progress=await site.context.run(overview.progress),
    )


async def _findings(site: Site, request: Request) -> Response:
    parts = await site.findings.parts()
    by_name = {part.name: part.facts for part in parts}
    return render(
        request,
        "system_findings.html",
        parts=parts,
        groups=groups_in(parts),
        topics=by_name.get("topics") or [],
        versions=by_name.get("versions"),
        broker=by_name.get("broker"),
        lag_of=lag_of,
        waiting_of=waiting_of,
        member_text=groups.member_text,
    )
