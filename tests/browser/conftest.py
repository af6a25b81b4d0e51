"""One pipeline, one console and one browser for all tests; each test has a page of its own."""

import shutil
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from playwright.async_api import Browser, ConsoleMessage, Page, async_playwright

from tests.browser.pipeline import Pipeline, pipeline

CHROMIUM = shutil.which("chromium")
_SECONDS = 60


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip these tests by name where there is no browser."""
    if CHROMIUM is None:
        for item in items:
            if Path(__file__).parent in item.path.parents:
                item.add_marker(pytest.mark.skip(reason="chromium is not installed"))


@pytest.fixture(scope="session")
async def served(kafka: str, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Pipeline]:
    """Return a running pipeline with a console."""
    async with pipeline(kafka, tmp_path_factory.mktemp("browser")) as made:
        yield made


@pytest.fixture(scope="session")
async def browser() -> AsyncIterator[Browser]:
    async with async_playwright() as playwright:
        # The sandbox needs rights that root in a container lacks; only our own pages are opened.
        launched = await playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield launched
        await launched.close()


@pytest.fixture
async def page(browser: Browser, served: Pipeline) -> AsyncIterator[Page]:
    """Return a page; the test fails for a script's error and for anything that the CSP refused."""
    context = await browser.new_context(base_url=served.console, timezone_id="Europe/Prague")
    page = await context.new_page()
    page.set_default_timeout(_SECONDS * 1000)
    wrong: list[str] = []

    def note(message: ConsoleMessage) -> None:
        # A refused request is the subject of some tests; the browser reports its status here.
        if message.type == "error" and "status of" not in message.text:
            wrong.append(message.text)

    page.on("console", note)
    page.on("pageerror", lambda error: wrong.append(str(error)))
    page.on("dialog", lambda dialog: wrong.append(f"a dialog opened: {dialog.message}"))
    yield page
    await context.close()
    assert wrong == []
