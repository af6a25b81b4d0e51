"""`bluetick sources check`: the errors in the sources file, or its sources."""

import sys
from pathlib import Path

from rich.console import Console

from cli.output.tables import PlainTable, name, text
from ingest.sources.config import Declared, unrestricted
from ingest.sources.loader import Senders, load


def check(file: Path | None) -> None:
    """Print the sources and the location of their secrets; raises `Problem` for errors."""
    senders = load(file)
    Console().print(_table(senders))
    for provider, names in unrestricted(senders.declared):
        sys.stderr.write(
            f"warning: {provider} has several sources, and {', '.join(names)} may send for each of "
            "its accounts; name the accounts of each with accounts = [...], see docs/sources.md\n"
        )


def _table(senders: Senders) -> PlainTable:
    texts = map(text, ("secrets", "addresses", "accounts"))
    table = PlainTable("", name("source"), name("provider"), name("auth"), *texts)
    built_in = [Declared(one.name, one.provider, one.proof, ()) for one in senders.sources.values()]
    for one in senders.declared or built_in:
        auth = one.proof.auth if senders.declared else f"{one.proof.auth} (built in)"
        secrets = ", ".join(map(str, one.proof.places)) or "-"
        addresses = ", ".join(map(str, one.networks)) or "any"
        accounts = "every" if one.accounts is None else ", ".join(one.accounts)
        cells = (one.name, one.provider, auth, secrets, addresses, accounts)
        table.add_row(*cells)
    return table
