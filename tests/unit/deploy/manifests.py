"""The files of `deploy/` as data: Kubernetes objects, compose services, and their environments."""

import json
import shutil
import subprocess
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests import HOME

DEPLOY = HOME / "deploy"
KUBERNETES = DEPLOY / "kubernetes"
COMPOSE = DEPLOY / "compose.yaml"
OVERLAY = KUBERNETES / "overlays" / "production"
COMPONENTS = sorted((KUBERNETES / "components").iterdir())
SCHEMAS = Path(__file__).parent / "schemas"

Object = dict[str, Any]


def schema(name: str) -> Object:
    """Return a vendored JSON Schema."""
    found: Object = json.loads((SCHEMAS / f"{name}.json").read_text())
    return found


@cache
def objects() -> tuple[Object, ...]:
    """All Kubernetes objects as they are written, without kustomize's own files."""
    files = sorted(KUBERNETES.rglob("*.yaml"))
    return tuple(
        one
        for file in files
        if file.name != "kustomization.yaml"
        for one in yaml.load_all(file.read_text(), yaml.CSafeLoader)
    )


@cache
def built() -> tuple[Object, ...]:
    """All objects of the overlay."""
    return kustomized(OVERLAY)


def kustomized(folder: Path) -> tuple[Object, ...]:
    """Return the objects of a folder as `kubectl apply -k` sends them; skips without kubectl."""
    kubectl = shutil.which("kubectl")
    if kubectl is None:
        pytest.skip("kubectl is not installed")
    command = [kubectl, "kustomize", str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return tuple(yaml.safe_load_all(done.stdout))


def name(one: Object) -> str:
    """Return kind and name, for messages."""
    return f"{one['kind']}/{one['metadata']['name']}"


def find(found: tuple[Object, ...], kind: str, of: str) -> Object:
    """Return the object of that kind and name."""
    return next(one for one in found if name(one) == f"{kind}/{of}")


def pod(one: Object) -> Object | None:
    """Return the pod that an object makes, if it makes one."""
    spec = one.get("spec", {})
    template = spec.get("jobTemplate", {}).get("spec", spec).get("template")
    return template["spec"] if template and "containers" in template.get("spec", {}) else None


def environment(container: Object) -> dict[str, str]:
    """Return the settings that a container sets by itself; one of the pod's own is its field."""
    return {
        one["name"]: one.get("value") or one["valueFrom"]["fieldRef"]["fieldPath"]
        for one in container.get("env", ())
        if one["name"].startswith("BLUETICK_")
    }


@cache
def compose() -> Object:
    found: Object = yaml.safe_load(COMPOSE.read_text())
    return found


def lines(file: Path) -> Iterator[tuple[str, str]]:
    """Yield key and value of each line `key=value`, of a unit or an env file."""
    for line in file.read_text().splitlines():
        key, equals, value = line.partition("=")
        if equals and not line.startswith("#"):
            yield key, value
