"""`deploy/release` tags what its changelog and version describe, and refuses everything else."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from service.version import __version__
from tests import HOME

CHANGELOG = """# Changelog

## Unreleased

### Added

- A thing.

## 0.1.0 - 2026-01-02

- The first one.
"""
EMPTY = CHANGELOG.replace("- A thing.\n", "")


class Checkout:
    """A repository with the files that a release reads and writes."""

    def __init__(self, home: Path) -> None:
        self.home = home
        for name in ("deploy/release", "service/version.py"):
            (home / name).parent.mkdir()
            shutil.copy(HOME / name, home / name)
        self.write("CHANGELOG.md", CHANGELOG)
        self.write_version("0.2.0.dev0")
        self.git("init", "--quiet", "--initial-branch", "main")
        self.commit()

    def write(self, name: str, text: str) -> None:
        (self.home / name).write_text(text)

    def write_version(self, version: str) -> None:
        self.write("service/version.py", f'"""A version."""\n\n__version__ = "{version}"\n')

    def commit(self) -> None:
        self.git("add", "--all")
        self.git("commit", "--quiet", "--allow-empty", "--message", "A change")

    def git(self, *arguments: str) -> str:
        return self._run("git", *arguments, check=True).stdout

    def release(self, *arguments: str) -> str:
        """Run the script; return what it says if it refuses, else nothing."""
        ended = self._run(str(self.home / "deploy/release"), *arguments, check=False)
        assert ended.returncode == (1 if ended.stderr else 0), ended
        return ended.stderr

    def _run(self, *command: str, check: bool) -> subprocess.CompletedProcess[str]:
        people = {
            f"GIT_{who}_{what}": "a@b"
            for who in ("AUTHOR", "COMMITTER")
            for what in ("NAME", "EMAIL")
        }
        environment = {**os.environ, **people, "GIT_CONFIG_GLOBAL": os.devnull, "TZ": "UTC"}
        return subprocess.run(
            command,
            cwd=self.home,
            env=environment,
            capture_output=True,
            text=True,
            timeout=60,
            check=check,
        )


@pytest.fixture
def checkout(tmp_path: Path) -> Checkout:
    return Checkout(tmp_path)


def test_the_version_of_a_checkout_is_one_that_prepare_takes() -> None:
    """Three numbers, and .dev0 except in the commit of a release."""
    assert [part.isdigit() for part in __version__.removesuffix(".dev0").split(".")] == [True] * 3


def test_a_release_is_a_tagged_commit_with_its_section(checkout: Checkout) -> None:
    """The tag has the version and the dated section; the branch goes on with the next version."""
    assert checkout.release("prepare", "0.3.0") == ""

    assert checkout.git("log", "--format=%s") == "Begin 0.3.1.dev0\nRelease 0.3.0\nA change\n"
    assert checkout.git("rev-parse", "v0.3.0^{commit}") == checkout.git("rev-parse", "HEAD~")
    assert '__version__ = "0.3.0"\n' in checkout.git("show", "v0.3.0:service/version.py")
    assert '__version__ = "0.3.1.dev0"\n' in checkout.git("show", "HEAD:service/version.py")
    date = checkout.git(
        "log", "-1", "--format=%cd", "--date=format-local:%Y-%m-%d", "v0.3.0"
    ).strip()
    heading = f"## Unreleased\n\n## 0.3.0 - {date}\n"
    for commit in ("v0.3.0", "HEAD"):
        changelog = checkout.git("show", f"{commit}:CHANGELOG.md")
        assert changelog == CHANGELOG.replace("## Unreleased\n", heading)
    assert checkout.git("status", "--porcelain") == ""
    assert "Unreleased of CHANGELOG.md is empty" in checkout.release("prepare", "0.3.1")


@pytest.mark.parametrize(
    ("arguments", "files", "said"),
    [
        ((), {}, "usage: deploy/release prepare VERSION | build VERSION"),
        (("publish", "0.2.0"), {}, "usage: deploy/release prepare VERSION | build VERSION"),
        (("prepare", "0.2"), {}, "0.2 is no version of a release: use three numbers"),
        (("prepare", "v0.2.0"), {}, "v0.2.0 is no version of a release"),
        (("prepare", "0.1.9"), {}, "the version 0.1.9 is lower than 0.2.0, the next one"),
        (
            ("prepare", "0.2.0"),
            {"CHANGELOG.md": EMPTY},
            "Unreleased of CHANGELOG.md is empty: list",
        ),
        (("prepare", "0.2.0"), {"CHANGELOG.md": "# Changelog\n"}, "CHANGELOG.md is empty: list"),
        (
            ("prepare", "0.2.0"),
            {"service/version.py": '__version__ = "0.2.0"\n'},
            "has the version 0.2.0, which is released: check out the branch",
        ),
        (("build", "0.2.0"), {}, "there is no tag v0.2.0: run deploy/release prepare 0.2.0"),
    ],
)
def test_what_is_no_release_is_refused(
    checkout: Checkout, arguments: tuple[str, ...], files: dict[str, str], said: str
) -> None:
    """A sentence says what is wrong and what to do, and nothing is written."""
    for name, text in files.items():
        checkout.write(name, text)
    checkout.commit()
    before = checkout.git("rev-parse", "HEAD")

    assert said in checkout.release(*arguments)

    assert checkout.git("status", "--porcelain") == ""
    assert (checkout.git("rev-parse", "HEAD"), checkout.git("tag")) == (before, "")


def test_changes_and_a_tag_that_exists_are_refused(checkout: Checkout) -> None:
    """Neither gets into a release, or is replaced by one."""
    checkout.write("new", "")
    assert "changes that are not committed: commit or stash" in checkout.release("prepare", "0.2.0")
    checkout.commit()
    checkout.git("tag", "v0.2.0")
    assert "the tag v0.2.0 exists: choose another" in checkout.release("prepare", "0.2.0")


def test_a_tag_that_differs_from_its_commit_is_not_built(checkout: Checkout) -> None:
    """The version and the section of the commit must be those of the tag."""
    checkout.git("tag", "v0.2.0")
    said = checkout.release("build", "0.2.0")
    assert "the tag v0.2.0 has the version 0.2.0.dev0 in service/version.py: delete the tag" in said

    checkout.write_version("0.2.0")
    checkout.commit()
    checkout.git("tag", "--force", "v0.2.0")
    assert "has no section 0.2.0 with entries: delete the tag" in checkout.release("build", "0.2.0")
    assert not (checkout.home / "dist").exists()
