"""The pages in process, over a filled read model: masks, forms, escapes, headers, failures."""

import re
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest
from sqlalchemy.exc import OperationalError

from console.app import create_app
from console.read_model.database import Database
from service.settings import Settings
from tests.unit.console.read_model.topic_records import BEGAN, outcomes

TOKEN = re.compile(r'name="csrf" value="([^"]+)"')


@pytest.fixture
def audit(tmp_path: Path) -> Path:
    return tmp_path / "audit.jsonl"


@pytest.fixture
async def client(database: Database, audit: Path) -> AsyncIterator[httpx.AsyncClient]:
    """Return a browser's stand-in; Kafka is away."""
    settings = Settings(kafka="127.0.0.1:1", console_audit=audit)
    app = create_app(settings, database)
    transport = httpx.ASGITransport(app.asgi)
    async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
        yield client
    await app.site.close()


async def token_of(client: httpx.AsyncClient) -> str:
    found = TOKEN.search((await client.get("/dead-letters")).text)
    assert found
    return found[1]


def logged(audit: Path) -> str:
    return audit.read_text() if audit.exists() else ""


def make_unwritable(audit: Path) -> None:
    audit.mkdir()


async def test_every_message_has_a_page(client: httpx.AsyncClient) -> None:
    """Each kind of message is shown, and no number of more than six digits of its parties."""
    for key, state in sorted(outcomes()[-1].messages.items())[::6]:
        answer = await client.get(f"/messages/{key}")
        assert answer.status_code == 200, key
        facts = sum(len(attempt.facts) for attempt in state.attempts.values())
        assert answer.text.count("/records/") >= facts, key
        if state.recipient and len(state.recipient) > 6:
            assert state.recipient not in answer.text, key


async def test_numbers_are_revealed_on_demand_and_that_is_logged(
    client: httpx.AsyncClient, audit: Path
) -> None:
    state = next(one for one in outcomes()[-1].messages.values() if one.recipient)
    address = f"/messages/{state.message_key}"
    assert logged(audit) == ""
    assert str(state.recipient) in (await client.get(f"{address}?reveal=1")).text
    assert f'"path":"{address}"' in logged(audit)


async def test_what_cannot_be_logged_is_not_revealed(
    client: httpx.AsyncClient, audit: Path
) -> None:
    """An audit log that cannot be written refuses the revealing, with a sentence."""
    make_unwritable(audit)
    state = next(one for one in outcomes()[-1].messages.values() if one.recipient)
    answer = await client.get(f"/messages/{state.message_key}?reveal=1")
    assert answer.status_code == 503
    assert "so the action is not done" in answer.text
    assert str(state.recipient) not in answer.text


async def test_the_overview_says_why_loading_has_stopped(database: Database, audit: Path) -> None:
    """The sentence of the loader is on the page as text; without a problem there is none."""
    problems = ["no broker of <a:1> answers", ""]
    settings = Settings(kafka="127.0.0.1:1", console_audit=audit)
    app = create_app(settings, database, lambda: problems[0])
    transport = httpx.ASGITransport(app.asgi)
    async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
        stopped = (await client.get("/")).text
        del problems[0]
        running = (await client.get("/")).text
    await app.site.close()
    assert "not kept up to date: no broker of &lt;a:1&gt; answers." in stopped
    assert "not kept up to date" not in running


async def test_the_services_come_with_the_verdict(client: httpx.AsyncClient) -> None:
    """Without Kafka: the verdict takes the place of the one on the page, and names the broker."""
    page, services = (await client.get("/")).text, (await client.get("/overview/services")).text
    assert '<section class="note verdict' in page
    assert "1 warning so far" in page  # the read model is loading
    assert 'id="verdict"' in services
    assert 'hx-swap-oob="true"' in services
    assert "no answer" in services  # of ingest
    assert 'href="/system#found-title">Broker: it could not be checked: ' in services


async def test_a_number_of_the_overview_leads_to_the_messages_it_counts(
    client: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It counts whole hours, and the failed ones by any status of a failure; so does its link."""
    monkeypatch.setattr("console.pages.overview.now_ms", lambda: BEGAN + 60_000)
    page = (await client.get("/")).text
    for provider, address, number in re.findall(
        r'href="/messages[?]provider=([a-z]+)&amp;(status=[^"]+)">([0-9]+)</a>', page
    ):
        query = address.replace("&amp;", "&").replace("from=", "since=").partition("&since=")[0]
        api = await client.get(f"/api/v1/messages?provider={provider}&{query}&limit=1000")
        first = [one for one in api.json()["items"] if one["first_seen_at"] < BEGAN + 3_600_000]
        assert len(first) == int(number) > 0
    hours = re.findall(r'href="/messages[?](?:provider=[a-z]+&amp;)?from=([^"&]+)"', page)
    assert len(hours) > 2
    assert all(re.fullmatch(r"[0-9-]{10}T[0-9]{2}%3A00%3A00.000Z", one) for one in hours)


@pytest.mark.parametrize(
    "address",
    [
        "/messages/no/such/message",
        "/records/bluetick.messages/0/1",
        "/records/elsewhere/0/1",
        "/dead-letters/zz/example",
        "/dead-letters/retries/none",
        "/replays/work/none",
        "/nothing/here",
    ],
)
async def test_what_is_not_there_has_a_page_that_says_so(
    client: httpx.AsyncClient, address: str
) -> None:
    answer = await client.get(address)
    assert answer.status_code == 404
    assert 'role="alert"' in answer.text


@pytest.mark.parametrize(
    "address",
    ["/messages?cursor=broken", "/messages?from=yesterday", "/quality?from=x"],
)
async def test_an_address_that_is_not_valid(client: httpx.AsyncClient, address: str) -> None:
    """The page says what to correct; nothing of Bluetick is wrong."""
    answer = await client.get(address)
    assert answer.status_code == 400
    assert "This request is not valid" in answer.text
    assert "to see what is wrong" not in answer.text


@pytest.mark.parametrize(
    "path", ["/dead-letters/retries", "/replays/plans", "/replays/runs", "/replays/x/resume"]
)
async def test_a_form_without_its_token_is_refused(client: httpx.AsyncClient, path: str) -> None:
    await token_of(client)
    assert (await client.post(path, data={"cause": "[]"})).status_code == 403
    assert (await client.post(path, data={"csrf": "guessed"})).status_code == 403


async def test_a_form_with_its_token_is_read(client: httpx.AsyncClient) -> None:
    token = await token_of(client)
    answer = await client.post("/replays/plans", data={"csrf": token, "from": ""})
    assert answer.status_code == 400
    assert "the range has no begin" in answer.text
    too_large = await client.post("/replays/plans", data={"csrf": token, "from": "x" * 2_000_000})
    assert too_large.status_code == 413


@pytest.mark.parametrize("form", [{}, {"cause": "no json"}], ids=["nothing", "no cause"])
async def test_a_retry_of_nothing_says_to_select_something(
    client: httpx.AsyncClient, form: dict[str, str]
) -> None:
    """The page of dead letters says it, so that the selection is one step away."""
    form["csrf"] = await token_of(client)
    answer = await client.post("/dead-letters/retries", data=form, follow_redirects=True)
    assert (answer.status_code, answer.url.path) == (200, "/dead-letters")
    assert "Nothing is selected. Select the causes to retry" in answer.text
    assert 'name="cause"' in answer.text
    assert "Nothing is selected" not in (await client.get("/dead-letters")).text


async def test_dead_letters_follow_and_keep_what_a_person_selected_and_opened(
    client: httpx.AsyncClient,
) -> None:
    """What htmx preserves has an id that stays when the order of causes changes."""
    page = (await client.get("/dead-letters")).text
    assert re.search(
        r'<div id="letters" data-live hx-disinherit="[*]" hx-get="/dead-letters" hx-sel', page
    )
    boxes = dict(
        re.findall(r'id="select-([0-9a-f]+)" hx-preserve name="cause" value="([^"]+)"', page)
    )
    assert len(boxes) == page.count('name="cause"') > 1
    assert "#" not in "".join(re.findall("<p>(.*?)</p>", page))  # real words, not causes
    assert {*boxes} == {*re.findall(r'<details id="example-([0-9a-f]+)" hx-preserve>', page)}
    fewer = (await client.get("/dead-letters?provider=whapi")).text
    others = dict(
        re.findall(r'id="select-([0-9a-f]+)" hx-preserve name="cause" value="([^"]+)"', fewer)
    )
    assert 0 < len(others) < len(boxes)
    assert others.items() <= boxes.items()
    listed = (await client.get("/dead-letters/list?provider=whapi")).text
    assert "data-live" in listed


async def test_no_page_of_messages_repeats_a_status_as_its_reason(
    client: httpx.AsyncClient,
) -> None:
    """The simulated provider gives the status as the reason of some failures."""
    listed = (await client.get("/messages?status=failed&status=rejected&status=undelivered")).text
    rows = re.findall(
        r'<span class="tag bad">([a-z]+)</span>.*?<td>([^<]*)</td>\n<td><time', listed, re.DOTALL
    )
    assert rows
    assert [one for one in rows if one[0] == one[1].casefold()] == []
    keys = re.findall(r'<a class="mono" href="/messages/([^"?]+)"', listed)
    for key in keys[:20]:
        page = (await client.get(f"/messages/{key}")).text
        assert not re.search(r"(failed|rejected|undelivered), because “\1”", page)


async def test_a_foreign_host_name_is_refused(client: httpx.AsyncClient) -> None:
    answer = await client.get("/messages", headers={"host": "evil.example.com"})
    assert answer.status_code == 421


@pytest.mark.parametrize("address", ["/", "/messages", "/api/v1/overview", "/static/console.css"])
async def test_every_answer_has_the_security_headers(
    client: httpx.AsyncClient, address: str
) -> None:
    headers = (await client.get(address)).headers
    assert "script-src 'self'" in headers["content-security-policy"]
    assert headers["x-content-type-options"] == "nosniff"


@pytest.mark.parametrize("address", ["/", "/messages", "/quality", "/dead-letters", "/replays"])
async def test_no_page_has_inline_code(client: httpx.AsyncClient, address: str) -> None:
    """The Content-Security-Policy would refuse it."""
    text = (await client.get(address)).text
    assert not re.search(r"<script(?![^>]*\bsrc=)|<style|\sstyle=|\son\w+=", text)


async def test_a_hostile_search_is_text(client: httpx.AsyncClient) -> None:
    hostile = '"><script>alert(1)</script>'
    text = (await client.get("/messages", params={"q": hostile, "from": "-1h"})).text
    assert "<script>alert" not in text
    assert "&lt;script&gt;alert(1)" in text


async def test_a_database_that_fails_has_a_page(
    client: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    def failing(*_: object, **__: object) -> None:
        raise OperationalError("SELECT", {}, Exception("disk I/O error"))

    monkeypatch.setattr("console.pages.messages.queries.search", failing)
    answer = await client.get("/messages")
    assert answer.status_code == 503
    assert "The read model cannot be read: disk I/O error" in answer.text


async def test_a_page_of_older_messages_follows(client: httpx.AsyncClient) -> None:
    """The cursor is in the address, with the filter."""
    first = (await client.get("/messages?provider=smsmanager")).text
    older = re.search(r'href="([^"]*cursor=[^"]*)"', first)
    assert older
    address = older[1].replace("&amp;", "&")
    assert "provider=smsmanager" in address
    rows = re.compile(r'href="/messages/([^"?]+)"')
    assert not set(rows.findall(first)) & set(rows.findall((await client.get(address)).text))


async def test_the_filter_of_an_address_is_the_one_of_its_form(client: httpx.AsyncClient) -> None:
    found = (await client.get("/messages?status=read&status=rejected&status=odd&q=x")).text
    boxes = dict(re.findall(r'name="status" value="([a-z]+)"( checked)?', found))
    assert [one for one, checked in boxes.items() if checked] == ["read", "rejected", "odd"]
    assert {"delivered", "failed"} < boxes.keys()
    assert 'value="x"' in found


async def test_several_statuses_are_found_together(client: httpx.AsyncClient) -> None:
    """Page after page: the cursor keeps them."""
    address, found = "/messages?status=failed&status=rejected", set()
    while address:
        text = (await client.get(address)).text
        table = text.partition("<tbody>")[2]
        found |= set(re.findall(r'<td><span class="tag[^"]*">([a-z]+)</span>', table))
        older = re.search(r'href="([^"]*cursor=[^"]*)" rel="next"', text)
        address = older[1].replace("&amp;", "&") if older else ""
        assert not address or address.count("status=") == 2
    assert found == {"failed", "rejected"}
