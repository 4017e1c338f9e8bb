"""The target of a fleet on Google Cloud: a group of machines for each release.

A backend service says which groups callers get. One change of it sends them to the new one, and
writes down who served before.
"""

from __future__ import annotations

import time

from roadworthy.deploy.cloud.fleet import Fleet, make_step
from roadworthy.deploy.cloud.fleet_base import GRACE, FleetRelease
from roadworthy.deploy.evidence import Evidence
from roadworthy.deploy.gcp.fleet.machines import Machines
from roadworthy.deploy.gcp.fleet.releases import object_marks, release_of
from roadworthy.deploy.gcp.fleet.traffic import Traffic
from roadworthy.deploy.gcp.fleet.wanted import BUCKET, SERVICE, TRIAL, bucket_of
from roadworthy.deploy.gcp.provider import GcpProvider
from roadworthy.deploy.gcp.resource import Resource
from roadworthy.deploy.plan import Step
from roadworthy.deploy.wanted import Wanted
from roadworthy.project import GcpSection, Instances, Project


class FleetTarget(Fleet):
    """A fleet.

    Args:
        provider: What it stands on; it also makes the parts of the release.
        project: For `[gates]`, `[behaviour]` and `[serve]`.
        section: `[deploy.NAME]`.
        wanted: What is to be served; None where that is not asked, as in a rollback.
        release: The same as a fleet has it.
        evidence: Where what failed is kept.
        pause: Seconds between two looks at what takes long.
        settling: Seconds until a change has reached all of Google's balancers.
    """

    def __init__(
        self, provider: GcpProvider, project: Project, section: GcpSection,
        wanted: Wanted | None, release: FleetRelease[Resource] | None, evidence: Evidence,
        pause: float = 5.0, settling: float = 60.0,
    ) -> None:  # fmt: skip
        self.provider = provider
        self.release = release
        self.traffic = Traffic(provider, section, pause, settling)
        super().__init__(
            provider, self.traffic, Machines(provider, section), project, section,
            section.instances or Instances(), wanted, release.id if release else "", evidence,
            provider.naming.deployment,
        )  # fmt: skip
        for part in release.parts if release is not None else ():
            provider.parts[part.id] = part

    def _uploaded(self) -> bool:
        assert self.release is not None
        place = f"buckets/{bucket_of(self.provider.naming)}/objects/{self.release.key}"
        return place in {each.path for each in self.provider.things}

    def _own_steps(self) -> tuple[list[Step], tuple[str, ...]]:
        assert self.release is not None
        upload = make_step(
            "upload", f"upload the release, {self.release.archive.stat().st_size:,} bytes",
            {"bucket": bucket_of(self.provider.naming), "object": self.release.key}, (BUCKET,),
        )  # fmt: skip
        return [upload], (f"gcp-scaling-{self.release.id}", "upload")

    def _release_of(self, step: Step) -> str:
        parts = {each.path: release_of(each.part) for each in self.provider.things}
        return parts.get(step.document["path"], "")

    def _upload(self) -> None:
        assert self.release is not None
        naming = self.provider.naming
        self.provider.account.upload(
            bucket_of(naming), self.release.key, self.release.archive,
            object_marks(naming, self.release.id),
        )  # fmt: skip

    def _switch(self) -> None:
        """Both groups first, so that callers always meet one; then the new one alone."""
        release = self._chosen
        self.provider.observe()
        serving, before = self.traffic.serving, list(self.traffic.before)
        old = [serving] if serving and serving != release else []
        self.traffic.point(SERVICE, [*old, release])
        self._until(
            f"the machines of {release} are not healthy for callers",
            lambda: self.traffic.healthy(release) >= 1, GRACE,
        )  # fmt: skip
        time.sleep(self.traffic.settling)
        self.traffic.point(SERVICE, [release], release, self._line(old, before))
        if said := self.traffic.answered(self.traffic.settling + 90):
            if old:
                self.traffic.point(SERVICE, old, old[0], before)
            raise self._reject({"error": said}, f"callers are answered: {said}")
        self.traffic.point(TRIAL, [])

    def _drained(self) -> None:
        time.sleep(self.traffic.settling and self.project.serve.drain_seconds)
