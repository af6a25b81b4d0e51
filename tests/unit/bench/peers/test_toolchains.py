"""A peer that cannot be built is absent, with the reason."""

import sys
from pathlib import Path

import pytest

from bench.peers import command, toolchains
from bench.peers.toolchains import AbsentError


async def test_a_peer_without_its_toolchain_is_named(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    lines: list[str] = []
    commands, absent = await command._built(lines.append, {"Kafka Streams": command._streams})
    assert commands == {}
    assert absent == {"Kafka Streams": "the command mvn is not installed"}
    assert lines == ["Kafka Streams is absent: the command mvn is not installed"]


async def test_a_build_that_fails_says_why(tmp_path: Path) -> None:
    program = "print('no such package'); raise SystemExit(3)"
    with pytest.raises(AbsentError, match="failed: no such package"):
        await toolchains._run([sys.executable, "-c", program], tmp_path)


async def test_a_peer_is_built_once_for_its_files(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    source = tmp_path / "source"
    built: list[Path] = []

    async def build(into: Path) -> None:
        built.append(into)

    for text in ("one", "one", "two"):
        source.write_text(text)
        await toolchains._built("some", [source], build, print)
    assert len(built) == 2
    assert built[0] != built[1]


@pytest.mark.parametrize(
    ("size", "options"),
    [
        (command.Size(quick=True, rounds=1), ["--quick"]),
        (command.Size(quick=False, rounds=5), []),
        (command.Size(quick=False, rounds=2, share=0.1), ["--share 0.1", "--rounds 2"]),
    ],
)
def test_the_command_of_a_result_repeats_it(size: command.Size, options: list[str]) -> None:
    assert list(command._options(size)) == options
