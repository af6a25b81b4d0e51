"""deploy/kubernetes/: valid objects, and the rules that keep webhooks and stores safe."""

import os
import re
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml
from kubernetes_validate.utils import ValidationError, validate

from console.access.access import access_of
from ingest.server import _GRACE_SECONDS, _LAST_ACCEPT_SECONDS
from schemas.processor_list import PROCESSORS
from service.settings import Settings
from tests import HOME
from tests.unit.deploy.manifests import (
    COMPONENTS,
    KUBERNETES,
    OVERLAY,
    Object,
    built,
    environment,
    find,
    kustomized,
    lines,
    name,
    objects,
    pod,
    schema,
)

# The oldest version whose schemas are checked: the oldest that Kubernetes supports, and the newest.
VERSIONS = ("1.34", "1.37")
CRDS = {
    "KafkaTopic": "kafkatopic_v1",
    "KafkaUser": "kafkauser_v1",
    "PrometheusRule": "prometheusrule_v1",
    "ScaledObject": "scaledobject_v1alpha1",
    "ServiceMonitor": "servicemonitor_v1",
    "TriggerAuthentication": "triggerauthentication_v1alpha1",
}
SERVICES = [find(objects(), "StatefulSet", "ingest"), find(objects(), "Deployment", "normalise")]
SERVICES += [find(objects(), "StatefulSet", name) for name in ("track", "measure", "console")]
PODS = [(name(one), pod(one) or {}) for one in objects() if pod(one)]
_UNITS = {"Gi": 2**30, "Mi": 2**20}


def _invalid(one: Object, version: str) -> list[str]:
    """Return what the schema of an object's kind refuses; fields it does not know are refused."""
    if crd := CRDS.get(one["kind"]):
        errors = jsonschema.Draft7Validator(schema(crd)).iter_errors(one)
        return [f"{name(one)}: {error.message}" for error in errors]
    try:
        validate(one, version, strict=True)
    except ValidationError as error:
        return [f"{name(one)}: {error.message}"]
    return []


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("one", objects(), ids=name)
def test_an_object_is_valid(one: Object, version: str) -> None:
    """Each file, for the versions of Kubernetes and of the operators' CRDs."""
    assert _invalid(one, version) == []


@pytest.mark.parametrize("path", [("spec", "replica"), ("spec", "template", "spec", "colour")])
def test_an_unknown_field_is_refused(path: tuple[str, ...]) -> None:
    """The check above is strict: a misspelt field does not pass."""
    wrong = yaml.safe_load(yaml.safe_dump(find(objects(), "StatefulSet", "track")))
    inner: dict[str, Any] = wrong
    for key in path[:-1]:
        inner = inner[key]
    inner[path[-1]] = 1
    assert _invalid(wrong, VERSIONS[0])


def test_the_overlay_is_valid() -> None:
    """All that `kubectl apply -k` sends, after every patch."""
    assert [error for one in built() for error in _invalid(one, VERSIONS[0])] == []


def test_the_overlay_is_what_the_documents_say() -> None:
    """Three ingests, two normalises, four trackers; topics by Strimzi instead of the job."""
    replicas = {
        "ingest": find(built(), "HorizontalPodAutoscaler", "ingest")["spec"]["minReplicas"],
        "normalise": find(built(), "ScaledObject", "normalise")["spec"]["minReplicaCount"],
        "track": find(built(), "StatefulSet", "track")["spec"]["replicas"],
    }
    assert replicas == {"ingest": 3, "normalise": 2, "track": 4}
    assert "replicas" not in find(built(), "StatefulSet", "ingest")["spec"]
    assert "replicas" not in find(built(), "Deployment", "normalise")["spec"]
    assert not [one for one in built() if one["kind"] == "Job"]
    images = {
        container["image"]
        for one in built()
        for container in (pod(one) or {}).get("containers", ())
    }
    assert images == {"registry.example.com/bluetick:0.1.0"}


def test_every_reference_of_the_overlay_is_there() -> None:
    """Config maps by their name with a hash; secrets are the user's own, or Strimzi's."""
    made = {name(one) for one in built()}
    users = {one["metadata"]["name"] for one in built() if one["kind"] == "KafkaUser"}
    for one in built():
        text = yaml.safe_dump(pod(one) or {})
        for config in re.findall(r"configMap(?:Ref)?:\n\s+name: (\S+)", text):
            assert f"ConfigMap/{config}" in made
        secrets = set(re.findall(r"secretName: (\S+)|secret:\n(?:.*\n)*?\s+name: (\S+)", text))
        named = {part for pair in secrets for part in pair if part}
        assert named <= users | {"kafka-cluster-ca-cert", "bluetick-sources"}, name(one)


@pytest.mark.parametrize(("who", "inside"), PODS, ids=[who for who, _ in PODS])
def test_a_pod_is_confined(who: str, inside: Object) -> None:
    """The rules of the standard `restricted`, and a root that cannot be written."""
    assert inside["securityContext"]["runAsNonRoot"] is True, who
    assert inside["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert inside["automountServiceAccountToken"] is False
    [container] = inside["containers"]
    confined = container["securityContext"]
    assert confined["readOnlyRootFilesystem"] is True
    assert confined["allowPrivilegeEscalation"] is False
    assert confined["capabilities"] == {"drop": ["ALL"]}
    assert {"cpu", "memory"} <= container["resources"]["requests"].keys()
    assert "memory" in container["resources"]["limits"]


@pytest.mark.parametrize(("who", "inside"), PODS, ids=[who for who, _ in PODS])
def test_the_cluster_adds_no_settings(who: str, inside: Object) -> None:
    """A variable BLUETICK_…_SERVICE_HOST would be an unknown setting, and refused."""
    assert inside["enableServiceLinks"] is False, who


@pytest.mark.parametrize(("who", "inside"), PODS, ids=[who for who, _ in PODS])
def test_no_secret_is_in_the_environment(who: str, inside: Object) -> None:
    """The password is a file; each pod has the user of its service."""
    [container] = inside["containers"]
    assert "secretKeyRef" not in yaml.safe_dump(container), who
    service = container["args"][0]
    assert environment(container)["BLUETICK_USERNAME"] == f"bluetick-{service}"
    [sources] = [v["projected"]["sources"] for v in inside["volumes"] if v["name"] == "kafka"]
    assert sources[1]["secret"]["name"] == f"bluetick-{service}"


def test_probes_are_on_the_ports_of_the_settings() -> None:
    """Ingest on the public address, the processors on their health address."""
    ports = {one.name: one.health_port for one in PROCESSORS}
    ports["ingest"] = Settings.model_fields["port"].default
    ports["console"] = Settings.model_fields["console_health_port"].default
    for one in SERVICES:
        [container] = (pod(one) or {})["containers"]
        named = {port["name"]: port["containerPort"] for port in container["ports"]}
        for probe, path in (("startup", "live"), ("liveness", "live"), ("readiness", "ready")):
            get = container[f"{probe}Probe"]["httpGet"]
            assert get["path"] == f"/health/{path}"
            assert named[get["port"]] == ports[one["metadata"]["name"]]


def test_ingest_leaves_in_order() -> None:
    """preStop, drain, the last requests and the end fit; readiness shows the drain in time."""
    inside = pod(SERVICES[0]) or {}
    [container] = inside["containers"]
    drain = float(environment(container)["BLUETICK_DRAIN"])
    stop = container["lifecycle"]["preStop"]["sleep"]["seconds"]
    needed = stop + drain + _LAST_ACCEPT_SECONDS + _GRACE_SECONDS + 5
    assert inside["terminationGracePeriodSeconds"] >= needed
    ready = container["readinessProbe"]
    assert ready["periodSeconds"] * ready["failureThreshold"] <= drain


def test_processors_have_time_to_end() -> None:
    transaction = Settings.model_fields["transaction_timeout"].default
    for one in SERVICES[1:-1]:
        assert (pod(one) or {})["terminationGracePeriodSeconds"] > transaction + 10


def test_the_spool_outlives_its_pod() -> None:
    """A volume for each pod, kept when it goes, with a tenth more than the spool may use."""
    spec = SERVICES[0]["spec"]
    assert spec["persistentVolumeClaimRetentionPolicy"] == {
        "whenDeleted": "Retain",
        "whenScaled": "Retain",
    }
    [claim] = spec["volumeClaimTemplates"]
    size = claim["spec"]["resources"]["requests"]["storage"]
    [container] = spec["template"]["spec"]["containers"]
    assert int(size[:-2]) * _UNITS[size[-2:]] >= 1.1 * int(
        environment(container)["BLUETICK_SPOOL_MAX_BYTES"]
    )


def test_a_tracker_returns_as_the_same_member() -> None:
    """Its id is the pod's name; no pod waits for another one."""
    spec = SERVICES[2]["spec"]
    assert spec["podManagementPolicy"] == "Parallel"
    [container] = spec["template"]["spec"]["containers"]
    assert environment(container)["BLUETICK_INSTANCE"] == "metadata.name"


def test_normalise_has_no_static_name() -> None:
    """The name of a Deployment's pod does not return: its partitions would wait."""
    [container] = (pod(SERVICES[1]) or {})["containers"]
    assert "BLUETICK_INSTANCE" not in environment(container)


def test_keda_stops_at_the_partitions() -> None:
    """A pod without a partition does nothing; the group and Kafka are those of the settings."""
    settings = dict(lines(KUBERNETES / "base" / "settings.env"))
    spec = find(objects(), "ScaledObject", "normalise")["spec"]
    assert spec["maxReplicaCount"] == int(settings["BLUETICK_PARTITIONS"])
    [trigger] = spec["triggers"]
    assert trigger["metadata"]["bootstrapServers"] == settings["BLUETICK_KAFKA"]
    assert trigger["metadata"]["consumerGroup"] == f"{settings['BLUETICK_NAMESPACE']}.normalise"


def test_network_policies_select_bluetick_only() -> None:
    """In a shared namespace the pods of others, such as Kafka's, keep their network."""
    policies = [one for one in objects() if one["kind"] == "NetworkPolicy"]
    assert policies
    for one in policies:
        labels = one["spec"]["podSelector"]["matchLabels"]
        assert labels["app.kubernetes.io/name"] == "bluetick"
    denied = find(tuple(policies), "NetworkPolicy", "bluetick")["spec"]
    assert denied["policyTypes"] == ["Ingress", "Egress"]
    assert "ingress" not in denied


def test_every_metrics_service_is_scraped() -> None:
    """The monitor selects the headless services, by their labels and by the name of their port."""
    monitor = find(objects(), "ServiceMonitor", "bluetick")["spec"]
    wanted = monitor["selector"]["matchLabels"].items()
    chosen = {
        one["metadata"]["name"]
        for one in objects()
        if one["kind"] == "Service" and wanted <= one["metadata"]["labels"].items()
    }
    assert chosen == {"ingest-pods", "normalise-pods", "track-pods", "measure-pods", "console-pods"}
    ports = {
        port["name"]
        for one in objects()
        if one["kind"] == "Service" and one["metadata"]["name"] in chosen
        for port in one["spec"]["ports"]
    }
    [endpoint] = monitor["endpoints"]
    assert ports == {endpoint["port"]}
    assert endpoint["relabelings"][0]["targetLabel"] == "instance", "a spool is that of its pod"


def test_every_component_is_named_by_a_document_or_the_overlay() -> None:
    """And every component builds on its own files only."""
    used = yaml.safe_load((OVERLAY / "kustomization.yaml").read_text())["components"]
    names = {part.rpartition("/")[2] for part in used}
    others = {one.name for one in COMPONENTS} - names
    assert others == {"archive", "console-oidc", "console-postgres"}
    text = (HOME / "docs/deploying.md").read_text()
    assert [one for one in others if f"component `{one}`" not in text] == []


def test_the_console_is_on_loopback_without_a_login() -> None:
    """In the base, whoever may forward a port sees it; the volume outlives the pod."""
    console = find(objects(), "StatefulSet", "console")
    [container] = (pod(console) or {})["containers"]
    values = environment(container)
    assert not [name for name in values if name.startswith("BLUETICK_CONSOLE")]
    assert access_of(Settings()).login == "off"
    assert console["spec"]["replicas"] == 1
    assert set(console["spec"]["persistentVolumeClaimRetentionPolicy"].values()) == {"Retain"}


@pytest.fixture
def opened(tmp_path: Path) -> tuple[Object, ...]:
    """The base with the components of the console."""
    used = ("base", "components/console-oidc", "components/console-postgres")
    base, *components = (os.path.relpath(KUBERNETES / one, tmp_path) for one in used)
    text = yaml.safe_dump({"resources": [base], "components": components})
    (tmp_path / "kustomization.yaml").write_text(text)
    return kustomized(tmp_path)


def test_the_components_open_the_console_with_a_login(
    monkeypatch: pytest.MonkeyPatch, opened: tuple[Object, ...]
) -> None:
    """Valid objects; the console accepts the settings, and each secret is a mounted file."""
    assert [error for one in opened for error in _invalid(one, VERSIONS[0])] == []
    inside = pod(find(opened, "StatefulSet", "console")) or {}
    [container] = inside["containers"]
    values = environment(container)
    files = {name: value for name, value in values.items() if name.endswith("_FILE")}
    mounted = [mount["mountPath"] for mount in container["volumeMounts"]]
    assert len(files) == 3
    assert {str(Path(file).parent) for file in files.values()} <= {*mounted}
    for setting in values.keys() - files.keys():
        monkeypatch.setenv(setting, values[setting])
    assert values["BLUETICK_CONSOLE_HOST"] == "status.podIP"
    monkeypatch.setenv("BLUETICK_CONSOLE_HOST", "10.0.0.1")
    monkeypatch.setenv("BLUETICK_CONSOLE_OIDC_SECRET", "of the file")
    access = access_of(Settings())
    [rule] = find(opened, "Ingress", "console")["spec"]["rules"]
    assert (access.login, access.secure, access.names) == ("oidc", True, (rule["host"],))
    served = find(opened, "Service", "console")["spec"]["ports"][0]["targetPort"]
    assert served in {port["name"] for port in container["ports"]}
