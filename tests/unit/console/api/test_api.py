"""The API over a filled read model: results, masking, pages, and every mistake of a caller."""

import json
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Thread
from typing import Any
from urllib.parse import quote

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from jsonschema import Draft202012Validator
from starlette.applications import Starlette
from starlette.routing import Mount

from console.api.api import api
from console.api.operations import OPERATIONS
from console.context import Context
from console.read_model.database import Database
from service.http.connection_limits import Connections
from service.http.server import Server
from service.settings import Settings
from tests.examples import examples
from tests.unit.console.read_model.topic_records import BEGAN, states

DAY_MS = 24 * 3_600_000
RANGE = f"since={BEGAN - DAY_MS}&until={BEGAN + 30 * DAY_MS}"


@contextmanager
def serving(database: Database) -> Iterator[str]:
    """Serve the API on a socket, in a thread; yields its URL."""
    app = Starlette(routes=[Mount("/api/v1", api(Context(Settings(), database)))])
    server = Server(app, Connections(10.0, 100), grace=1)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = Thread(target=server.run, args=([listener],))
        thread.start()
        try:
            yield f"http://127.0.0.1:{listener.getsockname()[1]}/api/v1"
        finally:
            server.should_exit = True
            thread.join()


@pytest.fixture(scope="module")
def url(database: Database) -> Iterator[str]:
    with serving(database) as url:
        yield url


@pytest.fixture(scope="module")
def client(url: str) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=url, trust_env=False) as client:
        yield client


@pytest.fixture(scope="module")
def document(client: httpx.Client) -> dict[str, Any]:
    found: dict[str, Any] = client.get("/openapi.json").json()
    return found


def test_each_page_continues_the_one_before(client: httpx.Client) -> None:
    found, cursor = [], ""
    while cursor is not None:
        page = client.get(f"/messages?limit=20{cursor and f'&cursor={quote(cursor)}'}").json()
        found += [one["key"] for one in page["items"]]
        cursor = page["next"]
    assert sorted(found) == sorted(states())


def test_numbers_texts_and_payloads_are_masked(client: httpx.Client) -> None:
    """Nothing of them is anywhere in an answer; with reveal=1 all of it is."""
    state = next(
        one
        for one in states().values()
        if one.inbound and one.payload and len(one.recipient or "") > 8
    )
    masked = client.get("/message", params={"key": state.message_key})
    shown = client.get("/message", params={"key": state.message_key, "reveal": "1"}).json()
    assert state.recipient
    assert state.recipient not in masked.text
    assert shown["line"]["recipient"] == state.recipient
    assert shown["payload"] == state.payload
    reply = shown["replies"][0]
    assert reply["sender"] not in masked.text
    assert reply["content"]["text"] not in masked.text
    assert masked.json()["line"]["recipient"] == "…" + state.recipient[-3:]


def test_a_search_narrows_by_repeated_and_single_parameters(client: httpx.Client) -> None:
    query = "provider=smsmanager&status=failed&status=rejected&contradicted=false"
    items = client.get(f"/messages?{query}").json()["items"]
    assert {one["status"] for one in items} == {"failed", "rejected"}
    assert {one["provider"] for one in items} == {"smsmanager"}


def test_event_time_bounds_and_sorts(client: httpx.Client) -> None:
    """All pages; no message without an attempt is among them."""
    every = client.get("/messages?time=event&limit=1000").json()["items"]
    middle = every[len(every) // 2]["began_at"]
    found, cursor = [], ""
    while cursor is not None:
        query = f"time=event&since={middle}&limit=20{cursor and f'&cursor={quote(cursor)}'}"
        page = client.get(f"/messages?{query}").json()
        found += [one["began_at"] for one in page["items"]]
        cursor = page["next"]
    assert found == [one["began_at"] for one in every if one["began_at"] >= middle]
    assert 0 < len(found) < len(every) < len(states())


@pytest.mark.parametrize(
    ("path", "parameter"),
    [
        ("/messages?limit=0", "limit"),
        ("/messages?limit=x", "limit"),
        ("/messages?limit=1&limit=2", "limit"),
        ("/messages?since=-1", "since"),
        ("/messages?colour=red", "colour"),
        ("/messages?cursor=nonsense", "cursor"),
        ("/messages?time=yesterday", "time"),
        ("/messages?text=%00", "text"),
        ("/messages?reveal=yes", "reveal"),
        ("/message", "key"),
        ("/quality?since=0&until=1&by=colour", "by.0"),
        ("/dead-letter?id=7", "id"),
        ("/throughput?since=0&until=1&step=week", "step"),
    ],
)
def test_a_mistake_names_the_parameter(client: httpx.Client, path: str, parameter: str) -> None:
    answer = client.get(path)
    assert answer.status_code == 400
    assert answer.headers["content-type"] == "application/problem+json"
    problem = answer.json()
    assert problem["status"] == 400
    assert [one["parameter"] for one in problem["errors"]] == [parameter]


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/message?key=smsmanager/-/none", 404),
        ("GET", f"/dead-letter?id={'0' * 32}", 404),
        ("GET", "/nothing", 404),
        ("POST", "/messages", 405),
    ],
)
def test_an_error_is_a_problem_document(
    client: httpx.Client, method: str, path: str, status: int
) -> None:
    answer = client.request(method, path)
    assert (answer.status_code, answer.json()["status"]) == (status, status)
    assert answer.headers["content-type"] == "application/problem+json"


def test_a_read_model_that_cannot_be_read_is_said(tmp_path: Any) -> None:
    empty = Database(f"sqlite:///{tmp_path / 'empty.sqlite'}")
    with serving(empty) as url:
        answer = httpx.get(f"{url}/overview", trust_env=False)
    assert answer.status_code == 503
    assert answer.json()["detail"].startswith("the read model cannot be read")


@pytest.mark.parametrize(
    "path",
    [
        "/messages?limit=1000",
        "/messages?text=simulated",
        "/messages?time=event&gateway=viber&limit=1000",
        f"/quality?{RANGE}",
        "/dead-letters",
        "/dead-letters/groups?resolved=false",
        "/overview?hours=8784",
        f"/throughput?{RANGE}&step=hour",
    ],
)
def test_a_result_is_as_the_document_says(
    client: httpx.Client, document: dict[str, Any], path: str
) -> None:
    answer = client.get(path)
    assert answer.status_code == 200
    schema = _schema(document, path.partition("?")[0])
    Draft202012Validator(schema).validate(answer.json())


def test_every_message_is_as_the_document_says(
    client: httpx.Client, document: dict[str, Any]
) -> None:
    validator = Draft202012Validator(_schema(document, "/message"))
    for key in states():
        validator.validate(client.get("/message", params={"key": key, "reveal": "1"}).json())


def _schema(document: dict[str, Any], path: str) -> dict[str, Any]:
    content = document["paths"][path]["get"]["responses"]["200"]["content"]
    text = json.dumps(content["application/json"]["schema"])
    return {**json.loads(text), "components": document["components"]}


def test_schemathesis_finds_no_difference(url: str) -> None:
    """Any parameters, valid or not, get an answer that the document describes."""
    # Its import takes a second, and each process of the tests imports this file.
    import schemathesis  # noqa: PLC0415

    schema = schemathesis.openapi.from_url(f"{url}/openapi.json")
    checked = 0
    for found in schema.get_all_operations():
        operation: Any = found.ok()  # type: ignore[union-attr]
        for mode in schemathesis.GenerationMode:
            _check(operation, mode)
            checked += 1
    assert checked == 2 * len(OPERATIONS)


def _check(operation: Any, mode: Any) -> None:
    @settings(examples(1 / 4), suppress_health_check=list(HealthCheck))
    @given(case=operation.as_strategy(generation_mode=mode))
    def check(case: Any) -> None:
        case.call_and_validate()

    check()
