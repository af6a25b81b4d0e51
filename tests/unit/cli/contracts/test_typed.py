"""The types for consumers: each language reads the examples, or compiles.

docs/consuming/check installs the TypeScript compiler and AsyncAPI's parser, and names their folder
in BLUETICK_NODE_MODULES.
"""

import json
import os
import shutil
import subprocess
from pathlib import Path
from types import ModuleType
from typing import Any

import msgspec
import pytest
from pydantic import BaseModel, ConfigDict

from cli.contracts.examples import examples
from cli.contracts.typed import LANGUAGES, printed
from schemas.contract import KINDS
from tests import HOME

VALUES = {kind.name: kind.value.__name__ for kind in KINDS if kind.value is not None}
NODE_MODULES = os.environ.get("BLUETICK_NODE_MODULES")
needs_node = pytest.mark.skipif(
    not (NODE_MODULES and shutil.which("node")),
    reason="docs/consuming/check installs what it needs",
)


def module(file: str) -> ModuleType:
    """Return generated Python as a module."""
    made = ModuleType(file.removesuffix(".py"))
    exec(compile(printed(LANGUAGES[file]), file, "exec"), made.__dict__)
    return made


@pytest.mark.parametrize("name", VALUES)
def test_msgspec_reads_and_writes_the_examples(name: str) -> None:
    """What a struct reads it writes again, but for fields with the value of a missing one."""
    value = examples()[name].value
    type_ = getattr(module("bluetick_msgspec.py"), VALUES[name])
    read = msgspec.convert(value, type_)
    assert msgspec.to_builtins(read) == value
    assert msgspec.convert(value | {"novelty": 1}, type_) == read


def test_msgspec_reads_any_event() -> None:
    """The union of events chooses the type by the field `event`."""
    made = module("bluetick_msgspec.py")
    for kind in KINDS:
        if kind.topic == "events" and kind.value is not None:
            event = msgspec.convert(examples()[kind.name].value, made.Event)
            assert type(event).__name__ == kind.value.__name__


@pytest.mark.parametrize("name", VALUES)
def test_pydantic_reads_and_writes_the_examples(name: str) -> None:
    """Every field of the example is a field of the model; unknown ones are ignored."""
    value = examples()[name].value
    type_: type[BaseModel] = getattr(module("bluetick_pydantic.py"), VALUES[name])
    read = type_.model_validate(value | {"novelty": 1})
    assert read.model_dump(mode="json", by_alias=True, exclude_unset=True) == value
    assert type_.model_config == ConfigDict(frozen=True, extra="ignore")


def test_a_missing_field_has_the_value_it_stands_for() -> None:
    """Receipts are expected unless the record says otherwise, in both kinds of Python."""
    value = {k: v for k, v in examples()["status"].value.items() if k != "receipts"}
    for file in ("bluetick_msgspec.py", "bluetick_pydantic.py"):
        assert msgspec.convert(value, module("bluetick_msgspec.py").StatusRecord).receipts is True
        assert "receipts: bool = True" in printed(LANGUAGES[file])


def run(*command: str, cwd: Path) -> tuple[int, str]:
    ended = subprocess.run(
        command, cwd=cwd, capture_output=True, text=True, check=False, timeout=100
    )
    return ended.returncode, ended.stdout + ended.stderr


@pytest.mark.skipif(not shutil.which("javac"), reason="it needs a JDK")
def test_java_compiles(tmp_path: Path) -> None:
    """The records compile, together with a program that makes and reads one."""
    (tmp_path / "Bluetick.java").write_text(printed(LANGUAGES["Bluetick.java"]))
    (tmp_path / "Use.java").write_text(
        """class Use {
            static String of(Bluetick.StatusRecord status) {
                return status.status() + status.content().contacts().get(0).name();
            }
            static Bluetick.RawOrigin raw() { return new Bluetick.RawOrigin("t", 0L, 1L, 2L); }
        }"""
    )
    assert run("javac", "-Werror", "-d", "out", "Bluetick.java", "Use.java", cwd=tmp_path) == (
        0,
        "",
    )


@needs_node
def test_typescript_accepts_the_examples_and_refuses_others(tmp_path: Path) -> None:
    """Each example is a value of its type; a wrong status type or a missing field is an error."""
    (tmp_path / "bluetick.ts").write_text(printed(LANGUAGES["bluetick.ts"]))
    good = {name: examples()[name].value for name in VALUES}
    (tmp_path / "good.ts").write_text(_assignments(good))
    (tmp_path / "bad.ts").write_text(
        _assignments(
            {"status": good["status"] | {"received_at": "soon"}, "late": {"event": "late"}}
        )
    )
    tsc = (
        "node",
        f"{NODE_MODULES}/typescript/bin/tsc",
        "--strict",
        "--noEmit",
        "--pretty",
        "false",
    )

    assert run(*tsc, "good.ts", cwd=tmp_path) == (0, "")
    code, output = run(*tsc, "bad.ts", cwd=tmp_path)
    assert code != 0
    assert "'string' is not assignable to type 'number'" in output
    assert "missing the following properties" in output


def _assignments(values: dict[str, Any]) -> str:
    lines = ['import * as bluetick from "./bluetick";']
    for index, (name, value) in enumerate(values.items()):
        lines.append(f"export const v{index}: bluetick.{VALUES[name]} = {json.dumps(value)};")
    return "\n".join(lines)


@needs_node
def test_the_asyncapi_document_is_valid(tmp_path: Path) -> None:
    """@asyncapi/parser finds no error; without an action it finds one."""
    shutil.copy(HOME / "docs/consuming/asyncapi.mjs", tmp_path)
    (tmp_path / "node_modules").symlink_to(str(NODE_MODULES))
    published = HOME / "schemas/published/1/asyncapi.json"
    (tmp_path / "good.json").write_text(published.read_text())
    document = json.loads(published.read_text())
    del document["operations"]["track-sends-statuses"]["action"]
    (tmp_path / "bad.json").write_text(json.dumps(document))

    assert run("node", "asyncapi.mjs", "good.json", cwd=tmp_path) == (0, "valid\n")
    code, output = run("node", "asyncapi.mjs", "bad.json", cwd=tmp_path)
    assert code == 1
    assert "action" in output
