"""The documents agree with the code."""

import json
import re
from importlib import import_module
from typing import get_args
from zlib import crc32

import pytest

from cli.doctor.findings import WORDS
from deploy.acls import kafka_acls, rows
from deploy.settings_page import PAGE, with_tables
from processors.dead_letters.record import Identity, headers, marker
from providers import NAMES
from providers.contract import DeadLetter
from providers.rejection import Code
from schemas.bounds import BOUNDS
from schemas.contract import KINDS
from schemas.coordinates import Coordinates
from schemas.processor_list import PROCESSORS
from schemas.records import Event, PublishedVerdict
from schemas.rights import COMMANDS, rights
from schemas.schema_uri import VERSION
from schemas.topics import Topics, partition_of
from service.kafka.causes import CAUSES, label
from service.settings import Settings, groups
from tests import HOME

CONSUMING = HOME / "docs/consuming.md"

# Which groups of docs/settings.md hold the settings that a package reads.
GROUPS = {
    "ingest": {"Ingest"},
    "processors/normalising": {"Every processor", "Normalise"},
    "processors/quality": {"Every processor", "Measure"},
    "processors/tracking": {"Every processor", "Track"},
    "processors/runtime/exactly_once": {"Every processor"},
}


def test_the_tables_of_settings_are_generated() -> None:
    """docs/settings.md has each setting once, as `python -m deploy.settings_page` writes it."""
    page = PAGE.read_text()
    assert with_tables(page) == page

    rows = re.findall(r"^\| `BLUETICK_(\w+)` \|", page, re.MULTILINE)
    assert [name.lower() for name in rows] == [*Settings.model_fields]


def test_a_changed_table_is_written_again() -> None:
    """A missing row comes back; a group without its table is an error."""
    page = PAGE.read_text()
    drifted = re.sub(r"(?m)^\| `BLUETICK_SPOOL` .*\n", "", page).replace("`8080`", "`80`")
    assert drifted != page
    assert with_tables(drifted) == page
    with pytest.raises(ValueError, match="under the heading Track"):
        with_tables(page.replace("## Track\n", "## Tracking\n"))


@pytest.mark.parametrize("package", GROUPS)
def test_every_setting_is_in_the_group_of_its_service(package: str) -> None:
    """A service reads only settings of its own groups and of the group for every service."""
    code = "".join(path.read_text() for path in (HOME / package).rglob("*.py"))
    read = set(re.findall(r"settings\.(\w+)", code)) & set(Settings.model_fields)

    listed = {
        name
        for title, names in groups().items()
        if title in {*GROUPS[package], "Every service and command"}
        for name in names
    }
    assert read - listed == set()


def test_the_readme_names_every_topic() -> None:
    """The README's table names each topic by its short name."""
    readme = (HOME / "README.md").read_text()

    for topic in Topics(providers=NAMES).all:
        assert f"`{topic.removeprefix('bluetick.')}`" in readme


def test_every_bound_has_its_row() -> None:
    """docs/bounds.md lists each bound once, in order, with its value."""
    text = (HOME / "docs" / "bounds.md").read_text()
    rows = re.findall(r"^\| `(\w+)` \| (\d+) \| .+ \| .+ \|$", text, re.MULTILINE)
    assert rows == [(name, str(value)) for name, value in BOUNDS._asdict().items()]


def test_every_code_has_its_row() -> None:
    """docs/dead-letters.md lists each code once, in order, with what to do."""
    text = (HOME / "docs/dead-letters.md").read_text()
    codes = text.partition("## The codes")[2].partition("##")[0]
    rows = re.findall(r"^\| `(\w+)` \| .+ \| .+ \|$", codes, re.MULTILINE)
    assert rows == list(get_args(Code))


def test_every_finding_of_the_doctor_has_its_row() -> None:
    """docs/doctor.md lists each code once, in order, with both of its sentences, `…` for fields."""
    text = (HOME / "docs/doctor.md").read_text().partition("## The codes")[2]
    rows = re.findall(r"^\| `(\w+)` \| (.+?) \| (.*?) ?\|$", text, re.MULTILINE)
    words = {
        code: [re.sub(r"{[^}]*}", "…", str(text)) for text in texts]
        for code, texts in WORDS.items()
    }
    assert rows == [(code, *texts) for code, texts in words.items()]


def test_every_header_of_a_dead_letter_is_documented() -> None:
    """docs/dead-letters.md names each header that Bluetick adds to a dead letter."""
    text = (HOME / "docs/dead-letters.md").read_text()
    dead_letter = DeadLetter(
        code="not_json", reason="r", value=b"", exception="E", stacktrace="s", account="A"
    )
    raw = Coordinates("t", 0, 0)
    written = [
        *headers(dead_letter, raw, 0, ()),
        *marker(Identity.of_body(raw, "", "not_json"), "r"),
    ]
    for name, _ in written:
        short = name.replace("__streams.errors.", ".")
        assert f"`{name}`" in text or f"`{short}`" in text or f"`{name}: " in text, name


def test_the_documented_partitions_are_those_of_the_keys() -> None:
    """docs/consuming.md gives the CRC-32 and the partition of some keys, correctly."""
    text = CONSUMING.read_text()
    rows = re.findall(r"^\| `(.+)` \| (\d+) \| (\d+) \|$", text, re.MULTILINE)

    keys = [key for key, _, _ in rows]
    assert len(set(keys)) == 6
    assert rows == [(k, str(crc32(k.encode())), str(partition_of(k, 6))) for k in keys]


def test_every_published_verdict_and_event_is_documented() -> None:
    """docs/consuming.md names each verdict that is published, and each event."""
    text = CONSUMING.read_text()
    published = set(get_args(PublishedVerdict))

    assert set(re.findall(r"^\| `(\w+)` \| (?:moved|is) ", text, re.MULTILINE)) == published
    events = re.search(r"and the event: (.+) \|$", text, re.MULTILINE)
    assert events
    named = {str(kind.__struct_config__.tag) for kind in get_args(Event)}
    assert set(re.findall(r"`(\w+)`", events[1])) == named


def test_the_rights_are_those_of_the_code() -> None:
    """docs/security.md lists each command's rights, the commands for the services, the causes."""
    text = (HOME / "docs/security.md").read_text()
    own = Topics("ns", providers=NAMES)
    rebuilt = Topics("new", "ns", providers=NAMES)
    default = Topics(providers=NAMES)
    table = [
        f"| `{command}` | {kind} | {', '.join(f'`{n}`' for n in names.split(', '))} | {of} |"
        for command in COMMANDS
        for kind, names, of in rows(rights(command, rebuilt if command == "rebuild" else own))
    ]
    lines = [
        line
        for name in ("ingest", *(one.name for one in PROCESSORS))
        for line in kafka_acls(rights(name, default), f"User:bluetick-{name}", "$BLUETICK_KAFKA")
    ]
    assert _part(text, "rights").splitlines()[2:] == table
    assert _part(text, "commands").splitlines()[1:-1] == lines
    named = re.findall(r"^\| `(\w+)` \|", _part(text, "causes"), re.MULTILINE)
    assert named == [label(code) for code in CAUSES]


def _part(text: str, name: str) -> str:
    return text.partition(f"<!-- {name} -->\n")[2].partition(f"\n<!-- /{name} -->")[0]


def test_every_kind_of_record_has_a_real_sample() -> None:
    """docs/consuming.md shows one record of each kind: the published example, or its value."""
    text = CONSUMING.read_text()
    samples = dict(re.findall(r"<!-- sample: (\S+) -->\n```json\n(.+?)\n```", text, re.DOTALL))

    assert samples.keys() == {kind.name for kind in KINDS}
    folder = HOME / f"schemas/published/{VERSION}/examples"
    for name, sample in samples.items():
        example = json.loads((folder / f"{name}.json").read_text())
        mend = f"take it from `bluetick schemas show {name} --example`"
        assert json.loads(sample) in (example, example["value"]), mend


@pytest.mark.parametrize("provider", NAMES)
def test_every_gateway_with_another_channel_is_documented(provider: str) -> None:
    """docs/consuming.md names the channel of each gateway whose word is not the channel's."""
    rows = re.findall(r"^\| \w+ \| (`.+`) \| `(\w+)` \|$", CONSUMING.read_text(), re.MULTILINE)
    documented = {
        (word, channel) for words, channel in rows for word in re.findall(r"`(\w+)`", words)
    }
    channels = getattr(import_module(f"providers.{provider}.parser"), "CHANNELS", {})
    assert channels.items() <= documented


def test_links_point_to_files_that_exist() -> None:
    """Relative links in the documents point to files that exist."""
    for page in [*HOME.glob("*.md"), *HOME.glob("docs/**/*.md")]:
        for target in re.findall(r"\]\((?!https?:)([^)#]+)", page.read_text()):
            assert (page.parent / target).exists(), f"{page.name}: {target}"
