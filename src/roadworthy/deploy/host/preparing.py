"""What a host is made ready with: packages, users, upgrades, logs, firewall, runtime, proxy."""

from __future__ import annotations

import shlex

import msgspec

from roadworthy.bundle.manifest import to_json
from roadworthy.deploy.host.layout import PROXY_USER, SETTINGS, USER, Layout
from roadworthy.deploy.host.steps import HostStep, file_step
from roadworthy.deploy.host.units import proxy_settings, proxy_unit, service_unit
from roadworthy.deploy.runtime import Runtime
from roadworthy.deploy.wanted import Certificate, Content, in_file, in_memory
from roadworthy.project import DeploySection

_INSTALL = """\
export DEBIAN_FRONTEND=noninteractive
had_caddy=$(command -v caddy || true)
if command -v apt-get >/dev/null; then
  lacking=""
  for each in {debian}; do dpkg -s "$each" >/dev/null 2>&1 || lacking="$lacking $each"; done
  if [ -n "$lacking" ]; then
    apt-get -o DPkg::Lock::Timeout=300 update -qq || echo "the package lists are old" >&2
    apt-get -o DPkg::Lock::Timeout=300 install -y -qq --no-install-recommends $lacking >&2
  fi
elif command -v dnf >/dev/null; then
  if ! dnf install -y -q {redhat} >&2; then
    echo "dnf cannot install {redhat}. RHEL, Rocky and AlmaLinux have caddy in EPEL:" \
      "dnf install epel-release; python3.12 comes with RHEL 9.4 and later" >&2
    exit 69
  fi
else
  echo "neither apt-get nor dnf is here" >&2; exit 69
fi
# the package's own service would take port 80
if [ -z "$had_caddy" ]; then systemctl disable --now caddy.service >/dev/null 2>&1 || true; fi
"""
_DEBIAN = "python3 python3-venv caddy nftables"
_REDHAT = "python3.12 caddy nftables"
_JOURNAL = """\
# Roadworthy: the journal survives a restart and cannot fill the disk
[Journal]
Storage=persistent
SystemMaxUse=500M
SystemKeepFree=500M
MaxRetentionSec=90day
"""
_UPGRADES = """\
APT::Periodic::Update-Package-Lists "1";
APT::Periodic::Unattended-Upgrade "1";
"""


def base_steps(
    layout: Layout, section: DeploySection, model: str, *, upgrades: bool
) -> list[HostStep]:
    """The deployment's mark, packages, users, logs and upgrades."""
    return [
        _mark_step(layout, model),
        _packages_step(layout, upgrades=upgrades),
        HostStep(
            id="users",
            what=f"add the system users {USER} and {PROXY_USER}",
            script="\n".join(
                f"id -u {user} >/dev/null 2>&1 || useradd --system --home-dir /nonexistent "
                f"--no-create-home --shell /usr/sbin/nologin {more}{user}"
                for user, more in ((USER, "--user-group "), (PROXY_USER, f"--gid {USER} "))
            ),
            stamp=layout.stamp("users"),
            present=f"id -u {USER} && id -u {PROXY_USER}",
            document={"users": [USER, PROXY_USER]},
            needs=("mark",),
        ),
        *_log_steps(layout),
        *([_upgrades_step(layout)] if upgrades else []),
    ]


def _mark_step(layout: Layout, model: str) -> HostStep:
    marker = {"deployment": layout.name, "model": model, "tool": "roadworthy"}
    text = shlex.quote(to_json(marker).decode())
    root = layout.root
    folders = f"{root}/releases {root}/runtimes {root}/wheels {root}/evidence"
    return HostStep(
        id="mark",
        what=f"make {root}, and mark it as the deployment's",
        script=f"""\
if [ -e {root} ] && [ ! -f {layout.marker} ] && [ -n "$(ls -A {root} 2>/dev/null)" ]; then
  echo "{root} is there and was not made by Roadworthy" >&2; exit 73
fi
if [ -f {layout.marker} ] && [ "$(cat {layout.marker})" != "$(printf %s {text})" ]; then
  echo "{root} is the deployment of another model" >&2; exit 73
fi
mkdir -p {root}
printf %s {text} > {layout.marker}.new
mv -f {layout.marker}.new {layout.marker}
mkdir -p {folders} {layout.settings}/secrets {root}/done
chmod 0700 {layout.settings}/secrets {root}/done
""",
        stamp=layout.stamp("mark"),
        present=f"[ -f {layout.marker} ] && [ -d {layout.settings}/secrets ]",
        document={"folder": root, "marker": marker},
    )


def _packages_step(layout: Layout, *, upgrades: bool) -> HostStep:
    debian = _DEBIAN + (" unattended-upgrades" if upgrades else "")
    redhat = _REDHAT + (" dnf-automatic" if upgrades else "")
    return HostStep(
        id="packages",
        what="install what the system has to bring",
        script=_INSTALL.format(debian=debian, redhat=redhat),
        stamp=layout.stamp("packages"),
        present="command -v caddy && command -v nft",
        document={"debian": debian.split(), "redhat": redhat.split()},
        needs=("mark",),
    )


def _log_steps(layout: Layout) -> list[HostStep]:
    clean = f"e {layout.state}/log - - - 30d\n".encode()
    return [
        file_step(
            "journal",
            "keep the system's log on the disk, and within 500 MB",
            "/etc/systemd/journald.conf.d/roadworthy.conf",
            in_memory(_JOURNAL.encode()),
            layout.stamp("journal"),
            after="mkdir -p /var/log/journal && systemctl restart systemd-journald",
            needs=("mark",),
        ),
        file_step(
            "prediction-log",
            "remove segments of the prediction log after 30 days",
            f"/etc/tmpfiles.d/roadworthy-{layout.name}.conf",
            in_memory(clean),
            layout.stamp("prediction-log"),
            needs=("mark",),
        ),
    ]


def _upgrades_step(layout: Layout) -> HostStep:
    return file_step(
        "upgrades",
        "install security updates every day",
        f"{SETTINGS}/20auto-upgrades",
        in_memory(_UPGRADES.encode()),
        layout.stamp("upgrades"),
        after=f"""\
if command -v apt-get >/dev/null; then
  cp {SETTINGS}/20auto-upgrades /etc/apt/apt.conf.d/20auto-upgrades
  systemctl enable --now apt-daily.timer apt-daily-upgrade.timer >/dev/null 2>&1
else
  sed -i 's/^apply_updates.*/apply_updates = yes/' /etc/dnf/automatic.conf
  systemctl enable --now dnf-automatic.timer >/dev/null 2>&1
fi""",
        needs=("packages",),
    )


def runtime_steps(layout: Layout, runtime: Runtime) -> list[HostStep]:
    """The wheels, and the environment that is made of them alone."""
    folder, python = layout.runtime(runtime.id), runtime.platform.python
    steps = []
    for wheel in runtime.wheels:
        name = "wheel-" + wheel.name.split("-")[0].replace("_", "-").lower()
        place = f"{layout.root}/wheels/{wheel.name}"
        stamp = f"{layout.root}/wheels/{wheel.name}.done"
        steps.append(
            file_step(name, f"send {wheel.name}", place, in_file(wheel), stamp, needs=("mark",))
        )
    pins = in_memory(runtime.requirements.encode())
    steps.append(
        HostStep(
            id="runtime",
            what=f"make the runtime {runtime.id}: Python {python}, every wheel by its SHA-256",
            script=f"""\
put {folder}/requirements.txt 0644 root:root
rm -rf {folder}/environment
interpreter=$(command -v python{python} || command -v python3)
"$interpreter" -m venv {folder}/environment
{folder}/environment/bin/python -m pip install --quiet --disable-pip-version-check --no-index \\
  --no-deps --require-hashes --find-links {layout.root}/wheels -r {folder}/requirements.txt >&2
{folder}/environment/bin/python -c 'import roadworthy.deploy.host.service'
""",
            stamp=f"{folder}/done",
            content=pins,
            present=f"[ -x {folder}/environment/bin/python ]",
            document={"folder": folder, "requirements": runtime.requirements.splitlines()},
            needs=("packages", *(step.id for step in steps)),
        )
    )
    return steps


def service_steps(layout: Layout, section: DeploySection, drain_seconds: float) -> list[HostStep]:
    """The units."""
    unit = service_unit(layout, section, drain_seconds)
    return [
        file_step(
            "service",
            "write the unit that runs releases",
            f"/etc/systemd/system/{layout.service}.service",
            in_memory(unit.encode()),
            layout.stamp("service"),
            after="systemctl daemon-reload",
            needs=("users",),
        ),
    ]


def proxy_steps(
    layout: Layout,
    section: DeploySection,
    certificate: Certificate | None,
    authority: Content | None = None,
) -> list[HostStep]:
    """The proxy in front: its certificate, its settings, its unit."""
    steps = []
    if certificate is not None:
        steps.append(
            file_step(
                "certificate",
                "write the TLS certificate with its key",
                layout.certificate,
                certificate.pair,
                layout.stamp("certificate"),
                mode="0640",
                owner=f"{PROXY_USER}:root",
                after=f"systemctl try-reload-or-restart {layout.proxy}",
                secret=True,
                needs=("users",),
            )
        )
    if authority is not None:
        steps.append(
            file_step(
                "acme-root",
                "write the certificate by which the ACME server is trusted",
                layout.authority,
                authority,
                layout.stamp("acme-root"),
                needs=("mark",),
            )
        )
    restart = f"systemctl reload {layout.proxy} || systemctl restart {layout.proxy}"
    steps.append(
        file_step(
            "proxy-settings",
            f"let the proxy answer on port {section.public_port}",
            f"{layout.settings}/proxy.json",
            in_memory(proxy_settings(layout, section, certificate.name if certificate else "")),
            layout.stamp("proxy-settings"),
            after=f"if systemctl is-active --quiet {layout.proxy}; then {restart}; fi",
            needs=("users", "packages", *(step.id for step in steps)),
        )
    )
    unit = in_memory(proxy_unit(layout).encode())
    steps.append(
        file_step(
            "proxy",
            "run the proxy",
            f"/etc/systemd/system/{layout.proxy}",
            unit,
            layout.stamp("proxy"),
            after=f"""\
systemctl daemon-reload
systemctl enable --quiet {layout.proxy}
systemctl restart {layout.proxy}""",
            needs=("proxy-settings",),
        )
    )
    steps[-1] = _must_run(steps[-1], layout.proxy)
    return steps


def _must_run(step: HostStep, unit: str) -> HostStep:
    return msgspec.structs.replace(
        step, present=f"{step.present} && systemctl is-active --quiet {unit}"
    )
