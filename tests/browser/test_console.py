"""The console in Chromium: searching, reading, acting, masking, the keyboard, hostile senders."""

import asyncio
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from playwright.async_api import Browser, Page, expect

from tests.browser.pipeline import (
    ATTACKING,
    HOSTILE,
    NUMBER,
    READABLE,
    UNDELIVERED,
    WAITING,
    Pipeline,
    body,
    report,
)

# Five services, a Kafka and a browser take their time to start.
pytestmark = pytest.mark.long

AXE = (Path(__file__).parent / "axe/axe.min.js").read_text()
KEY = f"/messages/smsmanager/-/{UNDELIVERED}"
PAGES = ("/", "/messages", KEY, "/quality?from=-24h", "/dead-letters", "/replays", "/system")
SERIOUS = ("serious", "critical")
NARROW = 360


async def opened(page: Page, address: str) -> None:
    """Open a page, and wait until its parts are loaded."""
    await page.goto(address)
    await expect(page.locator(".loading:visible")).to_have_count(0)


async def raw_body_of_failure(page: Page) -> None:
    """Go from the message that was not delivered to the raw body of its last fact."""
    await opened(page, KEY)
    row = page.locator("#timeline tbody tr", has_text="Absent subscriber")
    await row.get_by_role("link").click()
    await expect(page.get_by_role("heading", name="Headers")).to_be_visible()


async def test_why_a_message_was_not_delivered(page: Page, served: Pipeline) -> None:
    """From the first page: search, the reason, the timeline, and the body byte for byte."""
    await opened(page, "/")
    await page.get_by_label("What happened to this message?").fill(UNDELIVERED)
    await page.keyboard.press("Enter")
    await page.get_by_role("link", name=UNDELIVERED).click()
    story = page.get_by_role("region", name="What happened")
    await expect(story).to_contain_text("Not delivered: undelivered, because “Absent subscriber”")
    await expect(story).to_contain_text("Through viber: undelivered after 50 s")
    await expect(page.locator(".timeline a")).to_have_count(4)
    await raw_body_of_failure(page)
    await page.get_by_role("link", name="Reveal", exact=True).click()
    assert await page.locator("#verbatim").text_content() == served.failed_body.decode()
    async with page.expect_download() as downloading:
        await page.get_by_role("link", name="Download the bytes").click()
    downloaded = await (await downloading.value).path()
    assert await asyncio.to_thread(Path(downloaded).read_bytes) == served.failed_body
    lines = [json.loads(line) for line in served.settings.audit_file.read_text().splitlines()]
    assert {"reveal"} == {line["action"] for line in lines if "/records/" in line["path"]}


async def test_a_message_is_found_by_its_number_and_by_the_callers_data(page: Page) -> None:
    for text in (f"+{NUMBER[:3]} {NUMBER[3:]}", f"r-{UNDELIVERED}"):
        await opened(page, "/messages")
        await page.get_by_role("searchbox").fill(text)
        await page.get_by_role("button", name="Find").click()
        await expect(page.get_by_role("link", name=UNDELIVERED)).to_be_visible()
    await opened(page, "/messages?q=nothing-has-this-id")
    await expect(page.locator("#found")).to_contain_text("No message matches")


async def test_a_record_past_retention(page: Page, served: Pipeline) -> None:
    await page.goto(f"/records/{served.settings.topics.raw('smsmanager')}/0/99999")
    await expect(page.get_by_role("status").first).to_contain_text("Past retention")


async def test_a_dead_letter_is_retried(page: Page) -> None:
    """Select a cause, look at its example, plan, confirm; the retry resolves it."""
    await opened(page, "/dead-letters")
    cause = page.locator("article", has_text="an older version could not read it")
    await cause.locator("summary").click()
    await expect(cause.locator(".marked").first).to_be_visible()
    await cause.get_by_role("checkbox").check()
    await page.get_by_role("button", name="Plan a retry of the selected causes").click()
    await expect(page.locator("#result")).to_contain_text("Dead letters to be resolved1")
    await page.get_by_role("button", name="Retry now").click()
    await expect(page.locator("#result")).to_contain_text("Dead letters resolved1")
    await expect(page.get_by_text("an older version")).to_have_count(1)
    while await _is_listed(page, "an older version could not read it"):
        pass  # until the console has read the retry's marker; the test's timeout bounds it


async def _is_listed(page: Page, words: str) -> bool:
    await opened(page, "/dead-letters")
    return await page.locator("article", has_text=words).count() > 0


async def test_a_replay_is_planned_run_and_reported(page: Page) -> None:
    """Nothing is new: a replay of what is known changes nothing."""
    await opened(page, "/replays")
    await page.get_by_role("button", name="Plan").click()
    await expect(page.locator("#progress")).to_contain_text("facts are new")
    await page.get_by_role("button", name="Start").click()
    await page.get_by_role("link", name="Report of this replay").click()
    await expect(page.get_by_role("heading", name="New facts")).to_be_visible()
    await opened(page, "/replays")
    await expect(page.locator("#known tbody tr")).to_have_count(1)


async def test_a_page_follows_the_pipeline(page: Page, served: Pipeline) -> None:
    """A new fact appears without a reload."""
    await opened(page, f"/messages/smsmanager/-/{WAITING}")
    await expect(page.locator("#live-state")).to_have_text("Live")
    await page.evaluate("window.kept = true")
    await served.send(body(report(WAITING, "sms", "delivered", 5)))
    await expect(page.locator("#timeline tbody tr", has_text="delivered")).to_be_visible()
    assert await page.evaluate("window.kept")


async def test_numbers_and_texts_are_masked(page: Page) -> None:
    """No page has them, until a person with the role asks."""
    await raw_body_of_failure(page)
    record = page.url
    for address in (*PAGES, f"/messages?q={UNDELIVERED}", record):
        await opened(page, address)
        assert NUMBER not in await page.content(), address
    await opened(page, f"/messages?q={UNDELIVERED}&reveal=1")
    assert NUMBER in await page.content()


async def test_the_keyboard_alone(page: Page) -> None:
    """Skip to the content, search, open a message, and open the body of a fact."""
    await opened(page, "/")
    await page.keyboard.press("Tab")
    await expect(page.get_by_role("link", name="Skip to the content")).to_be_focused()
    await page.keyboard.press("Enter")
    search = page.get_by_label("What happened to this message?")
    while not await search.evaluate("one => one === document.activeElement"):
        await page.keyboard.press("Tab")  # past the lines of the verdict
    await page.keyboard.type(UNDELIVERED)
    await page.keyboard.press("Enter")
    await expect(page.get_by_role("link", name=UNDELIVERED)).to_be_visible()
    await tab_to(page, f"/messages/smsmanager/-/{UNDELIVERED}")
    await page.keyboard.press("Enter")
    await expect(page.locator("#timeline")).to_be_visible()
    await tab_to(page, "/records/")
    await page.keyboard.press("Enter")
    await expect(page.get_by_role("heading", name="Headers")).to_be_visible()


async def tab_to(page: Page, address: str) -> None:
    """Press Tab until a link to that address has the focus."""
    for _ in range(60):
        await page.keyboard.press("Tab")
        href = await page.evaluate("document.activeElement.getAttribute('href') || ''")
        if str(href).startswith(address):
            return
    pytest.fail(f"no link to {address} is reached")


async def test_what_a_sender_wrote_is_text(page: Page) -> None:
    """Markup in a reason, a status, a payload and a field's name stays text on every page."""
    for address in (
        f"/messages?q={ATTACKING}&reveal=1",
        f"/messages/smsmanager/-/{ATTACKING}?reveal=1",
        "/dead-letters?reveal=1",
    ):
        await opened(page, address)
        closed = page.locator("details:not([open]) > summary")
        while await closed.count():
            await closed.first.click()
        await expect(page.locator(".loading:visible")).to_have_count(0)
        assert await page.locator("main img, main script").count() == 0
        assert "taken" not in await page.title()
    await opened(page, f"/messages/smsmanager/-/{ATTACKING}?reveal=1")
    await expect(page.get_by_role("region", name="What happened")).to_contain_text(HOSTILE)


@pytest.mark.parametrize("scheme", ["light", "dark"])
async def test_every_page_is_accessible(browser: Browser, served: Pipeline, scheme: Any) -> None:
    """axe-core finds nothing serious, in light and in dark."""
    context = await browser.new_context(base_url=served.console, color_scheme=scheme)
    page = await context.new_page()
    for address in PAGES:
        await opened(page, address)
        assert await serious(page) == [], address
    await context.close()


async def serious(page: Page) -> Sequence[str]:
    """Return the serious findings of axe-core, with the elements."""
    await page.evaluate(AXE)
    found: dict[str, Any] = await page.evaluate("axe.run()")
    return [
        f"{one['id']}: {[node['html'][:200] for node in one['nodes'][:3]]}"
        for one in found["violations"]
        if one["impact"] in SERIOUS
    ]


async def test_a_narrow_screen(browser: Browser, served: Pipeline) -> None:
    """No page is wider than a telephone's screen; wide tables scroll by themselves."""
    context = await browser.new_context(
        base_url=served.console, viewport={"width": NARROW, "height": 740}
    )
    page = await context.new_page()
    for address in (*PAGES, f"/messages/smsmanager/-/{ATTACKING}"):
        await opened(page, address)
        assert await page.evaluate("document.documentElement.scrollWidth") <= NARROW, address
    await context.close()


async def test_which_provider_is_slowest_to_slovakia_today(page: Page) -> None:
    """One choice answers it: the country. The period is today, unless another is chosen."""
    await opened(page, "/quality")
    await expect(page.get_by_label("Period")).to_have_value("today")
    await opened(page, "/quality?from=-24h")  # today has only just begun at midnight
    await page.get_by_label("To country").select_option("SK")
    found = page.get_by_role("region", name="Findings")
    await expect(found).to_contain_text("Slowest to Slovakia: smsmanager")
    await expect(found).to_contain_text("Fastest to Slovakia: whapi")
    await page.locator("#rows").get_by_role("link", name="smsmanager").click()
    await expect(page.get_by_label("Country")).to_have_value("SK")
    await expect(page.get_by_role("link", name=READABLE)).to_be_visible()


async def test_dead_letters_follow_and_keep_the_selection(page: Page, served: Pipeline) -> None:
    """A new cause appears without a reload; what is selected and open stays so."""
    await opened(page, "/dead-letters")
    await expect(page.locator("#live-state")).to_have_text("Live")
    cause = page.locator("article").first
    name = await cause.get_attribute("aria-labelledby")
    cause = page.locator(f"article[aria-labelledby='{name}']")
    await cause.get_by_role("checkbox").check()
    await cause.locator("summary").click()
    await expect(cause.locator("pre")).to_be_visible()
    count = await page.locator("article").count()
    await served.send(b'{"odd": "no list"}')
    await expect(page.locator("article")).to_have_count(count + 1)
    await expect(cause.get_by_role("checkbox")).to_be_checked()
    await expect(cause.locator("pre")).to_be_visible()
    await expect(page.get_by_label("select all causes")).not_to_be_checked()
    await page.get_by_label("select all causes").check()
    await expect(page.locator("input[name=cause]:checked")).to_have_count(count + 1)


async def test_a_retry_of_nothing_says_to_select_something(page: Page) -> None:
    await opened(page, "/dead-letters")
    await page.get_by_role("button", name="Plan a retry of the selected causes").click()
    await expect(page.get_by_role("alert")).to_contain_text("Nothing is selected")


async def test_the_verdict_and_the_last_webhooks(page: Page) -> None:
    """The overview says whether ingest is ready, and when the last webhooks came."""
    await opened(page, "/")
    await expect(page.locator("#verdict")).not_to_contain_text("Looking at")
    await expect(page.locator("tr", has_text="ingest").first).to_contain_text("ready")
    webhooks = page.locator("#webhooks-title + dl")
    await expect(webhooks).to_contain_text("ago")


async def test_a_cell_of_the_heat_map_leads_to_its_messages(page: Page) -> None:
    """Each of them; the number is in the cell's label."""
    await opened(page, "/quality?from=-24h")
    cell = page.locator(".heat a").first
    label = await cell.get_attribute("aria-label") or ""
    await cell.click()
    await expect(page.locator("#found tbody tr")).to_have_count(
        min(50, int(label.split(" message")[0].split()[-1].replace(",", "")))
    )
