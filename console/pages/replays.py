"""The pages of replays: their history, the plan of a new one, its progress and its report."""

import math
from typing import Any

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from cli.replay.replay_as_text import described
from console.access.guard import person_of
from console.actions import replay as replaying
from console.actions.jobs import Job
from console.actions.replay import Planned
from console.pages.forms import form_of
from console.pages.render import failure, page, render, typed
from console.pages.site import Site
from processors.replay import plan as planning
from processors.replay import progress as ledger
from processors.replay import report as reporting
from processors.replay.plan_counts import STANDINGS
from processors.replay.progress import Replay
from processors.replay.run import Limits
from service.wall_clock import now_ms

PLAN, RUN = "replay plan", "replay"
_RATE, _BACKLOG = 2000.0, 20_000
_UNKNOWN = "This replay is not known here; the console has been restarted since."


def routes(site: Site) -> list[Route]:
    """Return the routes of the pages of replays."""
    return [
        Route("/replays", page(site, _history)),
        Route("/replays/known", page(site, _known)),
        Route("/replays/plans", page(site, _plan), methods=["POST"]),
        Route("/replays/runs", page(site, _begin), methods=["POST"]),
        Route("/replays/work/{id}", page(site, _watch)),
        Route("/replays/work/{id}/stop", page(site, _stop), methods=["POST"]),
        Route("/replays/{id}", page(site, _report)),
        Route("/replays/{id}/resume", page(site, _resume), methods=["POST"]),
    ]


async def _history(site: Site, request: Request) -> Response:
    return render(
        request,
        "replays.html",
        providers=site.settings.topics.providers,
        jobs=site.jobs.of(PLAN, RUN),
        rate=_RATE,
        backlog=_BACKLOG,
    )


async def _known(site: Site, request: Request) -> Response:
    replays = await ledger.known(site.settings)
    return render(
        request,
        "replays_known.html",
        replays=list(reversed(replays)),
        described=described,
        size=planning.size,
        running={job.asked.id for job in site.jobs.of(RUN) if job.state == "running"},
    )


async def _plan(site: Site, request: Request) -> Response:
    form = {name: str(value) for name, value in (await form_of(request)).items()}
    with typed():
        asked = replaying.wanted(form, now_ms())
    limits = _limits(form)

    async def work(job: Job) -> object:
        return await replaying.plan(site.settings, asked, job)

    job = site.jobs.start(PLAN, person_of(request), limits, work)
    return RedirectResponse(f"/replays/work/{job.id}", 303)


async def _begin(site: Site, request: Request) -> Response:
    planned = site.jobs.find(str((await form_of(request)).get("plan", "")), (PLAN,))
    if planned is None or not isinstance(planned.result, Planned):
        return failure(request, 404, "This plan is not known; make it again.")
    return await _run(site, request, ledger.begun(planned.result.plan.spec), planned.asked)


async def _resume(site: Site, request: Request) -> Response:
    replay = await ledger.find(site.settings, ledger.checked(request.path_params["id"]))
    if replay is None:
        return failure(request, 404, _UNKNOWN)
    if replay.spec.accounts is not None:
        sentence = "This replay began with accounts of a file; resume it on the command line."
        return failure(request, 409, sentence)
    return await _run(site, request, replay, Limits(_RATE, _BACKLOG))


async def _stop(site: Site, request: Request) -> Response:
    job = site.jobs.find(request.path_params["id"], (RUN,))
    if job is None:
        return failure(request, 404, _UNKNOWN)
    await site.audit.record(person_of(request), request, "replay stop", replay=job.asked.id)
    job.stop.set()
    return RedirectResponse(f"/replays/work/{job.id}", 303)


async def _watch(site: Site, request: Request) -> Response:
    job = site.jobs.find(request.path_params["id"], (PLAN, RUN))
    if job is None:
        return failure(request, 404, _UNKNOWN)
    template = "replay_plan.html" if job.kind == PLAN else "replay_run.html"
    return render(request, template, job=job, described=described, standings=STANDINGS)


async def _report(site: Site, request: Request) -> Response:
    replay = await ledger.find(site.settings, ledger.checked(request.path_params["id"]))
    if replay is None:
        sentence = "There is no such replay, or Kafka has deleted it, a week after its last use."
        return failure(request, 404, sentence)
    made = await reporting.report(site.settings, replay, 0)
    return render(request, "replay_report.html", made=made, described=described, size=planning.size)


async def _run(site: Site, request: Request, replay: Replay, limits: Limits) -> Response:
    """Start a replay, or the rest of it, and go to its page."""
    if any(job.asked.id == replay.id and job.state == "running" for job in site.jobs.of(RUN)):
        return failure(request, 409, f"The replay {replay.id} is running already.")
    person = person_of(request)
    await site.audit.record(
        person, request, "replay", replay=replay.id, range=described(replay.spec)
    )

    async def work(job: Job) -> object:
        return await replaying.run(site.settings, replay, limits, job)

    job = site.jobs.start(RUN, person, replay, work)
    return RedirectResponse(f"/replays/work/{job.id}", 303)


def _limits(form: dict[str, Any]) -> Limits:
    """Return the limits that a form gives; a text that is no number is the default."""
    rate, backlog = _number(form.get("rate"), _RATE), _number(form.get("backlog"), _BACKLOG)
    return Limits(rate, round(backlog))


def _number(text: str | None, default: float) -> float:
    try:
        number = float(text or "")
    except ValueError:
        return default
    return number if math.isfinite(number) and number >= 0 else default
