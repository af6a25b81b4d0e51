"""What holds for every file of the repository: who imports whom, and what is never written down."""

import ast
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import HOME

# Whom of ours each part may import besides itself; only tests import tests.
MAY_IMPORT = {
    "bench": {
        "bluetick",
        "cli",
        "deploy",
        "ingest",
        "processors",
        "providers",
        "schemas",
        "service",
    },
    "bluetick": {"cli", "service"},
    "cli": {"deploy", "ingest", "processors", "providers", "schemas", "service"},
    "deploy": {"schemas", "service"},
    "ingest": {"schemas", "service"},
    "processors": {"providers", "schemas", "service"},
    "providers": {"schemas"},
    "schemas": set[str](),
    "service": {"schemas"},
}
OURS = {*MAY_IMPORT, "tests"}
KAFKA_HOMES = (
    "bench/",
    "cli/",
    "deploy/",
    "ingest/publishing/",
    "processors/normalising/",
    "processors/replay/",
    "processors/runtime/",
    "processors/tracking/",
    "service/kafka/",
    "service/log_lines.py",
)

# Of the pure files, those that others start from; whatever of ours they import is pure as well.
PURE = (
    "cli/namespaces/rate.py",
    "cli/output/records.py",
    "cli/simulator/simulate.py",
    "ingest/admission.py",
    "service/http/request_head.py",
    "ingest/sources/config.py",
    "ingest/spool/retry_schedule.py",
    "processors/archive/catalogue.py",
    "service/kafka/assignment.py",
    "processors/tracking/state_diff.py",
    "processors/tracking/lifecycle.py",
    "processors/normalising/normalise.py",
    "processors/dead_letters/limit.py",
    "processors/replay/in_memory.py",
    "processors/replay/life_file.py",
    "providers/**/*.py",
    "processors/dead_letters/record.py",
    "processors/tracking/track.py",
    "service/kafka/clock_offset.py",
)
# A broker, a clock, the environment, other processes, or chance that nobody seeded.
IMPURE_IMPORT = re.compile(
    r"(aiokafka|anyio|asyncio|concurrent|fcntl|httpx|importlib|logging|multiprocessing|os|pathlib"
    r"|pydantic_settings|rocksdict|secrets|shutil|signal|socket|sqlite3|starlette|subprocess|sys"
    r"|tempfile|threading|time|uvicorn|random(?!\.Random$)|uuid(?!\.UUID$))(\.|$)"
)
IMPURE_CALLS = {"breakpoint", "getenv", "input", "now", "open", "print", "today", "utcnow"}
ASYNCHRONOUS = (ast.AsyncFunctionDef, ast.AsyncFor, ast.AsyncWith, ast.Await)

# The underscores are taken out again; without them this file would be found.
INDEXES = (
    r"py_pi\.|python_hosted|index_-url|npm_js\.|ana_conda|repo1?_\.maven|arti_factory|docker_\.io"
)
MACHINES = r"/_root/|/_home/\w|/_Users/\w|/_tmp/\w"


def _files(*patterns: str) -> list[Path]:
    return sorted({path for pattern in patterns for path in HOME.glob(pattern)})


SOURCES = _files(*(f"{part}.py" for part in OURS), *(f"{part}/**/*.py" for part in OURS))


def _name(path: Path) -> str:
    return path.relative_to(HOME).as_posix()


def _imports(path: Path) -> Iterator[str]:
    """Yield the full name of all that a file imports, inside functions too."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from (f"{'.' * node.level}{node.module}.{alias.name}" for alias in node.names)


def _files_of(name: str) -> Iterator[Path]:
    """Yield the files of ours that importing `name` runs: its package's, its own."""
    parts = name.split(".")
    for end in range(1, len(parts) + 1):
        stem = HOME.joinpath(*parts[:end])
        yield from (p for p in (stem / "__init__.py", stem.with_suffix(".py")) if p.is_file())


def _pure() -> list[Path]:
    found = set(_files(*PURE))
    waiting = list(found)
    while waiting:
        new = {file for name in _imports(waiting.pop()) for file in _files_of(name)} - found
        found |= new
        waiting += new
    return sorted(found)


def _reaches_out(call: ast.Call) -> bool:
    name = ast.unparse(call.func).rpartition(".")[2]
    return name in IMPURE_CALLS or (name == "Random" and not call.args)


def _impurities(path: Path) -> Iterator[str]:
    yield from (f"imports {name}" for name in _imports(path) if IMPURE_IMPORT.match(name))
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ASYNCHRONOUS):
            yield f"line {node.lineno} is asynchronous"
        elif isinstance(node, ast.Call) and _reaches_out(node):
            yield f"line {node.lineno} calls {ast.unparse(node)}"


@pytest.mark.parametrize("path", SOURCES, ids=_name)
def test_imports_point_one_way(path: Path) -> None:
    """No part imports a part above or beside it, and nothing but tests imports tests."""
    part = path.relative_to(HOME).parts[0].removesuffix(".py")
    allowed = {part, *MAY_IMPORT.get(part, OURS)}
    found = list(_imports(path))
    assert [name for name in found if name.startswith(".")] == [], "relative: say whose it is"
    assert {name.partition(".")[0] for name in found} & OURS <= allowed


@pytest.mark.parametrize("pattern", PURE)
def test_every_pure_file_is_there(pattern: str) -> None:
    """No rule speaks of a file that has been renamed."""
    assert _files(pattern)


@pytest.mark.parametrize("path", _pure(), ids=_name)
def test_pure_files_reach_nothing_outside(path: Path) -> None:
    """A pure file and all it needs of ours await nothing and meet no broker, clock or chance."""
    assert list(_impurities(path)) == []


def test_kafka_is_met_at_the_edges_only() -> None:
    """Outside of tests, aiokafka is imported only where records enter or leave."""
    users = [
        _name(path) for path in SOURCES if any(n.startswith("aiokafka") for n in _imports(path))
    ]
    assert [name for name in users if not name.startswith((*KAFKA_HOMES, "tests/"))] == []


@pytest.mark.parametrize("pattern", [INDEXES, MACHINES], ids=["indexes", "machines"])
def test_files_name_no_index_and_no_machine(pattern: str) -> None:
    """No file in git, or about to be, names a package index or a path of somebody's machine."""
    git = shutil.which("git")
    if not git or not (HOME / ".git").exists():
        pytest.skip("this is no git checkout")
    # A checkout that belongs to somebody else is as good as ours.
    command = [git, "-c", "safe.directory=*", "grep", "--untracked", "-nIE"]
    found = subprocess.run(
        [*command, pattern.replace("_", "")], cwd=HOME, capture_output=True, text=True, check=False
    )
    assert found.stdout == ""
    assert found.returncode == 1, found.stderr  # 1: nothing found; above: not searched
