"""What a machine tells CloudWatch by its role: its log, and how busy it is."""

from __future__ import annotations

import shlex
from importlib import resources
from typing import Any

from roadworthy.deploy.aws.call import call
from roadworthy.deploy.aws.part import Naming, Part
from roadworthy.deploy.host.layout import UNITS, Layout
from roadworthy.deploy.host.steps import HostStep, file_step
from roadworthy.deploy.wanted import in_memory
from roadworthy.monitor.alarms.cloudwatch import machines_of
from roadworthy.project import AwsSection

LOGS = "aws-logs"
LOG_DAYS = 30
_WORKS = {
    "logs": "send the log to CloudWatch",
    "metrics": "tell CloudWatch how busy the machine is",
}
_UNIT = """\
# Roadworthy: deployment {name}
[Unit]
Description=Roadworthy {name}, {work}
After=network-online.target
StartLimitIntervalSec=0

[Service]
ExecStart=/usr/bin/python3 {script} {region} {work} {words}
DynamicUser=yes
SupplementaryGroups=systemd-journal
StateDirectory=roadworthy-{name}-{work}
Restart=always
RestartSec=5

[Install]
WantedBy=multi-user.target
"""


def log_group_of(naming: Naming) -> str:
    """The log group."""
    return f"/roadworthy/{naming.deployment}"


def namespace_of(naming: Naming) -> str:
    """Where machines tell how busy they are; a namespace of its own, so that a role can name it."""
    return machines_of(naming.deployment)


def logs_part(naming: Naming) -> Part:
    """The log group."""
    marks = {each["Key"]: each["Value"] for each in naming.tags(LOGS)}
    name = log_group_of(naming)
    return Part(
        id=LOGS, kind="logs", what=f"a log group, {LOG_DAYS} days",
        make=call("logs", "CreateLogGroup", ("ResourceAlreadyExistsException",),
                   logGroupName=name, tags=marks),
        settle=(call("logs", "PutRetentionPolicy", logGroupName=name,
                      retentionInDays=LOG_DAYS),),
    )  # fmt: skip


def policy(naming: Naming, section: AwsSection, *more: tuple[str, str]) -> dict[str, Any]:
    """All that a machine may do.

    Args:
        naming: Names and tags.
        section: `[deploy.NAME]`.
        more: Actions besides telling, each with its resource.
    """
    logs = f"arn:${{partition}}:logs:{section.region}:${{account}}:log-group:{log_group_of(naming)}"
    allowed: list[tuple[str | list[str], str]] = [
        *more, (["logs:CreateLogStream", "logs:PutLogEvents"], f"{logs}:*"),
    ]  # fmt: skip
    statements: list[dict[str, Any]] = [
        {"Effect": "Allow", "Action": action, "Resource": resource} for action, resource in allowed
    ]
    if section.alarms:  # metrics are narrowed by their namespace alone
        only = {"StringEquals": {"cloudwatch:namespace": namespace_of(naming)}}
        statements.append({"Effect": "Allow", "Action": "cloudwatch:PutMetricData",
                           "Resource": "*", "Condition": only})  # fmt: skip
    return {"Version": "2012-10-17", "Statement": statements}


def script() -> bytes:
    """What machines run, by the system's Python alone."""
    return resources.files(__package__).joinpath("fetching.py").read_bytes()


def script_of(layout: Layout) -> str:
    """Where it is on a machine."""
    return f"{layout.root}/aws.py"


def telling_steps(layout: Layout, naming: Naming, section: AwsSection) -> list[HostStep]:
    """What makes a machine tell: its log, and with `alarms` how busy it is."""
    cursor = f"/var/lib/roadworthy-{layout.name}-logs/cursor"
    words = f"{log_group_of(naming)} {shlex.quote(f'{layout.service}*')} {cursor}"
    written = file_step(
        "aws", "write what speaks with AWS", script_of(layout), in_memory(script()),
        layout.stamp("aws"), mode="0755", needs=("mark",),
        after=f"systemctl try-restart {' '.join(_units(layout))} 2>/dev/null || true",
    )  # fmt: skip
    steps = [written, _service(layout, section, "logs", words)]
    if section.alarms:
        steps.append(_service(layout, section, "metrics", namespace_of(naming)))
    return steps


def _unit(layout: Layout, work: str) -> str:
    return f"roadworthy-{layout.name}-{work}.service"


def _units(layout: Layout) -> list[str]:
    return [_unit(layout, work) for work in _WORKS]


def _service(layout: Layout, section: AwsSection, work: str, words: str) -> HostStep:
    """A service that tells something for ever."""
    unit = _unit(layout, work)
    text = _UNIT.format(
        name=layout.name, work=work, script=script_of(layout), region=section.region, words=words
    )
    return file_step(
        work, _WORKS[work], f"{UNITS}/{unit}", in_memory(text.encode()), layout.stamp(work),
        after=f"systemctl daemon-reload\nsystemctl enable --quiet {unit}\nsystemctl restart {unit}",
        needs=("aws",),
    )  # fmt: skip


def silent_step(layout: Layout) -> HostStep:
    """What ends all telling: services without a role would try for ever."""
    units = _units(layout)
    places = " ".join(f"{UNITS}/{unit}" for unit in units)
    return HostStep(
        id="silent",
        what="tell CloudWatch nothing",
        script=f"""\
for unit in {" ".join(units)}; do
  systemctl disable --now --quiet "$unit" 2>/dev/null || true
done
rm -f {places} {script_of(layout)}
systemctl daemon-reload
""",
        stamp="",
        present=f"! ls {places} 2>/dev/null | grep -q .",
        document={"files": [f"{UNITS}/{unit}" for unit in units]},
        needs=("mark",),
    )
