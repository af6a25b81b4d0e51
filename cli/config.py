"""`bluetick config show`: the effective settings, and where each value comes from."""

import os
from collections.abc import Mapping
from typing import Any

from pydantic import SecretStr
from rich.console import Console
from rich.text import Text

from cli.output.jsonl import print_json
from cli.output.tables import PlainTable
from cli.output.tables import name as name_column
from cli.output.tables import text as text_column
from service.setting_names import variable
from service.settings import Settings, groups, load, origin

_MASK = "********"
_UNSET = "-"


def show(options: Mapping[str, Any], *, json: bool) -> int:
    """Print all settings as a service with these options has them; returns 0.

    `options` are values by the name of a setting; None: not given.
    """
    settings = load(**options)
    given = {name for name, value in options.items() if value is not None}
    values = effective(settings)
    origins = {name: origin(name, given, os.environ) for name in values}
    if json:
        print_json(
            {variable(name): {"value": values[name], "origin": origins[name]} for name in values}
        )
        return 0
    console = Console(highlight=False)
    for title, names in groups().items():
        columns = name_column("setting"), text_column("value"), name_column("origin")
        table = PlainTable(title, *columns)
        for name in names:
            style = "dim" if origins[name] == "default" else ""
            table.add_row(variable(name), Text(text(values[name])), origins[name], style=style)
        console.print(table)
    return 0


def effective(settings: Settings) -> dict[str, Any]:
    """Return the values as JSON values, without secrets; namespaces as they are used."""
    found = {name: getattr(settings, name) for name in type(settings).model_fields}
    found["raw_namespace"] = settings.topics.raw_from
    found["observations_namespace"] = settings.topics.observed
    return {name: _plain(value) for name, value in found.items()}


def _plain(value: Any) -> Any:
    if isinstance(value, SecretStr):
        return _MASK
    return value if isinstance(value, (str, int, float, dict, type(None))) else str(value)


def text(value: Any) -> str:
    """Return a value as it is shown."""
    if value is None:
        return _UNSET
    return str(value).lower() if isinstance(value, bool) else str(value)
