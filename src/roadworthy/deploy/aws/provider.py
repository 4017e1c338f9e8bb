"""The provider `aws`."""

from __future__ import annotations

import contextlib
import shlex
import time
from collections.abc import Iterable, Sequence
from typing import Any

from roadworthy.deploy._base import Tenant
from roadworthy.deploy.aws.account import Account, CutOffError
from roadworthy.deploy.aws.call import Call, tags
from roadworthy.deploy.aws.ci import CI_KINDS, CI_MARK, variables
from roadworthy.deploy.aws.exporting import export
from roadworthy.deploy.aws.fleet.kinds import FLEET
from roadworthy.deploy.aws.fleet.standing import STANDING
from roadworthy.deploy.aws.fleet.wanted import OUTER
from roadworthy.deploy.aws.kind import Kind, Thing
from roadworthy.deploy.aws.kinds import EC2, call
from roadworthy.deploy.aws.lock import LOCK, held
from roadworthy.deploy.aws.part import Naming, Part
from roadworthy.deploy.aws.parts import all_parts
from roadworthy.deploy.aws.registry import FIREWALL as DATABASE_FIREWALL
from roadworthy.deploy.aws.registry import REGISTRY, registry_of
from roadworthy.deploy.aws.role import machine_of
from roadworthy.deploy.aws.telling import silent_step, telling_steps
from roadworthy.deploy.aws.wanted import ADDRESS, AGENT, HAD_ROLE, INSTANCE, has_role
from roadworthy.deploy.aws.watching import WATCHING
from roadworthy.deploy.cloud.console import best_key, host_keys_in
from roadworthy.deploy.cloud.provider import DEPLOYMENT, MODEL, PART, Found, Machine
from roadworthy.deploy.cloud.terraform import Beside
from roadworthy.deploy.host.layout import Layout
from roadworthy.deploy.host.steps import HostStep
from roadworthy.deploy.plan import Step
from roadworthy.errors import InputError, OutsideError
from roadworthy.project import AwsSection, Project

HOST_KEY = "roadworthy-host-key"
"""The tag by which an instance's host key is kept."""
KINDS = CI_KINDS | WATCHING | FLEET | REGISTRY | EC2
_WAITS = {
    "StopInstances": "instance_stopped",
    "TerminateInstances": "instance_terminated",
}
_ATTEMPTS = 4
_LISTED = 8


def open_aws(project: Project, name: str, section: AwsSection, model: str | None) -> AwsProvider:
    """The provider for a deployment; raises as `Account`."""
    naming = Naming(name, model or "")
    return AwsProvider(naming, section, project, Account(section.region, section.profile))


class AwsProvider:
    """A deployment on AWS.

    Args:
        naming: Its name, and the model's.
        section: `[deploy.NAME]`.
        project: For `[monitor]`, and what is exported.
        account: Where the calls go.
    """

    name = "aws"

    def __init__(
        self, naming: Naming, section: AwsSection, project: Project, account: Account
    ) -> None:
        self.naming = naming
        self.section = section
        self.account = account
        self.place = section.place
        self.project = project
        self.parts = all_parts(naming, section, project)
        self.seen: list[tuple[str, Thing]] = []
        self._known: dict[str, str] = {}

    @property
    def known(self) -> dict[str, str]:
        """Part -> what AWS calls it, as it was last seen or made; and the account."""
        return self._known

    @property
    def ci(self) -> dict[str, str]:
        """What the pipeline's environment must hold, as it was last seen."""
        return variables({each.part: each.there for _, each in self.seen}, self.section.region)

    def close(self) -> None:
        """End connections."""
        self.account.close()

    def lock(self) -> contextlib.AbstractContextManager[None]:
        """Hold the deployment's parameter in the parameter store."""
        return held(self.account, self.naming)

    def steps(self) -> tuple[Step, ...]:
        """A step a part."""
        return tuple(part.step(self.account.region) for part in self.parts.values())

    def terraform(self, beside: Beside | None) -> dict[str, Any]:
        """What a deployment of a name of its own would have; raises as `export`."""
        return export(self.naming, self.section, self.project, beside)

    def beside(self, layout: Layout) -> Sequence[HostStep]:
        """With alarms the machine tells of itself by its role; without them it does not."""
        if self.section.alarms:
            return telling_steps(layout, self.naming, self.section)
        return (silent_step(layout),)

    def image(self) -> Machine:
        """Debian 12, on the processor of the instance's type."""
        facts = {"python": "3.11", "glibc": "2.36", "ssh_port": "22", "system": "Debian 12",
                 "machine": machine_of(self.section.instance_type)}  # fmt: skip
        return Machine(address="", user=self.section.user, facts=facts)

    def observe(self) -> Found:
        """Look for everything by its tag, after a check of every call that would be made."""
        for part in self.parts.values():
            for one in part.calls:
                self.account.check(one)
        self.seen = things = self.things()
        self._known = self._account() | _named(reversed(things))
        steps, differences = {}, {}
        for kind, each in things:
            wanted = self.parts.get(each.part)
            if wanted is not None and self._known[each.part] == each.id:
                said = KINDS[kind].differs(each.there, wanted, self._known)
                steps[each.part] = not said
                if said:
                    differences[each.part] = said
        surplus = tuple(
            self.removal_of(kind, each) for kind, each in things
            if each.part not in self.parts or self._known[each.part] != each.id
        )  # fmt: skip
        return Found(
            steps=steps, surplus=surplus, differences=differences, machine=self._machine(things),
            model=next((each.model for _, each in things), ""),
            facts={"instance": self._state(things), **self.ci}, registry=registry_of(things),
        )  # fmt: skip

    def _account(self) -> dict[str, str]:
        """What some names hold."""
        wanted = self.section
        named = wanted.access == "ssm" or wanted.ci or wanted.alarms or wanted.database
        if not (wanted.fleet or named):
            return {}
        return {"account": self.account.id, "partition": self.account.partition}

    def things(self) -> list[tuple[str, Thing]]:
        """Everything of the deployment with its kind, in the order of removal.

        Of several that are one part, what the others use comes first.
        """
        found = self._found(WATCHING | EC2)
        marks = {each.part for _, each in found}  # firewalls, which go last, say what else is there
        if self.section.fleet or OUTER in marks:
            found += self._found(FLEET)
        elif has_role(self.section) or any(HAD_ROLE in each.tags for _, each in found):
            found += self._found({kind: STANDING[kind] for kind in ("profile", "role", "logs")})
        if self.section.fleet or self.section.database or marks & {OUTER, DATABASE_FIREWALL}:
            found += self._found(REGISTRY)
        if self.section.ci or any(CI_MARK in each.tags for _, each in found):
            found += self._found(CI_KINDS)
        order, used = {kind: place for place, kind in enumerate(KINDS)}, _used(found)
        return sorted(found, key=lambda one: (order[one[0]], one[1].id not in used, one[1].id))

    def _found(self, kinds: dict[str, Kind]) -> list[tuple[str, Thing]]:
        return [
            (kind, each)
            for kind, how in kinds.items()
            for each in how.find(self.account, self.naming.deployment)
        ]

    def _one(self, part: Part) -> Thing | None:
        found = KINDS[part.kind].find(self.account, self.naming.deployment)
        known = self._known.get(part.id)
        mine = sorted((each for each in found if each.part == part.id), key=lambda each: each.id)
        return next((each for each in mine if each.id == known), mine[0] if mine else None)

    def _state(self, things: list[tuple[str, Thing]]) -> str:
        there = next((each.there for _, each in things if each.part == INSTANCE), None)
        return "none" if there is None else f"{there['InstanceId']} {there['State']['Name']}"

    def _machine(self, things: list[tuple[str, Thing]]) -> Machine | None:
        found = {each.part: each for _, each in reversed(things)}
        if INSTANCE not in found or ADDRESS not in found:
            return None
        instance, address = found[INSTANCE], found[ADDRESS]
        if address.there.get("InstanceId") != instance.id:
            return None
        pinned = instance.tags.get(HOST_KEY)
        return Machine(
            address=str(address.there["PublicIp"]),
            user=self.section.user,
            proxy=self._proxy(instance.id),
            host_keys=(pinned,) if pinned else self._said(instance.id),
            pinned=bool(pinned),
            facts=self.image().facts,
        )

    def _proxy(self, instance: str) -> str:
        """Where no port is open: SSH by way of Systems Manager, with its own command line."""
        if self.section.access == "ssh":
            return ""
        line = ["aws", "ssm", "start-session", "--region", self.account.region,
                "--target", instance, "--document-name", "AWS-StartSSHSession",
                "--parameters", "portNumber=22"]  # fmt: skip
        if self.section.profile:
            line += ["--profile", self.section.profile]
        # the percent sign has a meaning of its own in ProxyCommand
        return shlex.join(line).replace("%", "%%")

    def _said(self, instance: str) -> tuple[str, ...]:
        """The host keys that cloud-init printed on the console at the first boot."""
        answer = self.account.call(call("GetConsoleOutput", InstanceId=instance))
        return host_keys_in(str(answer.get("Output", "")))  # botocore has decoded it

    def pin(self, host_keys: tuple[str, ...]) -> None:
        """Keep the first host key in a tag of the instance."""
        kept = best_key(host_keys)
        self.account.call(
            call("CreateTags", Resources=[self._known[INSTANCE]],
                 Tags=[{"Key": HOST_KEY, "Value": kept}])
        )  # fmt: skip

    def tenants(self) -> tuple[Tenant, ...]:
        """Every deployment of the region that carries the tag."""
        asked = Call(service="resourcegroupstaggingapi", operation="GetResources",
                     parameters={"TagFilters": [{"Key": DEPLOYMENT}]})  # fmt: skip
        parts: dict[str, list[str]] = {}
        models: dict[str, str] = {}
        for each in self.account.call(asked).get("ResourceTagMappingList") or []:
            marks = tags(each)
            if marks.get(PART) != LOCK:
                parts.setdefault(marks[DEPLOYMENT], []).append(each["ResourceARN"])
                models[marks[DEPLOYMENT]] = marks.get(MODEL, "")
        return tuple(
            Tenant(deployment=name, model=models[name], parts=tuple(sorted(parts[name])))
            for name in sorted(parts)
        )

    def removal(self) -> tuple[Step, ...]:
        """Everything that carries the deployment's tag."""
        return tuple(self.removal_of(kind, each) for kind, each in self.things())

    def removal_of(self, kind: str, thing: Thing) -> Step:
        """The step that takes a thing away."""
        calls = KINDS[kind].remove(thing.there)
        return Step(
            id=f"aws-{kind}-{thing.id.rpartition(':')[2]}",
            what=f"remove the {kind} {thing.id}",
            change="delete",
            document={"kind": kind, "id": thing.id, "calls": [each.document for each in calls]},
            command=" && ".join(each.command(self.account.region) for each in calls),
        )

    def perform(self, step: Step) -> None:
        """Make a part as wanted, or take something away."""
        if step.change == "delete":
            self._remove(step.document["kind"], step.document["id"])
            return
        part = self.parts[step.id]
        for attempt in range(_ATTEMPTS):
            try:
                self._make(part)
                return
            except CutOffError:
                # what was made without an answer is found by its tag in the next round
                if attempt == _ATTEMPTS - 1:
                    raise
                time.sleep(3 * (1 + attempt))

    def _make(self, part: Part) -> None:
        kind, thing = KINDS[part.kind], self._one(part)
        if thing is None:
            known = self._known | self._looked_up(part)
            self.account.call(part.make.filled(known), patient=part.kind in ("group", "instance"))
            thing = self._listed(part)
        else:
            self._refuse_what_cannot_change(part, thing)
            for each in kind.mend(thing.there, part, self._known):
                self.account.call(each, patient=part.kind == "instance")
                self._wait(each)
        self._known |= _named([(part.kind, thing)])
        if part.kind == "instance":
            self.account.wait("ec2", "instance_running", InstanceIds=[thing.id])
        kind.ready(self.account, thing.id)
        for each in part.settle:
            self.account.call(each.filled(self._known), patient=True)

    def _listed(self, part: Part) -> Thing:
        """What was just made: AWS may list it some seconds later."""
        for attempt in range(_LISTED):
            if (thing := self._one(part)) is not None:
                return thing
            time.sleep(1 + attempt)
        # no CutOffError: that would make a second one
        raise OutsideError(
            f"AWS does not list {part.what} yet", where=self.place,
            fix="wait a minute, then run the same again",
        )  # fmt: skip

    def _refuse_what_cannot_change(self, part: Part, thing: Thing) -> None:
        if part.kind == "key" and KINDS["key"].differs(thing.there, part, self._known):
            raise InputError(
                "the machine was made with another key than identity",
                where=self.place,
                fix="name that key, or destroy the deployment and make it anew",
            )
        if "UserData" in part.make.parameters and thing.tags.get(HAD_ROLE) != AGENT:
            raise InputError(
                "the machine was made to be reached by SSH, and has no agent of Systems Manager",
                where=self.place,
                fix='access = "ssh", or destroy the deployment and make it anew',
            )

    def _looked_up(self, part: Part) -> dict[str, str]:
        found: dict[str, str] = {}
        for each in part.look:
            answer = self.account.call(each)
            if each.operation == "DescribeSubnets":
                found["subnet.network"] = answer["Subnets"][0]["VpcId"]
            elif each.operation == "DescribeAvailabilityZones":
                zones = sorted(one["ZoneName"] for one in answer["AvailabilityZones"])
                found |= {f"zone.{number}": name for number, name in enumerate(zones, 1)}
            elif each.operation == "GetDashboard":
                if answer.get("DashboardBody"):
                    raise InputError(
                        f"the dashboard {answer['DashboardName']} was not made by Roadworthy",
                        where=self.place,
                        fix="choose another name for the deployment",
                    )
            else:
                found |= self._image(answer["Images"])
        return found

    def _image(self, images: list[dict[str, Any]]) -> dict[str, str]:
        if not images:
            raise OutsideError("the region has no image of Debian 12", where=self.place,
                               fix="name an image of your own: image = \"ami-…\"")  # fmt: skip
        image = max(images, key=lambda each: str(each.get("CreationDate", "")))
        return {"image": image["ImageId"], "image.disk": image.get("RootDeviceName", "/dev/xvda")}

    def _wait(self, done: Call) -> None:
        if done.operation in _WAITS:
            instances = done.parameters["InstanceIds"]
            self.account.wait("ec2", _WAITS[done.operation], InstanceIds=instances)

    def _remove(self, kind: str, name: str) -> None:
        """Take a thing away; it is looked at again, for a run before may have begun with it."""
        for each in KINDS[kind].find(self.account, self.naming.deployment):
            if each.id == name and each.tags.get(PART):
                for one in KINDS[kind].remove(each.there):
                    self.repeat(one)
                KINDS[kind].gone(self.account, name)

    def repeat(self, one: Call) -> None:
        """Carry out a call that may be repeated, until it is answered."""
        for attempt in range(_ATTEMPTS):
            try:
                self.account.call(one, patient=True)
                self._wait(one)
                return
            except CutOffError:
                if attempt == _ATTEMPTS - 1:
                    raise
                time.sleep(1 + attempt)


def _named(things: Iterable[tuple[str, Thing]]) -> dict[str, str]:
    """Part -> its id, and `PART.NAME` -> what else others name of it."""
    found: dict[str, str] = {}
    for _, each in things:
        found[each.part] = each.id
        found |= {f"{each.part}.{name}": value for name, value in each.more.items()}
    return found


def _used(things: list[tuple[str, Thing]]) -> set[str]:
    """Ids that occur in what AWS says of other things."""
    said = {each.id: repr(each.there) for _, each in things}
    return {name for name in said if any(name in text for other, text in said.items()
                                         if other != name)}  # fmt: skip
