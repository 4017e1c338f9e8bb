"""Manifests: valid by the official schemas, and fitting each other."""

from __future__ import annotations

import copy
import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jsonschema
import kubernetes_validate
import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from roadworthy.deploy.kubernetes import (
    Settings,
    chart,
    check_documents,
    documents,
    inference_service,
    read_yaml,
    to_yaml,
)
from roadworthy.deploy.kubernetes.documents import adapter_rules, canary_replicas
from roadworthy.deploy.kubernetes.rules import quantity
from roadworthy.errors import InputError

MINORS = ("1.35", "1.36", "1.37")
PLAIN = Settings(name="adult", image="registry.example.org/adult:3f2a9c017d55", version="3f2a9c01")
FULL = msgspec.structs.replace(
    PLAIN,
    namespace="models",
    scale_on="concurrency",
    target=8.0,
    cpu="1500m",
    secrets={"ROADWORTHY_SEAL_PASSPHRASE": "adult-seal/passphrase"},
    keys_secret="adult-keys",
    tls_secret="adult-tls",
    allow_from=("shop",),
    canary_image=f"registry.example.org/adult@sha256:{'a' * 64}",
    canary_percent=25,
    pull_secret="registry",
    max_replicas=30,
    replicas=6,
)
EVERY = {"plain": PLAIN, "full": FULL, "fixed": msgspec.structs.replace(PLAIN, max_replicas=2)}


def validate(document: dict[str, Any]) -> None:
    """By the official schemas of three minors; what they do not know is an error, too."""
    if document["apiVersion"].startswith(("monitoring.coreos.com", "serving.kserve.io")):
        return  # custom resources: checked by their own
    for minor in MINORS:
        kubernetes_validate.validate(document, minor, strict=True)


@pytest.mark.parametrize("wanted", EVERY.values(), ids=EVERY)
def test_every_document_is_valid_in_the_last_three_minors_and_they_fit_each_other(
    wanted: Settings,
) -> None:
    made = documents(wanted)
    for document in made:
        validate(document)
    assert check_documents(made) == []
    assert read_yaml(to_yaml(made)) == made


def test_the_schemas_that_validate_refuse_an_unknown_field_and_a_removed_version() -> None:
    made = next(d for d in documents(PLAIN) if d["kind"] == "Deployment")
    with pytest.raises(kubernetes_validate.ValidationError):
        validate({**made, "spec": {**made["spec"], "replica": 3}})
    with pytest.raises(kubernetes_validate.SchemaNotFoundError):
        validate({**made, "apiVersion": "apps/v1beta1"})


def one(made: list[dict[str, Any]], kind: str) -> dict[str, Any]:
    return next(document for document in made if document["kind"] == kind)


def server(made: list[dict[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = one(made, "Deployment")["spec"]["template"]["spec"]["containers"][0]
    return found


Plant = Callable[[list[dict[str, Any]]], Any]
PLANTED: dict[str, tuple[Plant, str]] = {
    "a selector other than the labels": (
        lambda m: one(m, "Deployment")["spec"]["selector"]["matchLabels"].update(app="x"),
        "own pods",
    ),
    "a service that selects nothing": (
        lambda m: one(m, "Service")["spec"]["selector"].update(app="x"),
        "selects no pod",
    ),
    "an unknown target port": (
        lambda m: one(m, "Service")["spec"]["ports"][0].update(targetPort="web"),
        "web is no port",
    ),
    "a scaler of nothing": (
        lambda m: one(m, "HorizontalPodAutoscaler")["spec"]["scaleTargetRef"].update(name="x"),
        "there is no Deployment/x",
    ),
    "a least above the most": (
        lambda m: one(m, "HorizontalPodAutoscaler")["spec"].update(minReplicas=99),
        "maxReplicas",
    ),
    "a bad quantity": (
        lambda m: server(m)["resources"]["requests"].update(memory="512 MB"),
        "is no quantity",
    ),
    "a request above its limit": (
        lambda m: server(m)["resources"]["requests"].update(memory="2Gi"),
        "above the limit",
    ),
    "a probe that asks nothing": (
        lambda m: server(m)["readinessProbe"].pop("httpGet"),
        "needs one of",
    ),
    "an unknown strategy": (
        lambda m: one(m, "Deployment")["spec"]["strategy"].update(type="BlueGreen"),
        "BlueGreen is none of",
    ),
    "an unknown volume": (
        lambda m: server(m)["volumeMounts"][0].update(name="disk"),
        "no volume disk",
    ),
    "a bad label": (
        lambda m: one(m, "Service")["metadata"]["labels"].update(team="data science"),
        "no label's value",
    ),
    "a port out of range": (
        lambda m: server(m)["ports"][0].update(containerPort=80800),
        "80800 is no port",
    ),
    "a probe of an unknown port": (
        lambda m: server(m)["livenessProbe"]["httpGet"].update(port=9),
        "9 is no port",
    ),
    "a removed version": (
        lambda m: one(m, "PodDisruptionBudget").update(apiVersion="policy/v1beta1"),
        "not served any more",
    ),
    "a bad name": (
        lambda m: one(m, "Service")["metadata"].update(name="My_Service"),
        "no DNS label",
    ),
    "a privileged container": (
        lambda m: server(m)["securityContext"].update(privileged=True),
        "gain rights",
    ),
    "the latest image": (lambda m: server(m).update(image="adult:latest"), "not pinned"),
    "no resources": (lambda m: server(m).pop("resources"), "requests no cpu"),
    "a root user": (
        lambda m: one(m, "Deployment")["spec"]["template"]["spec"].pop("securityContext"),
        "as root",
    ),
    "a budget that lets nothing go": (
        lambda m: one(m, "PodDisruptionBudget")["spec"].update(maxUnavailable=0),
        "no node could be emptied",
    ),
    "a policy for nothing": (
        lambda m: one(m, "NetworkPolicy")["spec"].update(podSelector={"matchLabels": {"a": "b"}}),
        "selects no pod",
    ),
    "a monitor of nothing": (
        lambda m: one(m, "ServiceMonitor")["spec"]["endpoints"][0].update(port="metrics"),
        "no port of the service",
    ),
    "replicas beside a scaler": (
        lambda m: one(m, "Deployment")["spec"].update(replicas=3),
        "both would fight",
    ),
    "the same twice": (lambda m: m.append(copy.deepcopy(one(m, "Service"))), "stands twice"),
    "pods in another namespace": (
        lambda m: one(m, "Service")["metadata"].update(namespace="other"),
        "selects no pod",
    ),
    "no shape at all": (lambda m: one(m, "Service").pop("spec"), "not of the shape"),
}


@pytest.mark.parametrize(("plant", "reason"), PLANTED.values(), ids=PLANTED)
def test_a_planted_fault_is_found(plant: Plant, reason: str) -> None:
    made = copy.deepcopy(documents(PLAIN))
    plant(made)
    found = check_documents(made)
    assert any(reason in str(finding) for finding in found), found


def test_a_canary_whose_pods_the_stable_deployment_would_claim_is_found() -> None:
    made = copy.deepcopy(documents(FULL))
    one(made, "Deployment")["spec"]["selector"]["matchLabels"].pop("roadworthy.dev/track")
    assert any("adult-canary, too" in str(finding) for finding in check_documents(made))


def test_a_key_that_stands_twice_is_refused_with_its_line() -> None:
    with pytest.raises(InputError, match="'kind' stands twice"):
        read_yaml("apiVersion: v1\nkind: Service\nkind: Pod\n")


@pytest.mark.parametrize(
    ("key", "value"),
    [("name", "Adult"), ("image", "adult"), ("image", "adult:latest"), ("port", 80),
     ("replicas", 11), ("cpu", "many"), ("memory", "0"), ("canary_percent", 90),
     ("secrets", {"KEY": "the-value-itself"}), ("secrets", {"key": "a/b"}), ("version", "a b"),
     ("target", 120.0), ("keys_secret", "Keys")],
)  # fmt: skip
def test_settings_that_no_cluster_takes_are_refused_by_their_key(key: str, value: Any) -> None:
    with pytest.raises(InputError, match=key):
        msgspec.structs.replace(PLAIN, **{key: value})


def test_a_canary_gets_its_share_of_the_pods_and_calls_reach_both() -> None:
    made = documents(FULL)
    stable, canary = (d for d in made if d["kind"] == "Deployment")
    assert (canary_replicas(FULL), canary["spec"]["replicas"]) == (2, 2)  # 2 of 6 + 2
    pods = [d["spec"]["template"]["metadata"]["labels"] for d in (stable, canary)]
    selector = one(made, "Service")["spec"]["selector"]
    assert all(selector.items() <= labels.items() for labels in pods)


def test_secrets_are_named_and_never_written() -> None:
    text = to_yaml(documents(FULL))
    assert "secretKeyRef" in text
    assert "kind: Secret\n" not in text


def test_the_metric_that_the_scaler_asks_for_is_one_that_the_adapter_makes() -> None:
    made = {rule["name"]["as"]: rule["metricsQuery"] for rule in adapter_rules()["rules"]["custom"]}
    for scale_on in ("concurrency", "latency"):
        wanted = msgspec.structs.replace(FULL, scale_on=scale_on)
        metric = one(documents(wanted), "HorizontalPodAutoscaler")["spec"]["metrics"][0]
        assert "roadworthy_request_duration_seconds" in made[metric["pods"]["metric"]["name"]]


@pytest.mark.parametrize(
    ("text", "value"),
    [("500m", "0.5"), ("2", "2"), ("1.5Gi", "1610612736"), ("1e3", "1000"), ("5E", str(5 * 10**18)),
     ("-1", None), ("0", None), ("1 Gi", None), ("", None), ("1gb", None)],
)  # fmt: skip
def test_quantities_are_read_as_kubernetes_reads_them(text: str, value: str | None) -> None:
    found = quantity(text)
    assert (None if found is None else float(found)) == (None if value is None else float(value))


names = st.from_regex(r"[a-z0-9]([-a-z0-9]{0,20}[a-z0-9])?", fullmatch=True)


@settings(max_examples=40, deadline=None)
@given(
    name=names,
    least=st.integers(1, 20),
    more=st.integers(0, 20),
    scale_on=st.sampled_from(["cpu", "concurrency", "latency"]),
    percent=st.integers(1, 50),
    canary=st.booleans(),
    tls=st.none() | names,
    monitor=st.booleans(),
)
def test_whatever_the_settings_the_documents_fit_each_other(
    name: str, least: int, more: int, scale_on: Any, percent: int, canary: bool,
    tls: str | None, monitor: bool,
) -> None:  # fmt: skip
    wanted = Settings(
        name=name, image="x:1", replicas=least, max_replicas=least + more, scale_on=scale_on,
        canary_image="x:2" if canary else None, canary_percent=percent, tls_secret=tls,
        service_monitor=monitor,
    )  # fmt: skip
    made = documents(wanted)
    assert check_documents(made) == []
    assert read_yaml(to_yaml(made)) == made


# Helm


def written(folder: Path, wanted: Settings) -> Path:
    for name, content in chart(wanted).items():
        path = folder / wanted.name / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return folder / wanted.name


def run(helm: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([str(helm), *arguments], capture_output=True, text=True, timeout=60)


@pytest.mark.parametrize("wanted", EVERY.values(), ids=EVERY)
def test_the_chart_passes_helms_lint_and_says_what_the_manifests_say(
    helm: Path, tmp_path: Path, wanted: Settings
) -> None:
    folder = str(written(tmp_path, wanted))
    lint = run(helm, "lint", "--strict", folder)
    assert lint.returncode == 0, lint.stdout + lint.stderr
    rendered = run(helm, "template", wanted.name, folder)
    assert rendered.returncode == 0, rendered.stderr
    plain = msgspec.structs.replace(wanted, namespace=None)
    by_name = {(d["kind"], d["metadata"]["name"]): d for d in read_yaml(rendered.stdout)}
    assert by_name == {(d["kind"], d["metadata"]["name"]): d for d in documents(plain)}


def test_values_change_the_chart_and_wrong_ones_are_refused(helm: Path, tmp_path: Path) -> None:
    folder = str(written(tmp_path, PLAIN))
    more = ["--set", "image=other:2", "--set", "replicas=4", "--set", "networkPolicy.enabled=false"]
    made = read_yaml(run(helm, "template", "shop", folder, *more).stdout)
    assert check_documents(made) == []
    assert server(made)["image"] == "other:2"
    assert one(made, "HorizontalPodAutoscaler")["spec"]["minReplicas"] == 4
    assert one(made, "Service")["metadata"]["name"] == "shop"
    assert not [d for d in made if d["kind"] == "NetworkPolicy"]
    for wrong in ("image=other", "replicas=many", "replica=4"):
        refused = run(helm, "template", "shop", folder, "--set", wrong)
        assert refused.returncode != 0
        assert "schema" in refused.stderr


# KServe


def crd(kind: str) -> jsonschema.Draft7Validator:
    """KServe's own resource definition, which refuses what it does not know."""
    definitions = json.loads((Path(__file__).parent / "kserve_crds.json").read_text())
    schema = strict(definitions[kind])
    schema["properties"]["metadata"] = {"type": "object"}
    return jsonschema.Draft7Validator(schema)


def strict(schema: Any) -> Any:
    """The schema as an API server takes it that validates fields strictly."""
    if isinstance(schema, list):
        return [strict(each) for each in schema]
    if not isinstance(schema, dict):
        return schema
    found = {
        key: {name: strict(each) for name, each in value.items()}
        if key == "properties"
        else strict(value)
        for key, value in schema.items()
    }
    if found.get("x-kubernetes-int-or-string"):
        found.pop("type", None)
    if "properties" in found and not found.get("x-kubernetes-preserve-unknown-fields"):
        found.setdefault("additionalProperties", False)
    return found


@pytest.mark.parametrize("storage", [None, "s3://models/adult"])
def test_the_inference_service_is_one_that_kserve_takes(storage: str | None) -> None:
    made = inference_service(FULL, storage)
    assert len(made) == (2 if storage else 1)
    for document in made:
        assert [error.message for error in crd(document["kind"]).iter_errors(document)] == []
        text = json.dumps(document)
        for right, wrong in (
            ('"minReplicas": ', '"minReplica": '), ('"concurrency"', '"latency"'),
            ('"containerPort": 8080', '"containerPort": "http"'), ('"modelFormat"', '"format"'),
            ('"protocolVersions"', '"protocol"'),
        ):  # fmt: skip
            changed = json.loads(text.replace(right, wrong))
            if changed != document:
                assert list(crd(document["kind"]).iter_errors(changed)), wrong
    assert check_documents(made) == []
    service = made[-1]["spec"]["predictor"]
    service["minReplicas"] = 50
    assert any("above maxReplicas" in str(finding) for finding in check_documents(made))
