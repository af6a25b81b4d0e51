"""Gives pages of the site their paths in the repository, so that links are the same in both."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mkdocs.exceptions import PluginError
from mkdocs.structure.files import File, Files

HOME = Path(__file__).resolve().parent.parent
PAGES = ("*.md", "docs/*.md", "docs/decisions/*.md")
LINK = re.compile(r"\]\(([^)#:\s]+)")  # of a file, not of a site
# What a browser fetches when it shows a page. A link is fetched by a click only.
FETCHED = re.compile(
    r"<(?:script|img|iframe|link(?! rel=\"canonical))\b"
    r"[^>]*\b(?:src|href)=\"?(?:https?:)?//[^\">]+"
)
# The start of a list, a table or a block of code within a paragraph.
AS_TEXT = re.compile(r"<p>(?:(?!</p>).)*\n((?:[-*] |\||```)[^\n]*)", re.DOTALL)


def on_config(config: Any) -> Any:
    """Replace each pattern of the navigation by the pages that nothing else names."""
    named = {line for line in _lines(config.nav) if "*" not in line}
    config.nav = _expanded(config.nav, named)
    return config


def on_files(files: Any, config: Any) -> Any:
    """Take the pages and whatever they link to, instead of all that is in the folder docs."""
    site = Files([file for file in files if file.src_dir != config.docs_dir])
    waiting = [path for pattern in PAGES for path in sorted(HOME.glob(pattern))]
    while waiting:
        path = waiting.pop()
        name = path.relative_to(HOME).as_posix()
        if path.is_dir():
            name = f"{name}/index.md"
            file = File.generated(config, name, content=_listing(path))
            linked = _shown(path)
        else:
            file = File(name, str(HOME), config.site_dir, config.use_directory_urls)
            linked = list(_linked(path)) if path.suffix == ".md" else []
        if name not in site.src_uris:
            site.append(file)
            waiting += linked
    return site


def on_page_markdown(markdown: str, *, page: Any, **_: Any) -> str:
    """Point links to a folder at the list of its files."""
    folder = (HOME / page.file.src_uri).parent

    def listed(link: re.Match[str]) -> str:
        path = link[1].removesuffix("/")
        return f"]({path}/index.md" if (folder / path).is_dir() else link[0]

    return LINK.sub(listed, markdown)


def on_page_content(html: str, *, page: Any, **_: Any) -> str:
    """Refuse Markdown that a forge shows as a list, a table or code, and the site as text."""
    if as_text := AS_TEXT.search(html):
        line = f"{page.file.src_uri}: {as_text[1][:60]!r}"
        raise PluginError(f"{line} is shown as text: put a blank line before it, or four spaces")
    return html


def on_post_page(output: str, *, page: Any, **_: Any) -> str:
    """Refuse a page that makes the reader's browser load something from another host."""
    if fetched := FETCHED.search(output):
        raise PluginError(f"{page.file.src_uri} loads {fetched[0]} from another host: remove it")
    return output


def _lines(nav: Any) -> Iterator[str]:
    """Yield the paths and patterns of a navigation."""
    if isinstance(nav, str):
        yield nav
    else:
        for each in nav.values() if isinstance(nav, dict) else nav:
            yield from _lines(each)


def _expanded(nav: Any, named: set[str]) -> Any:
    """Return a navigation whose lists have pages for patterns; `named` grows by these."""
    if isinstance(nav, dict):
        return {title: _expanded(below, named) for title, below in nav.items()}
    if isinstance(nav, list):
        pages = (_matches(each, named) if isinstance(each, str) else [each] for each in nav)
        return [_expanded(page, named) for each in pages for page in each]
    return nav


def _matches(line: str, named: set[str]) -> list[str]:
    if "*" not in line:
        return [line]
    found = [path.relative_to(HOME).as_posix() for path in sorted(HOME.glob(line))]
    taken = [path for path in found if path not in named]
    named.update(taken)
    return taken


def _linked(page: Path) -> Iterator[Path]:
    """Yield the files and folders that a page links to; mkdocs reports those that do not exist."""
    for target in LINK.findall(page.read_text()):
        path = (page.parent / target).resolve()
        if path.exists() and path.is_relative_to(HOME) and path != HOME:
            yield path


def _listing(folder: Path) -> str:
    names = (f"{each.name}/" if each.is_dir() else each.name for each in _shown(folder))
    lines = [f"- [{name}]({name})" for name in names]
    return "\n".join([f"# {folder.relative_to(HOME).as_posix()}/", "", *lines, ""])


def _shown(folder: Path) -> list[Path]:
    return sorted(
        each for each in folder.iterdir() if not each.name.startswith((".", "__pycache__"))
    )
