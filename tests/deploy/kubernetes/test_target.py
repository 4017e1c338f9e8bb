"""`target = "kubernetes"`, through an API that is strict, with pods that are real servers."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from roadworthy.acceptance import accepting
from roadworthy.deploy import deploying
from roadworthy.deploy.kubernetes import check_documents, read_yaml
from roadworthy.deploy.kubernetes.comparing import changes
from roadworthy.errors import CheckFailed, InputError, OutsideError, RoadworthyError
from roadworthy.project import KubernetesSection, Project, load_project
from tests.conftest import Trained, serving
from tests.deploy.kubernetes.apiserver import ApiServer, deep, flat
from tests.registry.conftest import registry_project

ONE, TWO = "registry.example.org/adult:1", "registry.example.org/adult:2"
CRASHES, ABSENT = "registry.example.org/adult:crashes", "registry.example.org/adult:absent"


@pytest.fixture(scope="module")
def ports(versions: list[Trained]) -> Iterator[dict[str, int]]:
    """Images, each served by a real process."""
    with serving(versions[0].bundle.path) as first, serving(versions[1].bundle.path) as second:
        yield {ONE: first.port, TWO: second.port, CRASHES: 0}


class Place:
    """A cluster, a project that deploys to it, and a registry."""

    def __init__(self, folder: Path, ports: dict[str, int], versions: list[Trained]) -> None:
        self.api = ApiServer()
        self.api.images = ports
        self.versions = versions
        self.config = folder / "kubeconfig"
        self.config.write_text(self.api.kubeconfig())
        self.folder = folder

    def project(self, image: str = ONE, **options: Any) -> Project:
        told: dict[str, Any] = {"namespace": "models", "start_seconds": 60, "replicas": 2}
        told |= {"kubeconfig": str(self.config), "image": image, **options}
        project = registry_project(self.folder)
        return msgspec.structs.replace(project, deploy={"prod": KubernetesSection(**told)})

    def apply(self, version: int, image: str, **options: Any) -> list[str]:
        bundle = str(self.versions[version].bundle.path)
        done = deploying.apply(self.project(image, **options), "prod", bundle)
        return [step.id for step in done.changes]

    def names(self, kind: str) -> list[str]:
        return sorted(name for of, name in self.api.objects if of == kind)


@pytest.fixture
def place(
    tmp_path: Path,
    ports: dict[str, int],
    versions: list[Trained],
    monkeypatch: pytest.MonkeyPatch,
    request: pytest.FixtureRequest,
) -> Iterator[Place]:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    monkeypatch.setattr("roadworthy.deploy.kubernetes.rollout._PAUSE", 0.0)
    if (
        "and_then_nothing_more" not in request.node.name
    ):  # a thousand requests for the time that they take
        monkeypatch.setattr(accepting, "measure_costs", lambda subject, bundle: {})
    found = Place(tmp_path, ports, versions)
    try:
        yield found
    finally:
        found.api.close()


def test_a_plan_changes_nothing_and_apply_makes_what_it_says_and_then_nothing_more(
    place: Place,
) -> None:
    bundle = str(place.versions[0].bundle.path)
    planned = deploying.plan(place.project(), "prod", bundle)
    assert place.api.objects == {}
    assert place.apply(0, ONE) == [step.id for step in planned.changes]
    assert place.api.reached("prod") == {ONE}
    assert len(place.names("Pod")) == 1  # the least, of which a scaler makes more
    assert place.names("Lease") == []
    assert place.names("Deployment") == ["prod"]  # the trial is gone
    again = deploying.plan(place.project(), "prod", bundle)
    assert [step.id for step in again.changes] == []
    assert place.apply(0, ONE) == []
    found = deploying.status(place.project(), "prod")
    assert (found.ready, found.serving) == (True, planned.release)
    assert any("a line of the log" in line for line in deploying.logs(place.project(), "prod"))


def test_a_plan_shows_the_fields_that_would_change(place: Place) -> None:
    place.apply(0, ONE)
    bundle = str(place.versions[0].bundle.path)
    steps = deploying.plan(place.project(cpu="250m"), "prod", bundle).changes
    step = next(each for each in steps if each.id == "deployment")
    path = "spec.template.spec.containers.0.resources.requests.cpu: 1 -> 250m"
    assert path in step.document["changes"]
    assert all(each.id not in ("service", "networkpolicy") for each in steps)


def test_a_new_release_replaces_the_old_and_rollback_brings_it_back_whole(place: Place) -> None:
    place.apply(0, ONE, replicas=2)
    first = deploying.status(place.project(), "prod").serving
    place.apply(1, TWO, max_replicas=2)  # which is not scaled: its scaler has to go
    assert place.api.reached("prod") == {TWO}
    assert place.names("HorizontalPodAutoscaler") == []
    assert len(place.names("Pod")) == 2
    done = deploying.rollback(place.project(TWO, max_replicas=2), "prod")
    assert done.release == first
    assert place.api.reached("prod") == {ONE}
    assert place.names("HorizontalPodAutoscaler") == ["prod"]
    with pytest.raises(InputError, match="cannot be rolled back to"):
        deploying.rollback(place.project(), "prod", "123456")


@pytest.mark.parametrize(
    ("image", "reason"),
    [(CRASHES, "CrashLoopBackOff"), (ABSENT, "ImagePullBackOff"), (ONE, "version")],
)
def test_a_release_that_crashes_or_is_another_than_was_tested_reaches_no_caller(
    place: Place, image: str, reason: str
) -> None:
    place.apply(0, ONE)
    serving_before = deploying.status(place.project(), "prod").serving
    with pytest.raises(CheckFailed, match=reason) as failed:
        place.apply(1, image)
    assert "callers still get what they got before" in str(failed.value)
    assert place.api.reached("prod") == {ONE}
    assert place.names("Deployment") == ["prod"]
    found = deploying.status(place.project(), "prod")
    assert found.serving == serving_before
    (evidence,) = found.details["failed"]
    assert reason in place.api.objects["ConfigMap", evidence]["data"]["reason"]
    assert place.apply(1, TWO)  # and what was left behind is no hindrance
    assert place.api.reached("prod") == {TWO}


def test_a_rollout_that_stops_midway_is_taken_back(place: Place) -> None:
    place.apply(0, ONE)
    tried: list[str] = []

    def breaks_after_the_trial(method: str, kind: str, name: str) -> None:
        tried.append(name)
        if (method, kind, name) == ("DELETE", "Deployment", "prod-trial"):
            place.api.images = {**place.api.images, TWO: 0}

    place.api.refuse = breaks_after_the_trial
    with pytest.raises(CheckFailed, match="CrashLoopBackOff"):
        place.apply(1, TWO)
    assert place.api.reached("prod") == {ONE}
    live = place.api.objects["Deployment", "prod"]
    assert live["spec"]["template"]["spec"]["containers"][0]["image"] == ONE


def test_a_canary_gets_its_share_and_goes_when_it_is_no_longer_wanted(place: Place) -> None:
    place.apply(0, ONE, canary_image=TWO, canary_percent=50, max_replicas=2)
    assert place.api.reached("prod") == {ONE, TWO}
    place.apply(0, ONE, max_replicas=2)
    assert place.api.reached("prod") == {ONE}
    assert place.names("Deployment") == ["prod"]


def test_destroy_takes_away_what_it_made_and_nothing_else(place: Place) -> None:
    place.apply(0, ONE)
    foreign = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "other"}}
    place.api._create("ServiceAccount", foreign)
    deploying.destroy(place.project(), "prod")
    assert set(place.api.objects) == {("ServiceAccount", "other")}
    assert deploying.plan_destroy(place.project(), "prod").changes == ()


def test_an_object_that_others_made_is_left_alone(place: Place) -> None:
    foreign = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "prod"}}
    place.api._create("ServiceAccount", foreign)
    with pytest.raises(InputError, match="was not made by this deployment"):
        place.apply(0, ONE)
    assert set(place.api.objects) == {("ServiceAccount", "prod")}


def test_a_field_that_somebody_else_owns_is_said_and_not_taken(place: Place) -> None:
    place.apply(0, ONE)
    place.api.other_manager("HorizontalPodAutoscaler", "prod", ("spec", "maxReplicas"), 40)
    with pytest.raises(OutsideError, match=r"conflict with 'somebody': spec.maxReplicas"):
        place.apply(0, ONE, cpu="2")
    assert place.api.objects["HorizontalPodAutoscaler", "prod"]["spec"]["maxReplicas"] == 40


def test_only_releases_that_are_to_be_kept_stay(place: Place) -> None:
    for cpu in ("1", "2", "3"):
        place.apply(0, ONE, cpu=cpu, keep=2)
    assert len(place.names("ConfigMap")) == 2
    assert place.apply(0, ONE, cpu="3", keep=2) == []


def test_one_deployment_at_a_time_and_a_dead_one_lets_go(place: Place) -> None:
    project = place.project()
    from roadworthy.deploy.opening import open_target

    with open_target(project, "prod", project.deploy["prod"], None) as target:
        with target.lock(), pytest.raises(OutsideError, match="another deployment is at work"):
            place.apply(0, ONE)
        with target.lock():
            lease = place.api.objects["Lease", "prod-deploying"]
            lease["spec"]["holderIdentity"] = "another-machine/1/2/x"
            lease["spec"]["renewTime"] = "2026-01-01T00:00:00.000000Z"
            assert place.apply(0, ONE)


def test_wherever_a_run_is_cut_off_callers_are_served_and_the_next_run_ends_it(
    place: Place,
) -> None:
    """From every fourth call on that changes something, all are refused."""
    place.apply(0, ONE)
    writes = {"n": 0, "until": 0}

    def cut(method: str, kind: str, name: str) -> int | None:
        if method != "GET" and kind != "Lease":
            writes["n"] += 1
            if writes["until"] and writes["n"] > writes["until"]:
                return 403
        return None

    place.api.refuse = cut
    for turn, until in enumerate(range(1, 60, 4)):
        version, image = (1, TWO) if turn % 2 == 0 else (0, ONE)
        writes.update(n=0, until=until)
        try:
            place.apply(version, image)
        except RoadworthyError:
            assert place.api.reached("prod") in ({ONE}, {TWO})
            writes["until"] = 0
            place.apply(version, image)
        else:
            break
        assert place.api.reached("prod") == {image}
        assert place.apply(version, image) == []
    assert until > 8


@pytest.mark.parametrize(
    ("code", "error", "text"),
    [(401, OutsideError, "access is denied"), (403, OutsideError, "access is denied"),
     (422, InputError, "does not take"), (503, OutsideError, "answered 503"),
     (429, OutsideError, "answered 429")],
)  # fmt: skip
def test_what_the_api_refuses_is_said_in_words(
    place: Place, code: int, error: type[RoadworthyError], text: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setattr("time.sleep", lambda seconds: None)
    place.api.refuse = lambda method, kind, name: code if method == "PATCH" else None
    with pytest.raises(error, match=text):
        deploying.plan(place.project(), "prod", str(place.versions[0].bundle.path))
    assert place.api.objects == {}


def test_an_api_that_is_busy_for_a_moment_is_asked_again(place: Place) -> None:
    asked: dict[tuple[str, str, str], int] = {}

    def busy(method: str, kind: str, name: str) -> int | None:
        asked[method, kind, name] = asked.get((method, kind, name), 0) + 1
        return 429 if asked[method, kind, name] % 2 else None

    place.api.refuse = busy
    assert place.apply(0, ONE)
    assert place.api.reached("prod") == {ONE}


def test_a_namespace_a_context_or_a_kind_that_is_absent_is_an_error_that_says_so(
    place: Place,
) -> None:
    for options, text in (
        ({"namespace": "nowhere"}, "there is no namespace nowhere"),
        ({"context": "elsewhere"}, "kubeconfig cannot be used"),
        ({"kubeconfig": "absent"}, "kubeconfig cannot be used"),
        ({"service_monitor": True}, "ServiceMonitor"),
    ):
        with pytest.raises(InputError, match=text):
            place.apply(0, ONE, **options)


def output(program: Path, *arguments: str) -> str:
    run = subprocess.run(
        [str(program), *arguments], capture_output=True, text=True, timeout=120, check=False
    )
    assert run.returncode == 0, run.stderr
    return run.stdout


def test_what_is_exported_is_what_is_applied(place: Place, kubectl: Path, helm: Path) -> None:
    bundle = str(place.versions[0].bundle.path)
    out = place.folder / "out"
    found = deploying.export(place.project(), "prod", bundle, "", out, {})
    assert all((out / name).is_file() for name in found["files"])
    assert "chart/prod/values.schema.json" in found["files"]
    steps = deploying.plan(place.project(), "prod", bundle).steps
    applied = [step.document["document"] for step in steps if "document" in step.document]
    assert read_yaml((out / "manifests.yaml").read_text()) == applied
    assert check_documents(applied) == []
    assert check_documents(read_yaml((out / "kserve.yaml").read_text())) == []

    def named(made: str) -> dict[tuple[str, str], dict[str, Any]]:
        return {(each["kind"], each["metadata"]["name"]): each for each in read_yaml(made)}

    wanted = {(each["kind"], each["metadata"]["name"]): each for each in applied}
    assert named(output(kubectl, "kustomize", str(out))) == wanted
    section = place.project().deploy["prod"]
    assert isinstance(section, KubernetesSection)
    options = ("--namespace", section.namespace)
    rendered = named(output(helm, "template", "prod", str(out / "chart" / "prod"), *options))
    assert rendered.keys() == wanted.keys()
    for key, each in rendered.items():  # Helm puts them into the namespace, without saying so
        assert each.get("spec") == wanted[key].get("spec")


def test_no_token_is_in_an_error_or_a_plan(place: Place) -> None:
    place.api.token = "another"
    with pytest.raises(OutsideError) as failed:
        place.apply(0, ONE)
    assert "cluster-token" not in str(failed.value)


@pytest.mark.parametrize(
    ("line", "text"),
    [('image = "a:1"\nsecrets = ["TOKEN"]', "secret_refs"), ('image = "a:1"\nport = 80', "port"),
     ('image = "a:1"\nreplicas = 11', "replicas"), ('image = "a:1"\nscale_target = 120', "scale"),
     ('image = "a:1"\nreplica = 3', "replica"), ("", "image")],
)  # fmt: skip
def test_a_section_that_no_cluster_takes_is_refused(tmp_path: Path, line: str, text: str) -> None:
    file = tmp_path / "roadworthy.toml"
    file.write_text(f'[deploy.prod]\ntarget = "kubernetes"\n{line}\n')
    with pytest.raises(InputError, match=text):
        load_project(file)


leaves = st.booleans() | st.integers() | st.text(max_size=5)
parts = leaves | st.lists(leaves, max_size=3)
inner = parts | st.dictionaries(st.text(max_size=4), parts, max_size=3)
trees = st.dictionaries(st.text(max_size=4), inner | st.lists(inner, max_size=2), max_size=4)


@given(document=trees, version=st.integers())
def test_objects_that_differ_only_in_what_the_cluster_keeps_are_the_same(
    document: dict[str, Any], version: int
) -> None:
    document.pop("metadata", None)
    document.pop("status", None)
    live = {**document, "metadata": {"name": "x", "resourceVersion": str(version)}, "status": {}}
    assert changes(live, {**document, "metadata": {"name": "x"}}) == []


@given(before=trees, after=trees)
def test_objects_that_differ_have_a_change_each_way(
    before: dict[str, Any], after: dict[str, Any]
) -> None:
    for each in (before, after):
        each.pop("metadata", None)
        each.pop("status", None)
    found = changes({**before, "metadata": {}}, {**after, "metadata": {}})
    assert bool(found) == (before != after)
    assert len(found) == len(changes({**after, "metadata": {}}, {**before, "metadata": {}}))


def test_the_apis_own_merge_keeps_lists_with_keys_whole() -> None:
    document = {"spec": {"containers": [{"name": "a", "env": [{"name": "X", "value": "1"}]}],
                         "empty": {}, "plain": [1, 2]}}  # fmt: skip
    assert deep(flat(document)) == document
