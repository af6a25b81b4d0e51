"""`bluetick sources check`, and ingest on the same file: valid, invalid, and without proof."""

from pathlib import Path

import pytest

from tests.e2e.commands import run

_SECRET = "correct-horse-battery"

_RIGHT = """
[sources.shop]
provider = "smsmanager"
auth = "hmac"
secrets = ["env:SHOP_SECRET", "file:{folder}/secret"]
addresses = ["203.0.113.0/24"]

[sources.chat]
provider = "whapi"
auth = "none"
accounts = ["A-1", "B-*"]
"""


def _file(folder: Path, text: str) -> Path:
    (folder / "secret").write_text(_SECRET)
    (folder / "short").write_text("hunter2\n")
    (folder / "empty").write_text("\n")
    file = folder / "sources.toml"
    file.write_text(text.replace("{folder}", str(folder)))
    return file


async def test_a_right_file_is_shown_without_its_secrets(tmp_path: Path) -> None:
    """One line per source: provider, auth, the locations of its secrets, its addresses."""
    file = _file(tmp_path, _RIGHT)
    environment = {"SHOP_SECRET": _SECRET[::-1], "COLUMNS": "400"}
    code, output = await run("sources", "check", str(file), **environment)

    assert (code, "Traceback" in output) == (0, False), output
    shop = ["shop", "smsmanager", "hmac", "env:SHOP_SECRET,", f"file:{tmp_path}/secret"]
    headings, _, *rows = (line.split() for line in output.strip().splitlines())
    assert [headings, *rows] == [
        ["source", "provider", "auth", "secrets", "addresses", "accounts"],
        [*shop, "203.0.113.0/24", "every"],
        ["chat", "whapi", "none", "-", "any", "A-1,", "B-*"],
    ]
    assert _SECRET not in output
    assert _SECRET[::-1] not in output
    assert await run("sources", "check", BLUETICK_SOURCES=str(file), **environment) == (0, output)


async def test_several_sources_of_a_provider_without_accounts_are_warned_about(
    tmp_path: Path,
) -> None:
    """Sources that may send for every account are named; the file is valid nevertheless."""
    more = '\n[sources.more]\nprovider = "whapi"\nauth = "none"\n'
    file = _file(tmp_path, _RIGHT + more)
    code, output = await run("sources", "check", str(file), SHOP_SECRET=_SECRET)
    assert code == 0
    warnings = [line for line in output.splitlines() if line.startswith("warning: ")]
    assert len(warnings) == 1
    assert "whapi has several sources, and more may send for each of its accounts" in warnings[0]


async def test_without_a_file_the_built_in_sources_are_shown() -> None:
    """The output says that they have no proof."""
    code, output = await run("sources", "check")
    assert code == 0
    assert output.count("none (built in)") == 2


_SHOP = '[sources.shop]\nprovider = "smsmanager"\nauth = "hmac"\n'


@pytest.mark.parametrize(
    ("text", "sentences"),
    [
        ("[sources.shop\n", ["this is no TOML"]),
        (
            f'{_SHOP}secrets = ["hunter2"]',
            ["sources.shop.secrets[0]: the entry does not say where a secret is kept"],
        ),
        (
            f'{_SHOP}secrets = ["env:NOT_SET", "file:{{folder}}/nowhere"]\n[sources.x]\nauth = 1',
            [
                "sources.x.provider: it is missing",
                "sources.x.auth: it is none of those known",
                "sources.shop.secrets[0]: the secret in env:NOT_SET is not there",
                "sources.shop.secrets[1]: the secret in file:{folder}/nowhere cannot be read: No s",
            ],
        ),
        (
            f'{_SHOP}secrets = ["file:{{folder}}/short", "file:{{folder}}/empty"]',
            [
                "sources.shop.secrets[0]: the secret in file:{folder}/short is shorter than 16 byt",
                "sources.shop.secrets[1]: the secret in file:{folder}/empty is empty",
            ],
        ),
        (
            f'{_SHOP}secrets = ["file:{{folder}}"]',
            ["sources.shop.secrets[0]: the secret in file:{folder} is not in a"],
        ),
        (
            f'\ufeff{_SHOP}secrets = ["env:PATH"]\nsecret = 1',
            ["sources.shop.secret: there is no such key"],
        ),
    ],
    ids=["no TOML", "a secret", "several", "weak", "a directory", "a BOM"],
)
async def test_a_mistake_is_reported_by_its_key(
    tmp_path: Path, text: str, sentences: list[str]
) -> None:
    """Exit code 1, a line for each error; ingest refuses to start with the same lines."""
    file = _file(tmp_path, text)
    code, output = await run("sources", "check", str(file))

    assert (code, "Traceback" in output) == (1, False), output
    first, *lines = output.strip().splitlines()
    assert first == "bluetick: the sources file is not valid:"
    expected = [f"{file}: {sentence.replace('{folder}', str(tmp_path))}" for sentence in sentences]
    assert [line[: len(start)] for line, start in zip(lines, expected, strict=True)] == expected
    assert "hunter2" not in output
    code, refused = await run("ingest", "--port", "0", BLUETICK_SOURCES=str(file))
    assert (code, "hunter2" in refused) == (1, False), refused
    log = refused.removesuffix(output).splitlines()
    assert [line.split()[1:5] for line in log] == [
        ["INFO", "bluetick:", "ingest", "starting:"],
        ["ERROR", "bluetick:", "ingest", "stopped:"],
    ]


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (None, "cannot be read from {file}: No such file or directory; name a readable file"),
        (b"[sources.shop]\nprovider = '\xff'", "{file}: line 2 is not UTF-8; save"),
    ],
)
async def test_a_file_that_cannot_be_read_is_named(
    tmp_path: Path, content: bytes | None, sentence: str
) -> None:
    """The file is missing, or not text."""
    file = tmp_path / "sources.toml"
    if content is not None:
        file.write_bytes(content)
    code, output = await run("sources", "check", str(file))
    assert (code, "Traceback" in output) == (1, False)
    assert sentence.replace("{file}", str(file)) in output


async def test_only_a_file_opens_ingest_to_others(tmp_path: Path) -> None:
    """Without a file it refuses to bind beyond loopback; with one, it continues to Kafka."""
    open_ = {"BLUETICK_HOST": "0.0.0.0", "BLUETICK_KAFKA": "127.0.0.1:1"}
    code, output = await run("ingest", "--port", "0", **open_)
    assert (code, "ingest will not listen on 0.0.0.0 (BLUETICK_HOST)" in output) == (1, True)
    assert "BLUETICK_SOURCES" in output

    file = _file(tmp_path, '[sources.chat]\nprovider = "whapi"\nauth = "none"\n')
    code, output = await run("ingest", "--port", "0", **open_, BLUETICK_SOURCES=str(file))
    assert (code, "Kafka does not answer" in output) == (1, True)
