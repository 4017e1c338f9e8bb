"""A release on a host: sent, verified, started beside the old one, asked, put in front, drained.

The steps from `start` on are the swap. Until `switch` callers are untouched; `switch` renames one
link; the old release is told to end only after that, and finishes what it has.
"""

from __future__ import annotations

import shlex

from roadworthy.deploy.host.layout import USER, Layout
from roadworthy.deploy.host.service import CREDENTIAL, SETTINGS
from roadworthy.deploy.host.steps import HostStep, file_step
from roadworthy.deploy.wanted import Release
from roadworthy.project import DeploySection

FAILED = 70
"""Exit code of a script that found the release bad: a verdict, not a fault of the host."""
_LOG_LINES = 200


def release_steps(layout: Layout, release: Release, runtime: str) -> list[HostStep]:
    """Send a release's files and verify them on the host."""
    folder = layout.release(release.id)
    link = f"ln -sfn {layout.runtime(runtime)}/environment {folder}/runtime.new && mv -fT {folder}/runtime.new {folder}/runtime"  # noqa: E501
    steps = [
        file_step(
            f"release-{file.name.split('.')[0]}",
            f"send {file.what}",
            f"{folder}/{file.name}",
            file.content,
            f"{folder}/done/{file.name}",
            mode="0640",
            owner=f"root:{USER}",
            needs=("users",),
        )
        for file in release.files
    ]
    return [
        *steps,
        _secrets_step(layout, release),
        _verify_step(layout, release, link, [s.id for s in steps]),
    ]


def encrypting(plain: str, place: str) -> str:
    """Shell commands that encrypt a file for this host alone, and leave nothing of it."""
    return f"""\
trap 'rm -f {plain} {place}.new' EXIT
systemd-creds encrypt --name={CREDENTIAL} {plain} {place}.new
chmod 0600 {place}.new
sync {place}.new
mv -f {place}.new {place}
"""


def _secrets_step(layout: Layout, release: Release) -> HostStep:
    """Secrets are on the disk only as systemd encrypts them: by the host's key, and its TPM."""
    place, plain = layout.secrets(release.id), f"/run/roadworthy-{layout.name}-secrets"
    return HostStep(
        id="secrets",
        what="send the secrets of the release, and encrypt them for this host alone",
        script=f"put {plain} 0600 root:root\n{encrypting(plain, place)}",
        stamp=f"{layout.release(release.id)}/done/secrets",
        content=release.secrets,
        present=f"[ -f {place} ]",
        document={"file": place, "mode": "0600", "owner": "root:root"},
        needs=("mark",),
    )


def _verify_step(layout: Layout, release: Release, link: str, files: list[str]) -> HostStep:
    folder = layout.release(release.id)
    bundle = next(f.name for f in release.files if f.name.startswith("model."))
    sealed = bundle.endswith(".sealed")
    verify = (
        f"runuser -u {USER} -- env PYTHONDONTWRITEBYTECODE=1 {folder}/runtime/bin/python "
        f"-m roadworthy models verify {folder}/{bundle} --project {folder}/{SETTINGS} >&2"
    )
    # a sealed bundle's key is a secret, which only the service gets: it verifies before it opens
    work = "true" if sealed else f"{verify} || exit {FAILED}"
    signed = " and its signature" if release.trusted else ""
    return HostStep(
        id="verify",
        what=f"verify every digest of the bundle{signed} on the host",
        script=f"chown root:{USER} {folder}\nchmod 0750 {folder}\n{link}\n{work}",
        stamp=f"{folder}/done/verify",
        present=f"[ -e {folder}/runtime/bin/python ]",
        document={"release": release.id, "version": release.version, "signature": release.trusted},
        needs=("runtime", "secrets", *files),
    )


def start_step(layout: Layout, release: str, section: DeploySection) -> HostStep:
    """Start a release beside the one that serves, and wait until it is ready."""
    unit = shlex.quote(layout.unit(release))
    return HostStep(
        id="start",
        what=f"start {release} beside what serves, until it is ready",
        script=f"""\
began=$(date +%s)
systemctl reset-failed {unit} 2>/dev/null || true
if ! systemctl start {unit}; then
  {keep_evidence(layout, release)}
  exit {FAILED}
fi
""",
        stamp=f"{layout.release(release)}/done/start",
        present=f"systemctl is-active --quiet {unit}",
        document={"unit": layout.unit(release), "seconds": section.start_seconds},
        needs=("verify", "service"),
    )


def keep_evidence(layout: Layout, release: str) -> str:
    """Shell commands that keep a failed release's log and exit code, show them, and stop it.

    The variable `began` says from when on, in seconds since 1970.
    """
    unit = shlex.quote(layout.unit(release))
    return f"""\
evidence={layout.root}/evidence/{release}-$(date -u +%Y%m%dT%H%M%S)
  mkdir -p "$evidence"
  journalctl -u {unit} --since "@$began" -o cat --no-pager -n {_LOG_LINES} > "$evidence/log.txt" || true
  systemctl show {unit} -p Result -p ExecMainStatus -p NRestarts > "$evidence/exit.txt" || true
  systemctl stop {unit} || true
  systemctl reset-failed {unit} 2>/dev/null || true
  echo "evidence $evidence"; cat "$evidence/exit.txt"; tail -n 25 "$evidence/log.txt\""""  # noqa: E501


def switch_step(
    layout: Layout, release: str, section: DeploySection, *, back: bool = False
) -> HostStep:
    """Let callers reach a release, and write down what served before.

    When callers are then not answered through the proxy, the link goes back.

    Args:
        layout: The deployment's places.
        release: The release.
        section: For the public port.
        back: Whether this is a rollback: what served is then the last one to roll back to.
    """
    others = f'grep -vxF -e "$was" -e {release} {layout.before} 2>/dev/null || true'
    listed = f'{others}; echo "$was"' if back else f'echo "$was"; {others}'
    current, socket = layout.current, layout.socket(release)
    scheme = "https" if section.secured else "http"
    python = f"{layout.release(release)}/runtime/bin/python"
    # a certificate that is still being asked for is no reason to go back
    probe = (
        "true"
        if section.domain is not None
        else f"{python} -m roadworthy.deploy.host.probe {scheme} {section.public_port} 20"
    )
    return HostStep(
        id="switch",
        what=f"let callers reach {release}",
        script=f"""\
began=0
old=$(readlink {current} 2>/dev/null || true)
was=$(basename "$old" .sock)
if [ -n "$was" ] && [ "$was" != {release} ]; then
  {{ {listed}; }} > {layout.before}.new
  mv -f {layout.before}.new {layout.before}
fi
ln -sfn {socket} {current}.new
mv -fT {current}.new {current}
if ! {probe}; then
  if [ -n "$old" ]; then ln -sfn "$old" {current}.new; mv -fT {current}.new {current}
  else rm -f {current}; fi
  if [ "$old" != {socket} ]; then
  {keep_evidence(layout, release)}
  fi
  exit {FAILED}
fi
systemctl enable --quiet {shlex.quote(layout.unit(release))}
""",
        stamp="",
        present=f'[ "$(readlink {current})" = {socket} ] '
        f"&& systemctl is-enabled --quiet {shlex.quote(layout.unit(release))}",
        document={"link": current, "to": socket, "port": section.public_port},
        needs=("accept", "proxy", "firewall", "start"),
    )


def drain_step(layout: Layout, release: str) -> HostStep:
    """End every other release, after what was dialled before the switch has been taken up."""
    others = (
        f"systemctl list-units --all --plain --no-legend '{layout.service}*' | cut -d' ' -f1 "
        f"| grep -vxF {shlex.quote(layout.unit(release))}"
    )
    enabled = (
        f"ls /etc/systemd/system/multi-user.target.wants | grep '^{layout.service}' "
        f"| grep -vxF {shlex.quote(layout.unit(release))}"
    )
    return HostStep(
        id="drain",
        what="let the release before finish what it has, and end it",
        script=f"""\
sleep 1
for unit in $({others} || true); do systemctl stop "$unit"; done
for unit in $({enabled} || true); do systemctl disable --quiet "$unit"; done
""",
        stamp="",
        present=f'[ -z "$({others.replace("--all ", "")} || true)$({enabled} || true)" ]',
        document={"keeps": layout.unit(release)},
        needs=("switch",),
    )


def clean_step(layout: Layout, release: str, keep: int) -> HostStep:
    """Remove releases beyond those that are kept, and runtimes and wheels that none uses."""
    root = layout.root
    return HostStep(
        id="clean",
        what=f"keep {keep} releases, and remove what none of them uses",
        script=f"""\
kept="{release} $(head -n {keep - 1} {layout.before} 2>/dev/null | tr '\\n' ' ')"
for each in $(ls {root}/releases); do
  case " $kept " in *" $each "*) ;; *) rm -rf "{root}/releases/$each" "{layout.settings}/secrets/$each.cred";; esac
done
if [ -f {layout.before} ]; then
  head -n {keep - 1} {layout.before} > {layout.before}.new; mv -f {layout.before}.new {layout.before}
fi
used=$(readlink {root}/releases/*/runtime || true)
for each in $(ls {root}/runtimes); do
  case "$used" in *"/$each/"*) ;; *) rm -rf "{root}/runtimes/$each";; esac
done
for each in $(ls {root}/wheels | grep 'whl$'); do
  name=${{each%%-*}}; rest=${{each#*-}}
  pin="$(echo "$name" | tr '_A-Z' '-a-z')==${{rest%%-*}} "
  cat {root}/runtimes/*/requirements.txt | grep -qF "$pin" || rm -f "{root}/wheels/$each" "{root}/wheels/$each.done"
done
ls -t {root}/evidence | tail -n +21 | while read -r each; do rm -rf "{root}/evidence/$each"; done
""",  # noqa: E501
        stamp="",
        present=f'[ "$(ls {root}/releases | grep -vxFc {release})" -lt {keep} ]',
        document={"keep": keep},
        needs=("drain",),
    )
