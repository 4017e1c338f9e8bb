"""Take a deployment off its host: what carries its mark, and nothing else.

The mark goes last, so that a destroy that was cut off can be run again. Packages stay, and so do
the system's upgrades; users, firewall and log settings go with the last deployment of the host.
"""

from __future__ import annotations

from roadworthy.deploy.host.firewall import closing_step
from roadworthy.deploy.host.layout import PROXY_USER, ROOT, SETTINGS, UNITS, USER, Layout
from roadworthy.deploy.host.steps import HostStep


def removal_steps(layout: Layout) -> list[HostStep]:
    """The steps, in order; each is done when nothing of it is left."""
    root, settings = layout.root, layout.settings
    units = UNITS
    ours = f'[ -f {layout.marker} ] || [ -z "$(ls -A {root} 2>/dev/null)" ]'
    last = f'[ -z "$(ls -A {ROOT} 2>/dev/null | grep -vx {layout.name})" ]'
    stop = (
        f"for unit in $(systemctl list-units --all --plain --no-legend '{layout.service}*' "
        "| cut -d' ' -f1); do"
    )
    return [
        HostStep(
            id="stop",
            what="end the proxy and every release",
            script=f"""\
{ours}
systemctl disable --now --quiet {layout.proxy} 2>/dev/null || true
{stop} systemctl stop "$unit"; systemctl reset-failed "$unit" 2>/dev/null || true; done
for unit in {units}/multi-user.target.wants/{layout.service}*; do rm -f "$unit"; done
""",
            stamp="",
            present=f"! systemctl is-active --quiet {layout.proxy} "
            f"&& [ -z \"$(systemctl list-units --plain --no-legend '{layout.service}*')\" ] "
            f"&& ! ls {units}/multi-user.target.wants/{layout.service}*",
            document={"units": [layout.proxy, f"{layout.service}*.service"]},
        ),
        HostStep(
            id="units",
            what="remove the units",
            script=f"rm -f {units}/{layout.proxy} {units}/{layout.service}.service "
            f"/etc/tmpfiles.d/roadworthy-{layout.name}.conf\nsystemctl daemon-reload\n",
            stamp="",
            present=f"! [ -e {units}/{layout.proxy} ] && ! [ -e {units}/{layout.service}.service ] "
            f"&& ! [ -e /etc/tmpfiles.d/roadworthy-{layout.name}.conf ]",
            document={"files": [f"{units}/{layout.proxy}", f"{units}/{layout.service}.service"]},
            needs=("stop",),
        ),
        closing_step(layout),
        HostStep(
            id="settings",
            what="remove settings, secrets, certificates and what the server wrote",
            script=f"""\
rm -rf {settings} {layout.state} {layout.state}-proxy /run/roadworthy-{layout.name}
if {last}; then
  rm -f /etc/systemd/journald.conf.d/roadworthy.conf {SETTINGS}/20auto-upgrades
  rmdir /etc/systemd/journald.conf.d 2>/dev/null || true
  rmdir {SETTINGS} 2>/dev/null || true
  for user in {PROXY_USER} {USER}; do
    if id -u "$user" >/dev/null 2>&1; then userdel "$user"; fi
  done
  if getent group {USER} >/dev/null; then groupdel {USER}; fi
fi
""",
            stamp="",
            present=f"! [ -e {settings} ] && ! [ -e {layout.state} ] "
            f"&& {{ ! {last} || ! id -u {USER}; }}",
            document={"folders": [settings, layout.state]},
            needs=("units", "firewall"),
        ),
        HostStep(
            id="folder",
            what=f"remove {root}",
            script=f"""\
{ours}
find {root} -mindepth 1 -maxdepth 1 ! -name deployment.json -exec rm -rf {{}} +
rm -f {layout.marker}
rmdir {root}
rmdir {ROOT} 2>/dev/null || true
""",
            stamp="",
            present=f"! [ -e {root} ]",
            document={"folder": root},
            needs=("settings",),
        ),
    ]
