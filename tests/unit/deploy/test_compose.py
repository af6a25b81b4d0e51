"""deploy/compose.yaml: valid, complete, and with the image's rules."""

import os
import shutil
import subprocess
from typing import Any

import jsonschema
import pytest

from console.access.access import access_of
from service.settings import Settings
from tests.unit.deploy.manifests import COMPOSE, compose, schema

PROXY = "console-proxy"
OURS = {name: one for name, one in compose()["services"].items() if one["image"] == "bluetick"}


def test_it_is_valid() -> None:
    """Against the schema of the Compose Specification, without unknown keys."""
    checker = jsonschema.Draft7Validator(schema("compose-spec"))
    assert [error.message for error in checker.iter_errors(compose())] == []


def test_the_schema_refuses() -> None:
    """The schema that the test above uses refuses an unknown key."""
    wrong = {"services": {"a": {"image": "b", "imagee": "c"}}}
    assert not jsonschema.Draft7Validator(schema("compose-spec")).is_valid(wrong)


def test_the_services_are_those_of_the_documents() -> None:
    """Two of each service, behind HAProxy, and what watches them."""
    assert set(compose()["services"]) == {
        *("kafka", "topics", "ingest-a", "ingest-b", "normalise-a", "normalise-b"),
        *("track-a", "track-b", "measure-a", "console-a", "console-proxy"),
        *("certificate", "haproxy", "prometheus", "grafana"),
    }
    assert compose()["services"]["kafka"]["image"] == "apache/kafka:4.3.1"


@pytest.mark.parametrize("name", OURS)
def test_a_service_is_confined(name: str) -> None:
    """The root is read-only, no capability is left, and the log is bounded."""
    one = OURS[name]
    assert one["read_only"] is True
    assert one["cap_drop"] == ([] if name == "certificate" else ["ALL"])
    assert one["security_opt"] == ["no-new-privileges:true"]
    assert one["logging"]["options"]["max-file"]
    assert "ports" not in one, "only the balancer is reached from outside"


def test_every_image_has_a_version() -> None:
    """`latest` is another image tomorrow."""
    for name, one in compose()["services"].items():
        if name not in OURS:
            assert one["image"].rpartition(":")[2][0] in "v0123456789", name


def test_ports_are_on_loopback() -> None:
    """It has no passwords: other machines do not reach it."""
    ports = [port for one in compose()["services"].values() for port in one.get("ports", ())]
    assert ports
    assert [port for port in ports if not port.startswith("127.0.0.1:")] == []


def test_every_file_exists() -> None:
    """The files of configs; those of secrets are made by the person."""
    for config in compose()["configs"].values():
        assert (COMPOSE.parent / config["file"]).is_file(), config
    assert {one["file"] for one in compose()["secrets"].values()} == {
        "compose/secrets/smsmanager",
        "compose/secrets/whapi",
    }


def test_every_name_is_declared() -> None:
    """Volumes, configs and secrets of the services are declared, and the other way round."""
    used: dict[str, set[str]] = {"volumes": set(), "configs": set(), "secrets": set()}
    for one in compose()["services"].values():
        used["volumes"] |= {volume.split(":")[0] for volume in one.get("volumes", ())}
        used["configs"] |= {config["source"] for config in one.get("configs", ())}
        used["secrets"] |= set(one.get("secrets", ()))
    assert used == {kind: set(compose()[kind]) for kind in used}


@pytest.mark.parametrize("name", [name for name in OURS if "-" in name])
def test_a_service_waits_for_the_topics(name: str) -> None:
    """And has time for its end."""
    assert OURS[name]["depends_on"]["topics"]["condition"] == "service_completed_successfully"
    grace = int(OURS[name]["stop_grace_period"].removesuffix("s"))
    assert (
        grace
        >= {"ingest": 15, "normalise": 20, "track": 30, "measure": 30, "console": 10}[
            name.split("-", maxsplit=1)[0]
        ]
    )


def test_the_console_trusts_its_proxy_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """It starts with these settings; the proxy has the trusted address and sets the header."""
    services = compose()["services"]
    given = OURS["console-a"]["environment"]
    for name in given:
        monkeypatch.setenv(name, given[name])
    access = access_of(Settings())
    [address] = access.proxies
    networks = {name: services[name]["networks"]["bluetick"] for name in ("console-a", PROXY)}
    assert str(address.network_address) == networks[PROXY]["ipv4_address"]
    assert address.num_addresses == 1
    port = Settings.model_fields["console_port"].default
    upstream = f"{networks['console-a']['ipv4_address']}:{port}"
    assert services[PROXY]["environment"]["CONSOLE"] == upstream
    [person] = access.roles
    text = (COMPOSE.parent / compose()["configs"][PROXY]["file"]).read_text()
    assert f"http-request set-header {access.header} {person}\n" in text
    assert access.names == ("localhost",)


def test_haproxy_accepts_the_proxy_of_the_console() -> None:
    haproxy = shutil.which("haproxy", path=f"{os.environ['PATH']}:/usr/sbin")
    if haproxy is None:
        pytest.skip("haproxy is not installed")
    file = COMPOSE.parent / compose()["configs"][PROXY]["file"]
    environment = os.environ | compose()["services"][PROXY]["environment"]
    done = subprocess.run(
        [haproxy, "-c", "-f", str(file)],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr


def test_trackers_keep_their_name_and_their_store() -> None:
    """Each has an id and a volume of its own."""
    trackers: list[dict[str, Any]] = [OURS["track-a"], OURS["track-b"]]
    names = [one["environment"]["BLUETICK_INSTANCE"] for one in trackers]
    assert names == ["track-a", "track-b"]
    assert trackers[0]["volumes"] != trackers[1]["volumes"]
