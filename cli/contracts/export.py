"""Everything that is published about the records, as files of one version."""

from collections.abc import Mapping
from pathlib import Path

import msgspec

from cli.contracts import asyncapi, published, typed
from cli.contracts.compatibility import breaches
from cli.contracts.examples import examples
from cli.contracts.json_schema import definitions, headers_name, headers_schema, value_schema
from cli.output.json_escaping import as_text
from cli.problem_sentences import CommandProblem
from schemas.contract import KINDS
from schemas.schema_uri import VERSION
from service.settings import Settings


def schemas() -> dict[str, dict[str, object]]:
    """Return the schema of every value and of all headers, by name."""
    every = definitions()
    values = {kind.name: value_schema(kind, every) for kind in KINDS}
    headers = dict.fromkeys(kind.headers for kind in KINDS)
    named = {headers_name(one): headers_schema(one, every) for one in headers}
    return {name: schema for name, schema in (values | named).items() if schema is not None}


def files() -> dict[str, str]:
    """Return the text of each file of this version, by its path in the version's folder."""
    found = {f"{name}{published.ENDING}": as_json(one) for name, one in schemas().items()}
    for name, example in examples().items():
        found[f"examples/{name}.json"] = as_json(example._asdict())
    fields = Settings.model_fields
    made = asyncapi.document(fields["namespace"].default, fields["partitions"].default, examples())
    found["asyncapi.json"] = as_json(made)
    for name, language in typed.LANGUAGES.items():
        found[f"types/{name}"] = typed.printed(language)
    return found


def export(directory: Path) -> Path:
    """Write the files of this version below a directory; return the folder of the version.

    Raises `Problem` if schemas of the same version are there that consumers read, and these would
    break them; and if the directory cannot be written.
    """
    folder = directory / str(VERSION)
    if folder.is_dir():
        _refuse(folder)
    save({folder / name: text for name, text in files().items()})
    return folder


def save(texts: Mapping[Path, str]) -> None:
    """Write files, and the folders above them; raises `Problem` if one cannot be written."""
    for file, text in texts.items():
        try:
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text, encoding="utf-8")
        except OSError as error:
            raise CommandProblem(
                "schemas_not_written",
                "{file} cannot be written ({why}); name another place",
                file=str(file),
                why=error.strerror or str(error),
            ) from None


def _refuse(folder: Path) -> None:
    found = breaches(published.read(folder), schemas())
    if found:
        raise CommandProblem(
            "schemas_incompatible",
            "{folder} has schemas of version {version} that these break: {first} ({count} in all);"
            " keep what consumers read, or export to another directory (docs/compatibility.md)",
            folder=str(folder),
            version=VERSION,
            first=found[0],
            count=len(found),
        )


def as_json(value: object) -> str:
    """Return JSON as it is published: two spaces, a line break at the end."""
    return msgspec.json.format(as_text(value), indent=2) + "\n"
