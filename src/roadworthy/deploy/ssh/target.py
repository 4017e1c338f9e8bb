"""The target `ssh`: what a host is asked, told, and how a release is swapped in there."""

from __future__ import annotations

import contextlib
import shlex
import uuid
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import msgspec

from roadworthy.acceptance import accept
from roadworthy.deploy._base import Status, Tenant, There
from roadworthy.deploy.host import releasing
from roadworthy.deploy.host.description import host_steps, swap_steps
from roadworthy.deploy.host.layout import Layout
from roadworthy.deploy.host.removing import removal_steps
from roadworthy.deploy.host.steps import PUT, HostStep
from roadworthy.deploy.host.tenants import LIST, parse_tenants, remains
from roadworthy.deploy.plan import Plan, Step, in_order, redone
from roadworthy.deploy.runtime import gather, parse_platform
from roadworthy.deploy.ssh.connection import Connection, Said
from roadworthy.deploy.tunnel import tunnel, version_at, without_latency
from roadworthy.deploy.wanted import Wanted, in_memory
from roadworthy.errors import CheckFailed, InputError, OutsideError, RoadworthyError
from roadworthy.evaluate.verdict import Verdict
from roadworthy.project import Project, SshSection
from roadworthy.registry.leases import holder, is_dead

_FACTS = """\
. /etc/os-release; echo "fact system $PRETTY_NAME"
echo "fact machine $(uname -m)"
echo "fact glibc $(getconf GNU_LIBC_VERSION 2>/dev/null | cut -d' ' -f2)"
echo "fact ssh_port ${{SSH_CONNECTION##* }}"
python=""
for each in 3.13 3.12 3.11; do
  if [ -z "$python" ] && command -v "python$each" >/dev/null; then python=$each; fi
done
if [ -z "$python" ] && command -v apt-cache >/dev/null; then
  python=$(apt-cache policy python3 | sed -n 's/^  Candidate: \\([0-9]*\\.[0-9]*\\).*/\\1/p')
fi
if [ -z "$python" ] && command -v dnf >/dev/null; then python=3.12; fi
echo "fact python $python"
cat {marker} 2>/dev/null | tr -d '\\n' | sed 's/^/fact marker /' ; echo
echo "serving $(basename "$(readlink {current} 2>/dev/null)" .sock)"
sed 's/^/before /' {before} 2>/dev/null || true
ls -t {root}/releases 2>/dev/null | sed 's/^/release /' || true
[ -e {root} ] && echo "fact there yes" || true
if {remains}; then echo "fact remains yes"; fi
"""
_held: set[str] = set()


class SshTarget:
    """A host.

    Args:
        name: The deployment's name.
        section: `[deploy.NAME]`.
        project: For `[gates]`, `[behaviour]` and `[serve]`.
        cache: Where wheels are kept.
        wanted: What is to be served; None where that is not asked, as in a rollback.
        beside: Steps of the cloud that the host is in.
    """

    certain = True  # by the stamps that steps leave on the host

    def __init__(
        self, name: str, section: SshSection, project: Project, cache: Path, wanted: Wanted | None,
        beside: Sequence[HostStep] = (),
    ) -> None:  # fmt: skip
        self.layout = Layout(name)
        self.section = section
        self.project = project
        self.cache = cache
        self.wanted = wanted
        self.beside = beside
        self.connection = Connection(section)
        self._steps: dict[str, HostStep] = {}

    def close(self) -> None:
        """End the connection."""
        self.connection.close()

    @contextlib.contextmanager
    def lock(self) -> Iterator[None]:
        """Hold the host's lock of this deployment; one that a dead process left is taken over."""
        mine = f"{holder()}/{uuid.uuid4().hex}"
        self._take(mine)
        _held.add(mine)
        try:
            yield
        finally:
            _held.discard(mine)
            place = self._lock_file
            with contextlib.suppress(OutsideError):  # the error that led here must not be hidden
                self.connection.ask(f'[ "$(cat {place})" = {shlex.quote(mine)} ] && rm -f {place}')

    @property
    def _lock_file(self) -> str:
        return f"/run/roadworthy-{self.layout.name}.lock"

    def _take(self, mine: str) -> None:
        place, name = self._lock_file, shlex.quote(mine)
        take = f"( set -C; echo {name} > {place} ) 2>/dev/null || cat {place}"
        for _ in range(3):
            other = self.connection.ask(take).strip()
            if not other:
                return
            process = other.rpartition("/")[0]
            if not (is_dead(process) or (process == holder() and other not in _held)):
                break
            self.connection.ask(
                f'[ "$(cat {place})" = {shlex.quote(other)} ] && rm -f {place} || true'
            )
        raise OutsideError(
            f"another deployment is at work: {other.split('/')[0]}, process {other.split('/')[1]}",
            where=f"{self.section.host}:{place}",
            fix="wait for it; when it is surely dead, remove that file on the host",
        )

    def observe(self) -> There:
        """Ask the host what it is and what of the steps was done."""
        there = self._facts()
        if self.wanted is not None:
            self._learn(self.steps_for(there.facts))
        return self._asked(there)

    def suppose(self, facts: Mapping[str, str]) -> There:
        """What there would be on a new host of a kind, without asking it."""
        if self.wanted is not None:
            self._learn(self.steps_for(facts))
        return There(facts=facts)

    @property
    def step_ids(self) -> tuple[str, ...]:
        """Ids of the steps that were worked out last."""
        return tuple(self._steps)

    def _facts(self) -> There:
        layout = self.layout
        said = self.connection.ask(
            _FACTS.format(
                marker=layout.marker,
                current=layout.current,
                before=layout.before,
                root=layout.root,
                remains=remains(layout),
            )
        )
        facts: dict[str, str] = {}
        found: dict[str, list[str]] = {"serving": [], "before": [], "release": []}
        for line in said.splitlines():
            kind, _, rest = line.partition(" ")
            if kind == "fact":
                name, _, value = rest.partition(" ")
                facts[name] = value
            elif kind in found and rest:
                found[kind].append(rest)
        serving = found["serving"][0] if found["serving"] else None
        kept = [each for each in found["before"] if each in found["release"] and each != serving]
        facts["releases"] = " ".join(found["release"])
        return There(serving=serving, before=tuple(kept), facts=facts)

    def _learn(self, steps: Sequence[HostStep]) -> None:
        self._steps = {step.id: step for step in steps}

    def _asked(self, there: There) -> There:
        if not self._steps:
            return there
        said = self.connection.ask("".join(each.question for each in self._steps.values()))
        done = {line.split()[1]: True for line in said.splitlines() if line.startswith("step ")}
        return msgspec.structs.replace(there, steps=done)

    def steps_for(self, facts: Mapping[str, str]) -> list[HostStep]:
        """Every step that makes a host of a kind serve what is wanted, in order.

        Raises:
            InputError: Such a host cannot be deployed to.
        """
        assert self.wanted is not None
        release, section = self.wanted.release, self.section
        runtime = gather(parse_platform(facts), self.cache)
        ssh_port = facts.get("ssh_port", "")
        return host_steps(
            self.layout, section, self.project, self.wanted, runtime,
            ssh_port=int(ssh_port) if ssh_port.isdigit() else 22,
            upgrades=section.upgrades, beside=self.beside,
        ) + swap_steps(self.layout, release.id, section)  # fmt: skip

    def plan(self, there: There) -> Plan:
        """What makes the wanted release serve."""
        assert self.wanted is not None
        release = self.wanted.release
        return self._plan(there, release.id, release.model, release.version)

    def plan_rollback(self, there: There, release: str | None) -> Plan:
        """What makes an earlier release serve."""
        if there.serving is None:
            raise InputError("nothing is deployed there", where=self.section.host)
        known = [each for each in there.before if release is None or each.startswith(release)]
        if len(known) != 1 and (release is not None or not known):
            kept = ", ".join(there.before) or "none"
            raise InputError(
                f"{release or 'an earlier release'} cannot be rolled back to",
                where=self.section.host,
                fix=f"releases that are kept: {kept}",
            )
        chosen = known[0]
        layout, section = self.layout, self.section
        self._learn(
            [
                releasing.start_step(layout, chosen, section),
                releasing.switch_step(layout, chosen, section, back=True),
                releasing.drain_step(layout, chosen),
            ]
        )
        marker = _marker(there)
        return self._plan(
            self._asked(there), chosen, marker.get("model", ""), chosen.partition("-")[0]
        )

    def plan_destroy(self, there: There) -> Plan:
        """What takes the deployment away."""
        ours = there.facts.get("remains") == "yes"
        if there.facts.get("there") == "yes" and not ours:
            raise InputError(
                f"{self.layout.root} was not made by Roadworthy, and is left alone",
                where=self.section.host,
            )
        self._learn(removal_steps(self.layout) if ours else [])
        plan = self._plan(
            self._asked(there),
            there.serving or "",
            _marker(there).get("model", ""),
            (there.serving or "").partition("-")[0],
        )
        gone = tuple(
            msgspec.structs.replace(step, change="delete") if step.change == "create" else step
            for step in plan.steps
        )
        return msgspec.structs.replace(plan, steps=gone)

    def _plan(self, there: There, release: str, model: str, version: str) -> Plan:
        steps = [
            Step(
                id=each.id,
                what=each.what,
                change="create",
                document=each.document,
                needs=each.needs,
                command=self.connection.shown(each.program),
            )
            for each in self._steps.values()
        ]
        return Plan(
            deployment=self.layout.name,
            place=self.section.host,
            model=model,
            version=version,
            release=release,
            steps=in_order(redone(steps, there.steps)),
        )

    def perform(self, step: Step) -> None:
        """Do a step on the host."""
        host_step = self._steps[step.id]
        if step.id == "accept":
            self._accept()
        said = self.connection.run(host_step.program, host_step.content)
        if said.code == releasing.FAILED:
            raise _verdict(said, self.section.host)
        if said.code:
            raise self.connection.failure(said, f"step {step.id!r} failed")

    def _accept(self) -> None:
        """Golden rows, gates and behaviour against the release that callers do not get yet."""
        assert self.wanted is not None
        release, bundle, layout = self.wanted.release, self.wanted.bundle, self.layout
        python = f"{layout.release(release.id)}/runtime/bin/python"
        relay = f"exec {python} -m roadworthy.deploy.host.relay {layout.socket(release.id)}"
        try:
            with tunnel(lambda: self.connection.channel(relay)) as url:
                place, gates = version_at(url, bundle), without_latency(self.project)
                verdict = accept(bundle, None, gates, url=place)
        except RoadworthyError as error:
            raise self._reject({"error": str(error)}, str(error.what)) from None
        if not verdict.passed:
            reasons = "; ".join(f"{c.name}: {c.reason}" for c in verdict.stopping())
            raise self._reject(verdict, reasons)
        self._put(f"{layout.release(release.id)}/verdict.json", verdict)

    def _reject(self, verdict: Verdict | dict[str, str], reasons: str) -> CheckFailed:
        """Keep what the release answered, its log and exit code, and end it."""
        assert self.wanted is not None
        release = self.wanted.release.id
        commands = releasing.keep_evidence(self.layout, release)
        said = self.connection.run(f"set -eu\nbegan=0\n{commands}")
        failed = _verdict(said, self.section.host, f"the release does not pass: {reasons}")
        if said.output.startswith("evidence "):
            folder = said.output.splitlines()[0].split()[1]
            self._put(f"{folder}/verdict.json", verdict)
        return failed

    def _put(self, path: str, value: object) -> None:
        content = in_memory(msgspec.json.format(msgspec.json.encode(value), indent=2))
        said = self.connection.run(f"set -eu\n{PUT}put {path} 0640 root:root", content)
        if said.code:
            raise self.connection.failure(said, "the verdict cannot be kept")

    def tenants(self) -> tuple[Tenant, ...]:
        """Every deployment of the host."""
        return parse_tenants(self.connection.ask(LIST))

    def status(self) -> Status:
        """What the host is doing."""
        there = self._facts()
        layout, serving = self.layout, there.serving
        unit = layout.unit(serving or "none")
        said = self.connection.ask(
            f"systemctl show {unit} -p ActiveState -p SubState -p NRestarts "
            f"-p ActiveEnterTimestamp -p MemoryCurrent\n"
            f'echo "Proxy=$(systemctl is-active {layout.proxy} || true)"\n'
            f"echo \"DiskFree=$(df -Ph / | awk 'NR==2 {{print $4}}')\"\n"
            f"ls {layout.root}/evidence 2>/dev/null | sed 's/^/Evidence=/'\n"
        )
        pairs = [line.partition("=")[::2] for line in said.splitlines()]
        details = {key: value for key, value in pairs if key != "Evidence"}
        ready = details.get("ActiveState") == "active" and details.get("Proxy") == "active"
        return Status(
            deployment=layout.name,
            place=self.section.host,
            serving=serving,
            ready=ready and serving is not None,
            releases=tuple([serving] if serving else []) + there.before,
            details={
                **details,
                "system": there.facts.get("system", ""),
                "failed": [value for key, value in pairs if key == "Evidence"],
            },
        )

    def logs(self, lines: int, *, follow: bool) -> Iterator[str]:
        """The last lines of the releases' log."""
        more = " -f" if follow else ""
        return self.connection.lines(
            f"exec journalctl --no-pager -o short-iso -n {lines}{more} -u '{self.layout.service}*'"
        )


def _marker(there: There) -> dict[str, str]:
    text = there.facts.get("marker", "")
    try:
        return msgspec.json.decode(text, type=dict[str, str])
    except msgspec.DecodeError:
        return {}


def _verdict(said: Said, host: str, what: str = "the release cannot be served") -> CheckFailed:
    lines = said.output.splitlines()
    if not lines or not lines[0].startswith("evidence "):
        text = said.errors.strip() or said.output.strip()
        return CheckFailed(f"{what}: {text or 'it said nothing'}", where=host)
    shown = "\n    ".join(lines[1:])
    return CheckFailed(
        f"{what}; callers still get what they got before\n    {shown}",
        where=f"{host}:{lines[0].split()[1]}",
        fix="the log, the exit code and the answers are kept there; mend the cause and run again",
    )
