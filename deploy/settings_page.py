"""Writes the tables of docs/settings.md from the settings: `python -m deploy.settings_page`."""

import re
import sys
from pathlib import Path

from pydantic.fields import FieldInfo

from service.setting_names import variable
from service.settings import Settings, groups

PAGE = Path(__file__).parents[1] / "docs/settings.md"

_HEAD = "| name | default | meaning |\n| --- | --- | --- |\n"


def with_tables(page: str) -> str:
    """Return the page with the table of each group after the group's heading.

    Raises `ValueError` if a group has no heading with a table, or more than one.
    """
    for title, names in groups().items():
        rows = "".join(_row(name, Settings.model_fields[name]) for name in names)
        heading = re.escape(f"## {title}\n\n")
        parts = re.split(rf"(?m)(^{heading})(?:^\|.*\n)+", page)
        if len(parts) != 3:  # noqa: PLR2004 - before, the heading, after
            raise ValueError(f"the page has no single table under the heading {title}")
        page = f"{parts[0]}{parts[1]}{_HEAD}{rows}{parts[2]}"
    return page


def _row(name: str, field: FieldInfo) -> str:
    return f"| `{variable(name)}` | {_shown(field.default)} | {field.description} |\n"


def _shown(default: object) -> str:
    if default is None:
        return ""
    return f"`{str(default).lower() if isinstance(default, bool) else default}`"


def main() -> None:
    """Write the page if it differs."""
    page = PAGE.read_text()
    written = with_tables(page)
    if written != page:
        PAGE.write_text(written)
    sys.stdout.write(f"{PAGE.name} {'is up to date' if written == page else 'written'}\n")


if __name__ == "__main__":
    main()
