"""The page of one record on Kafka: a raw body byte for byte, with its headers."""

import hashlib
from typing import NamedTuple

from aiokafka import TopicPartition
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from console.access.guard import may_reveal
from console.masking import masked_number
from console.pages.json_lines import lines_of
from console.pages.render import failure, page, render
from console.pages.site import Site
from processors.dead_letters import record as deadletters
from schemas.coordinates import Coordinates
from schemas.topics import Topics
from service.kafka import clients
from service.kafka.read_to_end import first_record
from service.settings import Settings

# A path may hold a secret of its source, and a reason quotes part of a body.
_MASKED = frozenset({"http-path", deadletters.MESSAGE})
_PATH = "/records/{topic}/{partition:int}/{offset:int}"
_BYTES = "application/octet-stream"


class Found(NamedTuple):
    """One record, as Kafka holds it; `timestamp` is Unix ms."""

    timestamp: int
    headers: list[tuple[str, bytes]]
    value: bytes | None


class Bounds(NamedTuple):
    """What a partition holds, if the record is not there: its first and next offset."""

    begin: int
    end: int


def routes(site: Site) -> list[Route]:
    """Return the routes of the page of a record, and of its bytes."""
    return [Route(_PATH, page(site, _one)), Route(f"{_PATH}/value", page(site, _value))]


async def _one(site: Site, request: Request) -> Response:
    place = _place(request)
    if place.topic not in _readable(site.settings.topics):
        return failure(request, 404, f"{place.topic} is not a topic that this page reads.")
    found = await find(site.settings, place)
    reveal = may_reveal(request)
    pointer = request.query_params.get("pointer", "")
    if isinstance(found, Bounds):
        return render(request, "record_gone.html", 404, place=place, bounds=found)
    value = found.value or b""
    return render(
        request,
        "record.html",
        place=place,
        found=found,
        size=len(value),
        sha256=hashlib.sha256(value).hexdigest(),
        pointer=pointer,
        headers=[(name, _header(name, text, reveal=reveal)) for name, text in found.headers],
        lines=lines_of(value, pointer, reveal=reveal) if value else [],
        text=_verbatim(value) if reveal else None,
    )


async def _value(site: Site, request: Request) -> Response:
    place = _place(request)
    if place.topic not in _readable(site.settings.topics) or not may_reveal(request):
        return failure(request, 404, "The bytes of a record are shown with reveal=1 only.")
    found = await find(site.settings, place)
    if isinstance(found, Bounds):
        return failure(request, 404, "The record is past its topic's retention.")
    name = f"{place.topic}-{place.partition}-{place.offset}.bin"
    # A download, whatever it holds: a browser must never show it as a page.
    disposition = {"content-disposition": f'attachment; filename="{name}"'}
    return Response(found.value or b"", headers=disposition, media_type=_BYTES)


def _readable(topics: Topics) -> tuple[str, ...]:
    """Return the topics that this page reads: those that hold what a provider sent."""
    return (*topics.raw_topics, topics.dead_letters, topics.observations)


async def find(settings: Settings, at: Coordinates) -> Found | Bounds:
    """Return a record, or what the partition holds instead; raises `Problem`."""
    place, offset = TopicPartition(at.topic, at.partition), at.offset
    async with clients.reading(settings, [at.topic]) as reader:
        if place.partition >= settings.partitions:
            return Bounds(0, 0)
        begin = (await reader.beginning_offsets([place]))[place]
        end = (await reader.end_offsets([place]))[place]
        if not begin <= offset < end:
            return Bounds(begin, end)
        reader.assign([place])
        record = await first_record(reader, place, offset, offset + 1)
    if record is None or record.offset != offset:
        return Bounds(begin, end)
    return Found(record.timestamp, list(record.headers), record.value)


def _place(request: Request) -> Coordinates:
    return Coordinates(**request.path_params)


def _header(name: str, value: bytes | None, *, reveal: bool) -> str:
    text = "" if value is None else value.decode("utf-8", "replace")
    return masked_number(text) if name in _MASKED and not reveal and text else text


def _verbatim(value: bytes) -> str | None:
    """Return the bytes as text if they are UTF-8; each one as it is."""
    try:
        return value.decode()
    except UnicodeDecodeError:
        return None
