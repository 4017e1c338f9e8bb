"""The target `kubernetes`: what a namespace has, and how a release is tried and swapped in there.

Before callers get a release one pod of it is started aside, under labels that no Service selects,
and is asked its golden rows and held to the gates through the cluster's API. A rollout that does
not come to its end is taken back to the release that served before.
"""

from __future__ import annotations

import json
import queue
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, suppress
from functools import partial
from typing import Any

import msgspec

from roadworthy.acceptance import accept
from roadworthy.bundle import Bundle
from roadworthy.deploy._base import Status, Tenant, There
from roadworthy.deploy.kubernetes import lease, releases, rollout
from roadworthy.deploy.kubernetes.checks import check_documents
from roadworthy.deploy.kubernetes.cluster import Cluster, Document, as_selector
from roadworthy.deploy.kubernetes.comparing import changes
from roadworthy.deploy.kubernetes.documents import deployment
from roadworthy.deploy.kubernetes.forwarding import forwarded
from roadworthy.deploy.kubernetes.releases import RELEASE, Kept, labels_of, pod_labels
from roadworthy.deploy.kubernetes.settings import Settings
from roadworthy.deploy.kubernetes.tenants import tenants
from roadworthy.deploy.plan import Plan, Step, in_order, redone
from roadworthy.errors import CheckFailed, InputError, RoadworthyError
from roadworthy.project import KubernetesSection, Project

_KINDS = (
    "HorizontalPodAutoscaler", "PodDisruptionBudget", "ServiceMonitor", "Service", "Deployment",
    "NetworkPolicy", "ServiceAccount", "ConfigMap",
)  # fmt: skip
_ASIDE = ("ConfigMap", "ServiceAccount", "NetworkPolicy")
"""What a trial needs: made before it, while callers are untouched."""
_WAVES = 5
"""Of a rolling update that moves a quarter of the pods at a time."""
_LOG_LINES = 200


class _Work(msgspec.Struct, frozen=True):
    """A step, what does it, and whether it need not be done."""

    step: Step
    do: Callable[[], object]
    done: bool


class KubernetesTarget:
    """A namespace.

    Args:
        name: The deployment's name.
        section: `[deploy.NAME]`.
        project: For `[gates]`, `[behaviour]` and `[serve]`.
        bundle: What is to be served; None where that is not asked, as in a rollback.
    """

    certain = True  # what is there is compared with what is wanted, by the cluster itself

    def __init__(
        self, name: str, section: KubernetesSection, project: Project, bundle: Bundle | None
    ) -> None:
        self.name = name
        self.section = section
        self.project = project
        self.bundle = bundle
        version = "unknown" if bundle is None else bundle.manifest.short_version
        self.settings: Settings = releases.settings_of(name, section, project, version)
        self.wanted = None if bundle is None else releases.make(bundle, self.settings)
        if self.wanted is not None and (wrong := check_documents(list(self.wanted.documents))):
            raise InputError(f"the manifests would not work: {wrong[0]}", where=f"[deploy.{name}]")
        self.cluster = Cluster(section.kubeconfig, section.context, section.namespace)
        self._work: dict[str, _Work] = {}
        self._before: Kept | None = None

    def lock(self) -> AbstractContextManager[None]:
        """Hold the deployment's Lease."""
        return lease.held(self.cluster, f"{self.name}-deploying", labels_of(self.name))

    def observe(self) -> There:
        """Ask the cluster what serves, and what would change."""
        kept = releases.read(self.cluster, self.name)
        live = self.cluster.get("Deployment", self.name)
        serving = None if live is None else _annotation(live)
        before = [each for each in kept if each.served and each.id != serving]
        # what serves is what was last seen to serve, and not what a run that was cut off began
        proven = next((each for each in kept if each.served), None)
        self._before = proven
        return There(
            serving=serving,
            before=tuple(each.id for each in before),
            facts={each.id: each.model for each in kept},
        )

    def plan(self, there: There) -> Plan:
        """What makes the wanted release serve; the cluster rehearses every change."""
        assert self.wanted is not None
        return self._plan_release(self.wanted, trial=True)

    def plan_rollback(self, there: There, release: str | None) -> Plan:
        """What makes an earlier release serve."""
        if there.serving is None:
            raise InputError("nothing is deployed there", where=self.cluster.where)
        known = [each for each in there.before if release is None or each.startswith(release)]
        if len(known) != 1 and (release is not None or not known):
            raise InputError(
                f"{release or 'an earlier release'} cannot be rolled back to",
                where=self.cluster.where,
                fix=f"releases that are kept: {', '.join(there.before) or 'none'}",
            )
        kept = releases.read(self.cluster, self.name)
        return self._plan_release(next(e for e in kept if e.id == known[0]), trial=False)

    def plan_destroy(self, there: There) -> Plan:
        """What takes away everything that carries the deployment's labels."""
        found = [
            self._removal(kind, each["metadata"]["name"])
            for kind in _KINDS
            for each in self._marked(kind)
        ]
        self._work = {each.step.id: each for each in found}
        serving = there.serving or ""
        return self._plan(serving, there.facts.get(serving, ""), serving.partition("-")[0])

    def _plan_release(self, release: Kept, *, trial: bool) -> Plan:
        work = [self._keeping(release), *(self._applying(each) for each in release.documents)]
        aside = [each for each in work if each.step.document.get("kind") in _ASIDE]
        rest = [each for each in work if each not in aside]
        swap = next(each for each in rest if each.step.id == self._id("Deployment", self.name))
        if trial:
            aside.append(self._trying(release, done=swap.done))
        done = all(each.done for each in work)
        work = [*aside, *rest, self._noting(release, done=done), *self._pruning(release)]
        self._work = {}
        for each in work:  # each after all before it: a rollout is not begun on half a namespace
            needs = tuple(self._work)[-1:]
            step = msgspec.structs.replace(each.step, needs=needs)
            self._work[step.id] = _Work(step, each.do, each.done)
        return self._plan(release.id, release.model, release.version)

    def _plan(self, release: str, model: str, version: str) -> Plan:
        removals = {k: w.step for k, w in self._work.items() if w.step.change == "delete"}
        steps = redone(
            [work.step for work in self._work.values()],
            {key: work.done for key, work in self._work.items()},
        )
        return Plan(
            deployment=self.name,
            place=self.section.place,
            model=model,
            version=version,
            release=release,
            steps=in_order([removals.get(step.id, step) for step in steps]),
        )

    def _id(self, kind: str, name: str) -> str:
        return f"{kind.lower()}-{name}" if name != self.name else kind.lower()

    def _keeping(self, release: Kept) -> _Work:
        kept = releases.to_map(self.name, self.section.namespace, release)
        there = self.cluster.get("ConfigMap", kept["metadata"]["name"]) is not None
        step = Step(
            id="release",
            what=f"keep the documents of release {release.id} in the namespace",
            change="create",
            document={"kind": "ConfigMap", "name": kept["metadata"]["name"]},
        )
        return _Work(step, partial(self.cluster.apply, kept), there)

    def _applying(self, document: Document) -> _Work:
        kind, name = document["kind"], document["metadata"]["name"]
        live = self.cluster.get(kind, name)
        if live is not None and _owner(live) != self.name:
            raise InputError(
                f"{kind} {name} was not made by this deployment, and is left alone",
                where=self.cluster.where,
                fix="take it away, or give the deployment another name",
            )
        after = self.cluster.apply(document, rehearse=True)
        differences = [] if live is None else changes(live, after)
        rolls = kind == "Deployment"
        done = live is not None and not differences and (not rolls or rollout.is_rolled_out(live))
        what = f"make {kind} {name}" if live is None else f"change {kind} {name}"
        if differences:
            what += f": {'; '.join(differences[:3])}{'; …' if len(differences) > 3 else ''}"
        step = Step(
            id=self._id(kind, name),
            what=f"{what}, and wait until its pods are ready" if rolls else what,
            change="create",
            document={"kind": kind, "changes": differences, "document": document},
            command="kubectl apply --server-side --field-manager roadworthy -f -",
        )
        if rolls:
            return _Work(step, partial(self._roll, document), done)
        return _Work(step, partial(self.cluster.apply, document), done)

    def _trying(self, release: Kept, *, done: bool) -> _Work:
        step = Step(
            id="trial",
            what="start one pod aside, and hold it to its golden rows and the gates",
            change="create",
            document={"kind": "Deployment", "name": f"{self.name}-trial"},
        )
        return _Work(step, partial(self._try, release), done)

    def _noting(self, release: Kept, *, done: bool) -> _Work:
        step = Step(
            id="record", what=f"write down that release {release.id} serves", change="create"
        )
        noted = self._before is not None and self._before.id == release.id
        note = partial(releases.note_served, self.cluster, self.name, release.id)
        return _Work(step, note, done and noted)

    def _pruning(self, release: Kept) -> list[_Work]:
        """What carries our labels and is of no release that is kept."""
        kept = [each.id for each in releases.read(self.cluster, self.name) if each.served]
        first = [release.id, *(each for each in kept if each != release.id)][: self.section.keep]
        wanted = {(d["kind"], d["metadata"]["name"]) for d in release.documents}
        found = []
        for kind in _KINDS:
            for each in self._marked(kind):
                name = each["metadata"]["name"]
                role = each["metadata"].get("labels", {}).get("roadworthy.dev/role")
                if role == "evidence" or (kind, name) in wanted:
                    continue
                if role == "release" and _annotation(each) in first:
                    continue
                found.append(self._removal(kind, name))
        return found

    def _marked(self, kind: str) -> list[Document]:
        marks = [labels_of(self.name), labels_of(f"{self.name}-trial")]
        return [found for mark in marks for found in self.cluster.list(kind, as_selector(mark))]

    def _removal(self, kind: str, name: str) -> _Work:
        step = Step(
            id=f"remove-{kind.lower()}-{name}",
            what=f"take {kind} {name} away",
            change="delete",
            document={"kind": kind, "name": name},
            command=f"kubectl delete -n {self.section.namespace} {kind.lower()} {name}",
        )
        return _Work(step, partial(self.cluster.delete, kind, name), done=False)

    def perform(self, step: Step) -> None:
        """Do a step in the cluster."""
        self._work[step.id].do()

    def _try(self, release: Kept) -> None:
        """Golden rows, gates and behaviour against a pod that no caller reaches."""
        assert self.bundle is not None
        trial = f"{self.name}-trial"
        aside = msgspec.structs.replace(self.settings, name=trial, replicas=1, max_replicas=1)
        document = deployment(aside, "stable", aside.image)
        document["spec"]["template"]["spec"]["serviceAccountName"] = self.name
        try:
            self.cluster.apply(document)
            failed = rollout.wait(self.cluster, trial, self.section.start_seconds)
            pods = rollout.pods_of(self.cluster, pod_labels(trial))
            if failed is not None:
                raise self._refuse(release.id, pods, failed, {})
            self._judge(release, pods)
        finally:
            with suppress(RoadworthyError):  # the next run takes it away
                self.cluster.delete("Deployment", trial)

    def _judge(self, release: Kept, pods: list[Document]) -> None:
        assert self.bundle is not None
        pod = pods[0]["metadata"]["name"]
        gates = msgspec.structs.replace(  # through the API, the way there would be measured
            self.project.gates, latency_p50_ms=None, latency_p99_ms=None
        )
        project = msgspec.structs.replace(self.project, gates=gates)
        try:
            with forwarded(self.cluster, pod, self.settings.port) as url:
                verdict = accept(self.bundle, None, project, url=url)
        except RoadworthyError as error:
            raise self._refuse(release.id, pods, str(error.what), {"error": str(error)}) from None
        if not verdict.passed:
            reasons = "; ".join(f"{c.name}: {c.reason}" for c in verdict.stopping())
            raise self._refuse(release.id, pods, reasons, msgspec.to_builtins(verdict))

    def _refuse(
        self, release: str, pods: list[Document], reasons: str, verdict: dict[str, Any]
    ) -> CheckFailed:
        """Keep what the release answered and its log."""
        lines: list[str] = []
        for pod in pods[:3]:
            with suppress(RoadworthyError):
                lines += self.cluster.log(pod["metadata"]["name"], _LOG_LINES)
        files = {"reason": reasons, "log": "\n".join(lines)[-100_000:]}
        if verdict:
            files["verdict.json"] = json.dumps(verdict, indent=2, default=str)[:500_000]
        kept = releases.evidence_map(self.name, self.section.namespace, release, files)
        with suppress(RoadworthyError):  # the verdict must not be hidden
            self.cluster.apply(kept)
        shown = "\n    ".join(lines[-10:])
        return CheckFailed(
            f"the release does not pass: {reasons}; callers still get what they got before\n"
            f"    {shown}".rstrip(),
            where=f"{self.cluster.where}, ConfigMap {kept['metadata']['name']}",
            fix="the log and the answers are kept there; mend the cause and run again",
        )

    def _roll(self, document: Document) -> None:
        """Change the pods a few at a time; what does not come up is taken back."""
        name = document["metadata"]["name"]
        self.cluster.apply(document)
        seconds = self.section.start_seconds * _WAVES + self.project.serve.drain_seconds
        failed = rollout.wait(self.cluster, name, seconds)
        if failed is None:
            return
        pods = rollout.pods_of(self.cluster, document["spec"]["selector"]["matchLabels"])
        old = self._before.documents if self._before is not None else ()
        named = ((each["kind"], each["metadata"]["name"], each) for each in old)
        back = next((d for kind, title, d in named if (kind, title) == ("Deployment", name)), None)
        refusal = self._refuse(_annotation(document) or "", pods, failed, {})
        if back is None:
            self.cluster.delete("Deployment", name)
        else:
            self.cluster.apply(back)
            rollout.wait(self.cluster, name, seconds)
        raise refusal

    def tenants(self) -> tuple[Tenant, ...]:
        """Every deployment of the namespace."""
        return tenants(self.cluster, _KINDS)

    def status(self) -> Status:
        """What the namespace is doing."""
        there = self.observe()
        live = self.cluster.get("Deployment", self.name) or {}
        state = live.get("status", {})
        evidence = self.cluster.list("ConfigMap", releases.selector_of(self.name, "evidence"))
        pods = rollout.pods_of(self.cluster, pod_labels(self.name))
        return Status(
            deployment=self.name,
            place=self.section.place,
            serving=there.serving,
            ready=bool(there.serving and state.get("availableReplicas", 0) > 0),
            releases=tuple([there.serving] if there.serving else []) + there.before,
            details={
                "pods": f"{state.get('availableReplicas', 0)} of {state.get('replicas', 0)} ready",
                "rolled out": "yes" if live and rollout.is_rolled_out(live) else "no",
                "restarts": sum(_restarts(pod) for pod in pods),
                "failed": [each["metadata"]["name"] for each in evidence],
            },
        )

    def logs(self, lines: int, *, follow: bool) -> Iterator[str]:
        """The last lines of every pod's log, each behind the pod's name."""
        pods = rollout.pods_of(self.cluster, pod_labels(self.name))
        names = [pod["metadata"]["name"] for pod in pods]
        if not follow:
            for name in names:
                yield from (f"{name} {line}" for line in self.cluster.log(name, lines))
            return
        said: queue.Queue[str | None] = queue.Queue()

        def read(name: str) -> None:
            try:
                for line in self.cluster.log(name, lines, follow=True):
                    said.put(f"{name} {line}")
            finally:
                said.put(None)

        for name in names:
            threading.Thread(target=read, args=(name,), daemon=True).start()
        for _ in names:
            yield from iter(said.get, None)


def _annotation(document: Document) -> str | None:
    found: str | None = document["metadata"].get("annotations", {}).get(RELEASE)
    return found


def _owner(document: Document) -> str | None:
    labels = document["metadata"].get("labels", {})
    ours = labels.get("app.kubernetes.io/managed-by") == "roadworthy"
    return labels.get("app.kubernetes.io/instance") if ours else None


def _restarts(pod: Document) -> int:
    states = pod.get("status", {}).get("containerStatuses", [])
    return sum(int(state.get("restartCount", 0)) for state in states)
