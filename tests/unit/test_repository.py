"""What holds for every file of the repository: who imports whom, and what is never written down."""

import ast
import re
import shutil
import subprocess
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path

import pytest

from providers import NAMES
from tests import HOME

# The parts of Bluetick that each part may import besides itself; only tests import tests.
MAY_IMPORT = {
    "bench": {
        "bluetick",
        "cli",
        "console",
        "deploy",
        "ingest",
        "processors",
        "providers",
        "schemas",
        "service",
    },
    "bluetick": {"cli", "console", "service"},
    "cli": {"deploy", "ingest", "processors", "providers", "schemas", "service"},
    "console": {"cli", "deploy", "ingest", "processors", "providers", "schemas", "service"},
    "deploy": {"schemas", "service"},
    "ingest": {"providers", "schemas", "service"},
    "processors": {"providers", "schemas", "service"},
    "providers": {"schemas"},
    "schemas": set[str](),
    "service": {"providers", "schemas"},
}
OURS = {*MAY_IMPORT, "tests"}
# Which folders each folder of processors may import besides itself; files in no folder are the
# import_processor's.
PROCESSORS_MAY_IMPORT = {
    "archive": {"runtime"},
    "dead_letters": set[str](),
    "normalising": {"dead_letters", "runtime"},
    "import_processor": {"runtime"},
    "replay": {"archive", "dead_letters", "normalising", "runtime", "tracking"},
    # The meaning of a state is the tracker's.
    "quality": {"runtime", "tracking"},
    "runtime": set[str](),
    "tracking": {"dead_letters", "runtime"},
}

# What each part may import of the providers: their contract, and the names of the list. A name
# becomes code in `providers.import_provider` alone.
CONTRACT = {
    "providers.contract",
    "providers.fields",
    "providers.json_slices",
    "providers.proof",
    "providers.rejection",
    "providers.simulation",
    "providers.status_words",
    "providers.pausable_work",
    "providers.usual_shape",
}
REGISTRY_FOR = {
    "cli": {"simulator"},
    "console": set[str](),
    "ingest": {"proof"},
    "processors": {"split", "usual"},
    "service": set[str](),
}
KAFKA_HOMES = (
    "bench/",
    "cli/",
    "console/access/audit.py",
    "console/pages/records.py",
    "console/read_model/loading/",
    "deploy/",
    "ingest/publishing/",
    "processors/normalising/",
    "processors/quality/",
    "processors/replay/",
    "processors/runtime/",
    "processors/tracking/",
    "service/kafka/",
    "service/log_lines.py",
)

# The roots of the pure files; all of Bluetick's files that they import are pure as well.
PURE = (
    "bench/peers/cloud_events.py",
    "bench/peers/lifecycle.py",
    "bench/peers/outputs.py",
    "bench/peers/results.py",
    "cli/contracts/asyncapi.py",
    "cli/contracts/compatibility.py",
    "cli/contracts/dictionary.py",
    "cli/contracts/typed.py",
    "cli/dead_letters/table.py",
    "cli/doctor/*_checks.py",
    "cli/forget/matching.py",
    "cli/forget/remains.py",
    "cli/group_moves.py",
    "deploy/acls.py",
    "service/kafka/causes.py",
    "cli/problem_sentences.py",
    "cli/namespaces/rate.py",
    "cli/output/ages.py",
    "cli/quality/figures.py",
    "cli/quality/table.py",
    "cli/output/json_escaping.py",
    "cli/output/records.py",
    "cli/output/tables.py",
    "cli/simulator/simulate.py",
    "console/access/access.py",
    "console/access/decide.py",
    "console/access/roles.py",
    "console/access/security_headers.py",
    "console/charts/*.py",
    "console/masking.py",
    "console/pages/addresses.py",
    "console/pages/formats.py",
    "console/pages/json_lines.py",
    "console/pages/message_picture.py",
    "console/pages/periods.py",
    "console/pages/verdict.py",
    "console/read_model/changes.py",
    "console/read_model/queries/paging.py",
    "console/read_model/results.py",
    "deploy/open_transactions.py",
    "ingest/accept_webhook.py",
    "service/http/request_head.py",
    "ingest/sources/config.py",
    "ingest/spool/retry_schedule.py",
    "processors/archive/catalogue.py",
    "processors/quality/cells.py",
    "processors/quality/changes.py",
    "processors/runtime/batch_size.py",
    "processors/runtime/exactly_once/offset_note.py",
    "processors/runtime/lag.py",
    "service/kafka/assignment.py",
    "processors/tracking/state_diff.py",
    "processors/tracking/lifecycle/*.py",
    "processors/normalising/webhook_to_observations.py",
    "processors/dead_letters/limit.py",
    "processors/replay/pipeline_in_memory.py",
    "processors/replay/case_file.py",
    "providers/**/*.py",
    "processors/dead_letters/causes.py",
    "processors/dead_letters/record.py",
    "processors/tracking/next_state.py",
    "processors/runtime/offset_ranges.py",
    "service/kafka/clock_offset.py",
    "service/problem_sentences.py",
    "cli/output/redaction.py",
    "cli/up/reconciliation.py",
    "cli/up/restarts.py",
    "ingest/health.py",
    "ingest/reception_time.py",
    "ingest/spool/notices.py",
    "ingest/spool/quota.py",
    "processors/normalising/round_limit.py",
    "processors/replay/plan_counts.py",
    "processors/replay/range_syntax.py",
    "processors/replay/retry_outcome.py",
    "processors/tracking/batch_counts.py",
    "processors/tracking/batch_states.py",
    "processors/tracking/batch_types.py",
    "processors/tracking/letter_notices.py",
    "processors/tracking/tracking_dead_letters.py",
    "service/child_environment.py",
    "service/contradictions.py",
    "service/log_events.py",
    "service/metrics/table.py",
)
# A broker, a clock, the environment, other processes, or an unseeded random generator. The files of
# a package (importlib.resources) are as constant as its code.
IMPURE_IMPORT = re.compile(
    r"(aiokafka|anyio|asyncio|concurrent|fcntl|httpx|importlib(?!\.(import_module$|resources\b))"
    r"|logging|multiprocessing|os|pathlib"
    r"|pydantic_settings|rocksdict|secrets|shutil|signal|socket|sqlite3|starlette|subprocess|sys"
    r"|tempfile|threading|time|uvicorn|random(?!\.Random$)|uuid(?!\.UUID$))(\.|$)"
)
# How the docstring of a module says that the module is pure.
SAYS_PURE = re.compile(r"\bPure[.,]|\bPure and\b|\bpure[:.]|, pure\b")
IMPURE_CALLS = {"breakpoint", "getenv", "input", "now", "open", "print", "today", "utcnow"}
ASYNCHRONOUS = (ast.AsyncFunctionDef, ast.AsyncFor, ast.AsyncWith, ast.Await)

UVICORN = re.compile(r"(uvicorn|httptools)(\.|$)")

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


@cache
def _imports(path: Path) -> tuple[str, ...]:
    """Return the full name of all that a file imports, inside functions too."""
    found: list[str] = []
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found += (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            found += (f"{'.' * node.level}{node.module}.{alias.name}" for alias in node.names)
    return tuple(found)


def _files_of(name: str) -> Iterator[Path]:
    """Yield Bluetick's files that importing `name` runs: its package's, its own."""
    parts = name.split(".")
    for end in range(1, len(parts) + 1):
        stem = HOME.joinpath(*parts[:end])
        yield from (p for p in (stem / "__init__.py", stem.with_suffix(".py")) if p.is_file())


@cache
def _pure() -> list[Path]:
    found = set(_files(*PURE))
    waiting = list(found)
    while waiting:
        new = {file for name in _imports(waiting.pop()) for file in _files_of(name)} - found
        found |= new
        waiting += new
    return sorted(found)


def _says_pure(path: Path) -> bool:
    return SAYS_PURE.search(ast.get_docstring(ast.parse(path.read_text())) or "") is not None


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
    """No part imports a part of a higher or the same layer; only tests import tests."""
    part = path.relative_to(HOME).parts[0].removesuffix(".py")
    allowed = {part, *MAY_IMPORT.get(part, OURS)}
    found = _imports(path)
    assert [name for name in found if name.startswith(".")] == [], "relative: say whose it is"
    assert {name.partition(".")[0] for name in found} & OURS <= allowed


@pytest.mark.parametrize("path", _files("processors/*/**/*.py", "processors/*.py"), ids=_name)
def test_processors_import_no_other_processor(path: Path) -> None:
    """Code that processors share is in `runtime`, which imports no processor."""
    folder = path.relative_to(HOME / "processors").parts[0].removesuffix(".py")
    allowed = {folder, *PROCESSORS_MAY_IMPORT.get(folder, set())}
    names = [name.split(".") for name in _imports(path) if name.startswith("processors.")]
    assert {name[1] for name in names} <= allowed


@pytest.mark.parametrize("path", _files("console/read_model/**/*.py"), ids=_name)
def test_the_read_model_imports_only_pure_files_of_the_processors(path: Path) -> None:
    """It reads records by the processors' own rules, and runs no part of them."""
    named = [one for one in _imports(path) if one.startswith("processors.")]
    files = {file for one in named for file in _files_of(one)} - set(_pure())
    assert [_name(file) for file in files if file.name != "__init__.py"] == []


PARTS_BELOW = _files(*(f"{part}/**/*.py" for part in REGISTRY_FOR))


@pytest.mark.parametrize("path", PARTS_BELOW, ids=_name)
def test_no_part_imports_a_provider_by_name(path: Path) -> None:
    """Outside of its folder a provider is a name, and each part loads what it needs of it."""
    part = path.relative_to(HOME).parts[0]
    found = [name for name in _imports(path) if name.partition(".")[0] == "providers"]
    allowed = (*CONTRACT, "providers.NAMES", "providers.import_provider")
    assert [name for name in found if not _within(name, allowed)] == []
    if "providers.import_provider" in found:
        loaded = {
            node.attr
            for node in ast.walk(ast.parse(path.read_text()))
            if isinstance(node, ast.Attribute) and ast.unparse(node.value) == "import_provider"
        }
        assert loaded <= REGISTRY_FOR[part]


@pytest.mark.parametrize("path", _files("providers/*/*.py"), ids=_name)
def test_a_provider_imports_its_contract_and_itself(path: Path) -> None:
    """No provider knows another one, or how it is found."""
    own = f"providers.{path.parent.name}"
    found = [name for name in _imports(path) if name.partition(".")[0] == "providers"]
    assert [name for name in found if not _within(name, (*CONTRACT, own))] == []


def test_names_become_code_in_the_loaders() -> None:
    """Only the two loaders import by a name that they compute."""
    users = [
        _name(path)
        for path in SOURCES
        if "tests" not in path.parts and "importlib.import_module" in _imports(path)
    ]
    assert users == ["processors/import_processor.py", "providers/import_provider.py"]


def test_only_a_provider_and_the_list_name_a_provider() -> None:
    """No other part knows which providers there are: no `if`, no help text, no sentence."""
    outside = [*PARTS_BELOW, *_files("schemas/**/*.py", "deploy/**/*.py", "providers/*.py")]
    outside += [HOME / "bluetick.py", HOME / "bluetick"]
    named = [
        f"{_name(path)}: {name}"
        for path in outside
        for name in NAMES
        if name in path.read_text().lower() and path != HOME / "providers/__init__.py"
    ]
    assert named == []


def _within(name: str, modules: Iterable[str]) -> bool:
    return any(name == module or name.startswith(f"{module}.") for module in modules)


@pytest.mark.parametrize("pattern", PURE)
def test_every_pure_file_is_there(pattern: str) -> None:
    """Every rule matches an existing file."""
    assert _files(pattern)


def test_pure_files_reach_nothing_outside() -> None:
    """A pure file and its imports use no await, broker, clock or unseeded randomness."""
    found = {_name(path): list(_impurities(path)) for path in _pure()}
    assert {name: impurities for name, impurities in found.items() if impurities} == {}


def test_every_file_that_says_pure_is_checked() -> None:
    """A module calls itself pure only if `PURE` lists it, or a listed file imports it."""
    claimed = {path for path in SOURCES if "tests" not in path.parts and _says_pure(path)}
    assert claimed, "SAYS_PURE matches the docstring of no module"
    assert sorted(map(_name, claimed - set(_pure()))) == []


def test_kafka_is_met_at_the_edges_only() -> None:
    """Outside of tests, aiokafka is imported only where records enter or leave."""
    users = [
        _name(path) for path in SOURCES if any(n.startswith("aiokafka") for n in _imports(path))
    ]
    assert [name for name in users if not name.startswith((*KAFKA_HOMES, "tests/"))] == []


def test_uvicorn_is_met_in_one_package() -> None:
    """Its version is pinned, since what is changed of it is not its public interface."""
    users = [_name(path) for path in SOURCES if any(map(UVICORN.match, _imports(path)))]
    assert users != []
    assert [name for name in users if not name.startswith(("service/http/", "tests/"))] == []


def test_private_parts_are_used_in_one_package_each() -> None:
    """Of aiokafka by service/kafka alone, of prometheus_client by one function.

    The archive's storage has two classes that share some.
    """
    users = {_name(p) for p in SOURCES if re.search(r"#\s*noqa:.*\bSLF001\b", p.read_text())}
    assert any(name.startswith("service/kafka/") for name in users)
    homes = (
        "service/kafka/",
        "service/metrics/observe_all.py",
        "processors/archive/storage.py",
        "tests/unit/test_repository.py",
    )
    assert [name for name in sorted(users) if not name.startswith(homes)] == []


@pytest.mark.parametrize("pattern", [INDEXES, MACHINES], ids=["indexes", "machines"])
def test_files_name_no_index_and_no_machine(pattern: str) -> None:
    """No tracked or new file names a package index or a path of a user's machine."""
    git = shutil.which("git")
    if not git or not (HOME / ".git").exists():
        pytest.skip("this is no git checkout")
    # A checkout of another user is searched too.
    command = [git, "-c", "safe.directory=*", "grep", "--untracked", "-nIE"]
    found = subprocess.run(
        [*command, pattern.replace("_", "")], cwd=HOME, capture_output=True, text=True, check=False
    )
    assert found.stdout == ""
    assert found.returncode == 1, found.stderr  # 1: nothing found; above: not searched
