"""Strimzi's topics and users: written from the tables of topics and rights, and valid."""

import io
from contextlib import redirect_stdout

import jsonschema
import pytest
import yaml

from deploy import strimzi
from schemas.rights import rights
from service.settings import Settings
from tests.unit.deploy.manifests import KUBERNETES, Object, lines, name, schema

FOLDER = KUBERNETES / "components" / "strimzi"


@pytest.fixture
def base(monkeypatch: pytest.MonkeyPatch) -> Settings:
    """The settings of the base that topics and users depend on."""
    values = dict(lines(KUBERNETES / "base" / "settings.env"))
    for setting in ("BLUETICK_NAMESPACE", "BLUETICK_PARTITIONS", "BLUETICK_REPLICATION"):
        monkeypatch.setenv(setting, values[setting])
    return Settings()


@pytest.mark.parametrize("what", ["topics", "users"])
def test_the_file_is_what_the_tables_say(base: Settings, what: str) -> None:
    """`python -m deploy.strimzi` with the settings of the base writes it."""
    assert base.partitions == 12
    with redirect_stdout(io.StringIO()) as written:
        strimzi.main(what)
    assert (FOLDER / f"{what}.yaml").read_text() == written.getvalue()


@pytest.mark.parametrize(("what", "kind"), [("topics", "kafkatopic"), ("users", "kafkauser")])
def test_each_object_is_valid(what: str, kind: str) -> None:
    """Against the schema of Strimzi's CRD, without unknown fields."""
    checker = jsonschema.Draft7Validator(schema(f"{kind}_v1"))
    found = list(yaml.safe_load_all((FOLDER / f"{what}.yaml").read_text()))
    assert found
    for one in found:
        assert [error.message for error in checker.iter_errors(one)] == [], name(one)


def _rights(user: Object) -> set[tuple[str, str, bool, str]]:
    return {
        (acl["resource"]["type"], acl["resource"]["name"], pattern == "prefix", operation)
        for acl in user["spec"]["authorization"]["acls"]
        for pattern in [acl["resource"]["patternType"]]
        for operation in acl["operations"]
    }


@pytest.mark.parametrize("service", ["ingest", "normalise", "track", "measure", "console"])
def test_a_service_has_exactly_its_rights(base: Settings, service: str) -> None:
    """Those of the table that a test on a real Kafka proves to be the least.

    The console has those of the commands that its pages run, too.
    """
    commands = {"console": (service, "doctor", "dead-letters retry", "replay")}
    users = yaml.safe_load_all((FOLDER / "users.yaml").read_text())
    [user] = [one for one in users if one["metadata"]["name"] == f"bluetick-{service}"]
    expected = {
        (
            right.resource.replace("transactional-id", "transactionalId"),
            right.name,
            right.prefixed,
            right.operation,
        )
        for command in commands.get(service, (service,))
        for right in rights(command, base.topics)
    }
    assert _rights(user) == expected


def test_only_track_and_measure_have_transactional_ids(base: Settings) -> None:
    """By the prefix of its namespace."""
    owners = {
        (user["metadata"]["name"], acl["resource"]["name"], acl["resource"]["patternType"])
        for user in yaml.safe_load_all((FOLDER / "users.yaml").read_text())
        for acl in user["spec"]["authorization"]["acls"]
        if acl["resource"]["type"] == "transactionalId"
    }
    assert owners == {
        (f"bluetick-{name}", f"{base.namespace}.{name}.", "prefix") for name in ("track", "measure")
    }
