"""The data dictionary, docs/data-dictionary.md: every field and every word, for people. Pure."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from cli.contracts.compatibility import Version
from cli.contracts.json_schema import WORDS
from cli.contracts.model import Example, Field, Record, Type, records
from cli.output.json_escaping import as_text
from schemas.contract import KINDS, Kind

_INTRODUCTION = """\
# Data dictionary

Every field of every record that Bluetick publishes, and every word. This page is generated:
`bluetick schemas dictionary docs/data-dictionary.md`. [consuming.md](consuming.md) explains how
to read the topics, [compatibility.md](compatibility.md) what may change. The same is in
[schemas/published](../schemas/published) as JSON Schema, AsyncAPI and types for programs;
`bluetick schemas export DIR` writes these files.

- **always**: the field is in every record. Any other field is absent if it is not known; it is
  never null or empty.
- **since**: the first version of the schemas that has the field.
- **personal**: `number` identifies a person, `text` is a person's words, `any` is the caller's own
  data, which may hold anything. A namespace may hash or omit them ([privacy.md](privacy.md)): a
  hashed number is `h1:<key id>:<32 hexadecimal digits>`.
- **example**: a value that Bluetick made of webhooks which the providers document, or of simulated
  ones.
- Times are Unix milliseconds UTC.
"""
_HEAD = "| field | type | always | since | personal | meaning | example |"
_LONGEST = 60
_KIND_OF = {kind.value.__name__: kind.name for kind in KINDS if kind.value}


def page(versions: Mapping[int, Version], examples: Mapping[str, Sequence[Example]]) -> str:
    """Return the page; `versions` are those published, for the column `since`.

    `examples` has records of each kind, the best one first: each field shows the first value.
    """
    known = records()
    lines = [_INTRODUCTION, "## Records\n", "| record | topic | key |", "| --- | --- | --- |"]
    lines += (_row(kind) for kind in KINDS)
    for kind in KINDS:
        lines += _kind(kind, known, versions, examples[kind.name])
    lines += _parts(known, versions, examples)
    lines.append("\n## Words\n")
    lines.append("Later versions may add words to each list. Handle a word that you do not know.")
    for name in WORDS:
        lines += _vocabulary(name)
    return "\n".join(lines) + "\n"


def _row(kind: Kind) -> str:
    topic = "raw.&lt;provider&gt;" if kind.topic == "raw" else kind.topic
    return f"| [{kind.name}](#record-{kind.name}) | {topic} | {kind.key or 'none'} |"


def _kind(
    kind: Kind,
    known: Mapping[str, Record],
    versions: Mapping[int, Version],
    examples: Sequence[Example],
) -> Iterator[str]:
    yield f"\n### Record {kind.name}\n"
    if kind.value:
        record = known[kind.value.__name__]
        yield f"{record.description}\n"
        yield from _fields(record, _merged(example.value for example in examples), versions)
    else:
        yield "The value is what the sender sent: bytes, usually JSON of a provider."
    name = kind.headers.__name__
    yield f"\nHeaders: [{name}](#part-{name.lower()})."


def _parts(
    known: Mapping[str, Record],
    versions: Mapping[int, Version],
    examples: Mapping[str, Sequence[Example]],
) -> Iterator[str]:
    """Yield the sections of headers, and of what records hold."""
    objects = _parts_of(examples)
    yield "\n## Parts of records, and headers"
    for name, record in known.items():
        if name not in _KIND_OF:
            yield f"\n### Part {name}\n"
            yield f"{record.description}\n"
            yield from _fields(record, _merged(_alike(record, objects)), versions)


def _fields(
    record: Record, values: Mapping[str, Any], versions: Mapping[int, Version]
) -> Iterator[str]:
    yield from (_HEAD, "| --- | --- | --- | --- | --- | --- | --- |")
    for field in record.fields:
        always = "yes" if field.required else ""
        since = _since(record.name, field.name, versions)
        shown = _shown(values.get(field.name, field.example))
        cells = (
            f"`{field.name}`",
            _typed(field),
            always,
            since,
            field.personal,
            field.about,
            shown,
        )
        yield f"| {' | '.join(cells)} |"


def _typed(field: Field) -> str:
    text = _type(field.type)
    return f"{text}, {field.unit}" if field.unit else text


def _type(type_: Type) -> str:
    match type_.name:
        case "list" if type_.item:
            return f"list of {_type(type_.item)}"
        case "map" if type_.item:
            return f"map of {_type(type_.item)}"
        case "constant":
            return f"`{type_.value}`"
        case name if name in WORDS:
            return f"[{name}](#words-{name.lower()})"
        case name if name in _KIND_OF:
            return f"[{name}](#record-{_KIND_OF[name]})"
        case name:  # an array, such as ContentRank, has no section
            return f"[{name}](#part-{name.lower()})" if name in records() else name


def _since(record: str, field: str, versions: Mapping[int, Version]) -> str:
    for number, documents in versions.items():
        for document in documents.values():
            parts = {document["title"]: document} | document.get("$defs", {})
            if field in parts.get(record, {}).get("properties", {}):
                return str(number)
    return "next"


def _merged(values: Iterable[Any]) -> dict[str, Any]:
    """Return the first value of each field."""
    found: dict[str, Any] = {}
    for one in values:
        if isinstance(one, dict):
            found = one | found
    return found


def _parts_of(examples: Mapping[str, Sequence[Example]]) -> list[dict[str, Any]]:
    """Return the headers of all examples, and every object inside a value."""
    every = [example for made in examples.values() for example in made]
    values = (kind for kind in KINDS if kind.value)
    objects = [one for kind in values for e in examples[kind.name] for one in _objects(e.value)]
    return [*(example.headers for example in every), *objects]


def _alike(record: Record, objects: Iterable[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """Yield the objects that have the fields of a part."""
    names = {field.name for field in record.fields}
    required = {field.name for field in record.fields if field.required}
    extra = record.name == "DeadLetterHeaders"  # the raw record's own headers follow
    for one in objects:
        if one and required <= one.keys() and (extra or one.keys() <= names):
            yield one


def _objects(value: Any) -> Iterator[dict[str, Any]]:
    if isinstance(value, dict):
        yield value
        yield from _objects(list(value.values()))
    elif isinstance(value, list):
        for one in value:
            yield from _objects(one)


def _shown(value: Any) -> str:
    text = as_text(value)
    short = text if len(text) <= _LONGEST else f"{text[:_LONGEST]}…"
    return f"`{short.replace('|', chr(92) + '|')}`"


def _vocabulary(name: str) -> Iterable[str]:
    text, words = WORDS[name]
    yield f"\n### Words {name}\n"
    yield f"{text}\n"
    yield from ("| word | meaning |", "| --- | --- |")
    yield from (f"| `{word}` | {meaning} |" for word, meaning in words.items())
