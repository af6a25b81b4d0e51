"""The pages of dead letters: by cause with an example, and their retry."""

import json
from collections.abc import Sequence
from hashlib import sha256
from typing import Any, NamedTuple

from starlette.datastructures import FormData
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from console.access.guard import may_reveal, person_of
from console.access.roles import Person
from console.actions import retry
from console.actions.jobs import Job
from console.pages.forms import form_of
from console.pages.json_lines import Line, lines_of
from console.pages.records import Bounds, find
from console.pages.render import failure, page, render
from console.pages.site import Site
from console.read_model.queries import dead_letters as queries
from console.read_model.results import Letter, LetterFilter, LetterGroup
from processors.dead_letters.causes import Cause
from schemas.coordinates import Coordinates

PLAN, RETRY = "retry plan", "retry"
_PAGE = 50
_UNSELECTED = "unselected"  # in the address of the page that says so
_LINES = 40  # of an example; the page of the record has all of them


class Example(NamedTuple):
    """A dead letter's body as lines, and what its pointer refers to there; `gone` if neither is."""

    lines: list[Line]
    pointer: str
    gone: bool = False


def routes(site: Site) -> list[Route]:
    """Return the routes of the pages of dead letters."""
    return [
        Route("/dead-letters", page(site, _groups)),
        Route("/dead-letters/list", page(site, _letters)),
        Route("/dead-letters/retries", page(site, _start), methods=["POST"]),
        Route("/dead-letters/retries/{id}", page(site, _watch)),
        Route("/dead-letters/{id}/example", page(site, _show_example)),
    ]


async def _groups(site: Site, request: Request) -> Response:
    everything = request.query_params.get("all") == "1"
    asked = LetterFilter(
        provider=request.query_params.get("provider") or None,
        code=request.query_params.get("code") or None,
        resolved=None if everything else False,
    )
    return render(
        request,
        "dead_letters.html",
        groups=await site.context.run(queries.groups, asked),
        everything=everything,
        unselected=request.query_params.get(_UNSELECTED) == "1",
        filtered=bool(asked.provider or asked.code),
        value_of=lambda group: _encoded(_cause(group)),
        id_of=lambda group: sha256(_encoded(_cause(group)).encode()).hexdigest()[:16],
        jobs=site.jobs.of(PLAN, RETRY),
    )


async def _letters(site: Site, request: Request) -> Response:
    asked = LetterFilter(
        provider=request.query_params.get("provider") or None,
        code=request.query_params.get("code") or None,
        cause=request.query_params.get("cause") or None,
    )
    cursor = request.query_params.get("cursor")
    found = await site.context.run(queries.letters, asked, cursor=cursor, limit=_PAGE)
    return render(
        request, "letters.html", asked=asked, letters=found.items, next=found.next, cursor=cursor
    )


async def _show_example(site: Site, request: Request) -> Response:
    letter = await site.context.run(queries.find, request.path_params["id"])
    if letter is None:
        return failure(request, 404, "This dead letter is past its topic's retention.")
    shown = await _example(site, letter, reveal=may_reveal(request))
    return render(request, "letter_example.html", letter=letter, example=shown)


async def _start(site: Site, request: Request) -> Response:
    form = await form_of(request)
    causes = causes_of(form)
    if not causes:
        return RedirectResponse(f"/dead-letters?{_UNSELECTED}=1", 303)
    person = person_of(request)
    dry = form.get("confirmed") != "1"
    if not dry:
        asked = [list(cause) for cause in causes]
        await site.audit.record(person, request, "retry", causes=asked)
    job = _started(site, person, causes, dry=dry)
    return RedirectResponse(f"/dead-letters/retries/{job.id}", 303)


async def _watch(site: Site, request: Request) -> Response:
    job = site.jobs.find(request.path_params["id"], (PLAN, RETRY))
    if job is None:
        sentence = "This retry is not known; the console has been restarted since."
        return failure(request, 404, sentence)
    return render(
        request,
        "retry.html",
        job=job,
        planned=job.kind == PLAN,
        causes=[(cause, _encoded(cause)) for cause in job.asked],
    )


def causes_of(form: FormData) -> list[Cause]:
    """Return the causes that a form selects; what is none is left out."""
    found: list[Cause] = []
    for text in form.getlist("cause"):
        try:
            parts: Any = json.loads(str(text))
        except ValueError:
            continue
        if isinstance(parts, list) and len(parts) == len(Cause._fields):
            found.append(Cause(*map(str, parts)))
    return found


def _cause(group: LetterGroup) -> Cause:
    return Cause(group.provider, group.code, group.cause)


def _encoded(cause: Cause) -> str:
    return json.dumps(list(cause))


def _started(site: Site, person: Person, causes: Sequence[Cause], *, dry: bool) -> Job:
    async def work(job: Job) -> object:
        return await retry.retry(site.settings, causes, job, dry=dry)

    return site.jobs.start(PLAN if dry else RETRY, person, causes, work)


async def _example(site: Site, letter: Letter, *, reveal: bool) -> Example:
    """Return the body around the failed part, marked; if it is gone, the failed part alone."""
    raw = letter.raw
    if raw.topic in site.settings.topics.raw_topics:
        body = await find(site.settings, Coordinates(raw.topic, raw.partition, raw.offset))
        if not isinstance(body, Bounds):
            lines = lines_of(body.value or b"", letter.pointer, reveal=reveal, most=_LINES)
            return Example(lines, letter.pointer)
    at = letter.at
    kept = await find(site.settings, Coordinates(at.topic, at.partition, at.offset))
    if isinstance(kept, Bounds):
        return Example([], letter.pointer, gone=True)
    return Example(lines_of(kept.value or b"", "", reveal=reveal), letter.pointer)
