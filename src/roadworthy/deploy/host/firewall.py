"""What of a host may be reached: told to the firewall that is at work, else by rules of ours.

What ufw or firewalld is told carries the deployment's name, so that it can be taken back. SSH is
left to them: whoever set them up has let it in.
"""

from __future__ import annotations

import shlex
from collections.abc import Sequence

from roadworthy.deploy.host.layout import SETTINGS, UNITS, Layout
from roadworthy.deploy.host.steps import HostStep

AGENT = f"{SETTINGS}/metrics.d"
"""Networks that may read the host's own metrics, a file a deployment."""
AGENT_UNIT = "prometheus-node-exporter.service"
AGENT_PORT = 9100
_FIREWALL = f"""\
#!/bin/sh
# Roadworthy: only SSH and the ports of deployments may be reached
set -eu
metrics=$(cat {AGENT}/* 2>/dev/null | sort -u | sed -e '/:/s/^/ip6 saddr /' \
  -e '/:/!s/^/ip saddr /' -e 's/$/ tcp dport {AGENT_PORT} accept/')
ports=$(cat {SETTINGS}/firewall.d/* 2>/dev/null | sort -un | paste -sd, -)
nft -f - <<END
table inet roadworthy
delete table inet roadworthy
table inet roadworthy {{
  chain input {{
    type filter hook input priority filter; policy drop;
    ct state established,related accept
    ct state invalid drop
    iif lo accept
    meta l4proto {{ 1, 58 }} accept # ICMP; a small system does not know its name
    udp dport {{ 68, 546 }} accept
    tcp dport {{ $ports }} accept
    $metrics
  }}
}}
END
"""
_FIREWALL_UNIT = f"""\
# Roadworthy: only SSH and the ports of deployments may be reached
[Unit]
Description=Roadworthy firewall
Before=network-pre.target
Wants=network-pre.target
DefaultDependencies=no
After=local-fs.target

[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart=/bin/sh {SETTINGS}/firewall.sh
ExecReload=/bin/sh {SETTINGS}/firewall.sh
ExecStop=nft delete table inet roadworthy

[Install]
WantedBy=multi-user.target
"""
_SCRIPT = f"{SETTINGS}/firewall.sh"
_UNIT = f"{UNITS}/roadworthy-firewall.service"
_UFW = (
    "ufw status 2>/dev/null | grep -q '^Status: active'"  # the unit is active even when it is not
)
_RETIRE = f"""\
  if [ -e {_UNIT} ]; then # rules of ours, from before it was at work
    systemctl disable --now --quiet roadworthy-firewall.service || true
    rm -rf {_UNIT} {_SCRIPT} {SETTINGS}/firewall.d
    systemctl daemon-reload
  fi"""
_AGENT_OFF = f"""\
if [ -z "$(ls {AGENT} 2>/dev/null)" ]; then
  [ ! -e {AGENT}/.ours ] || systemctl disable --now --quiet {AGENT_UNIT} || true
  rm -rf {AGENT}
fi"""
_FIREWALLD = "systemctl is-active --quiet firewalld"


def firewall_step(
    layout: Layout, ssh: int | None, public: Sequence[int], metrics_from: Sequence[str]
) -> HostStep:
    """Let only SSH and the public ports be reached.

    Args:
        layout: The deployment's places.
        ssh: Port of SSH; None: nobody logs in.
        public: Ports that callers use.
        metrics_from: Networks that may read the host's own metrics.
    """
    ports = sorted({*public, *([] if ssh is None else [ssh])})
    listed = "\n".join(map(str, ports))
    networks = "\n".join(metrics_from)
    script = f"""\
rm -f {AGENT}/{layout.name}
if [ -n {shlex.quote(networks)} ]; then
  mkdir -p {AGENT}
  printf '%s\\n' {shlex.quote(networks)} > {AGENT}/{layout.name}
fi
{_AGENT_OFF}
if {_UFW}; then
{_tell_ufw(layout, public, metrics_from)}
elif {_FIREWALLD}; then
{_tell_firewalld(layout, public, metrics_from)}
else
  mkdir -p {SETTINGS}/firewall.d
  printf '%s\\n' {shlex.quote(listed)} > {SETTINGS}/firewall.d/{layout.name}
  printf %s {shlex.quote(_FIREWALL)} > {_SCRIPT}
  printf %s {shlex.quote(_FIREWALL_UNIT)} > {_UNIT}
  sh {_SCRIPT}
  systemctl daemon-reload
  systemctl enable --quiet roadworthy-firewall.service
  systemctl restart roadworthy-firewall.service
fi
"""
    told = " && ".join(f"ufw status | grep -q '^{port}/tcp  *ALLOW'" for port in public)
    known = f"firewall-cmd --quiet --query-service={_service(layout)}"
    return HostStep(
        id="firewall",
        what=f"let only the ports {', '.join(map(str, ports))} be reached",
        script=script,
        stamp=layout.stamp("firewall"),
        present=f"if {_UFW}; then {told}; elif {_FIREWALLD}; then {known}; "
        "else nft list table inet roadworthy; fi",
        document={"ports": ports},
        needs=("packages",),
    )


def closing_step(layout: Layout) -> HostStep:
    """Let the deployment's ports be reached no longer."""
    rules, service = f"{SETTINGS}/firewall.d/{layout.name}", _service(layout)
    return HostStep(
        id="firewall",
        what="close the deployment's ports again",
        script=f"""\
if {_UFW}; then
{_forget_ufw(layout, ())}
elif {_FIREWALLD}; then
  firewall-cmd --quiet --permanent --remove-service={service} || true
  firewall-cmd --quiet --permanent --delete-service={service} || true
{_forget_readers(layout)}
  firewall-cmd --quiet --reload
fi
rm -f {rules} {AGENT}/{layout.name}
{_AGENT_OFF}
rmdir {SETTINGS}/firewall.d 2>/dev/null || true
if [ -e {_UNIT} ]; then
  if [ -e {SETTINGS}/firewall.d ]; then systemctl restart roadworthy-firewall.service; else
    systemctl disable --now --quiet roadworthy-firewall.service || true
    rm -f {_UNIT} {_SCRIPT}
    systemctl daemon-reload
  fi
fi
""",
        stamp="",
        present=f"! [ -e {rules} ] && ! [ -e {AGENT}/{layout.name} ] "
        f"&& {{ [ -e {SETTINGS}/firewall.d ] || ! [ -e {_UNIT} ]; }} "
        f"&& ! {{ ufw status 2>/dev/null | grep -q '# {_comment(layout)}$'; }} "
        f"&& ! {{ {_FIREWALLD} && firewall-cmd --quiet --query-service={service}; }}",
        document={"file": rules},
        needs=("stop",),
    )


def _tell_ufw(layout: Layout, public: Sequence[int], metrics_from: Sequence[str]) -> str:
    asked = " ".join(map(str, public))
    return f"""\
{_RETIRE}
  for port in {asked}; do
    ufw status | grep -q "^$port/tcp  *ALLOW" \\
    || ufw allow "$port/tcp" comment '{_comment(layout)}' >&2
  done
{_forget_ufw(layout, public)}
  for network in {shlex.join(metrics_from)}; do
    ufw allow proto tcp from "$network" to any port {AGENT_PORT} comment '{_comment(layout)}' >&2
  done"""


def _forget_ufw(layout: Layout, kept: Sequence[int]) -> str:
    """Take back what ufw was told for a deployment, but for some ports; the last rule first."""
    others = "|".join(map(str, kept)) or "none"
    number = f"s/^\\[ *\\([0-9]*\\)\\].*# {_comment(layout)}$/\\1/p"
    return f"""\
  ufw status numbered | grep -vE '\\] ({others})/tcp ' | sed -n '{number}' | sort -rn \\
  | while read -r rule; do ufw --force delete "$rule" </dev/null >&2; done"""


def _tell_firewalld(layout: Layout, public: Sequence[int], metrics_from: Sequence[str]) -> str:
    """In its default zone; a service of the deployment's name says which ports are its own."""
    service = _service(layout)
    ports = " ".join(f"--add-port={port}/tcp" for port in public)
    return f"""\
{_RETIRE}
  firewall-cmd --quiet --permanent --delete-service={service} 2>/dev/null || true
  firewall-cmd --quiet --permanent --new-service={service}
  firewall-cmd --quiet --permanent --service={service} {ports}
  firewall-cmd --quiet --permanent --add-service={service}
{_forget_readers(layout)}
{_let_read(layout, metrics_from)}
  firewall-cmd --quiet --reload"""


def _let_read(layout: Layout, networks: Sequence[str]) -> str:
    if not networks:
        return ""
    service, rules = _readers(layout), []
    for each in networks:
        family = "ipv6" if ":" in each else "ipv4"
        rule = f'rule family="{family}" source address="{each}" service name="{service}" accept'
        rules.append(f"  firewall-cmd --quiet --permanent --add-rich-rule={shlex.quote(rule)}")
    made = f"""\
  firewall-cmd --quiet --permanent --new-service={service}
  firewall-cmd --quiet --permanent --service={service} --add-port={AGENT_PORT}/tcp"""
    return "\n".join([made, *rules])


def _forget_readers(layout: Layout) -> str:
    service = _readers(layout)
    return f"""\
  firewall-cmd --permanent --list-rich-rules | grep -F 'service name="{service}"' \\
  | while read -r rule; do
    firewall-cmd --quiet --permanent --remove-rich-rule="$rule" </dev/null
  done
  firewall-cmd --quiet --permanent --delete-service={service} 2>/dev/null || true"""


def _comment(layout: Layout) -> str:
    return f"roadworthy {layout.name}"


def _service(layout: Layout) -> str:
    return f"roadworthy-{layout.name}"


def _readers(layout: Layout) -> str:
    """The service of those who may read the host's own metrics."""
    return f"{_service(layout)}-metrics"


def agent_step(layout: Layout) -> HostStep:
    """Let the host tell its own metrics, to those whom the firewall lets through."""
    return HostStep(
        id="metrics",
        what=f"run Prometheus' node exporter on port {AGENT_PORT}",
        script=f"""\
systemctl is-enabled --quiet {AGENT_UNIT} 2>/dev/null || touch {AGENT}/.ours
if ! command -v prometheus-node-exporter >/dev/null; then
  command -v apt-get >/dev/null \\
  || {{ echo "there is no package of the node exporter: leave metrics_from out" >&2; exit 69; }}
  export DEBIAN_FRONTEND=noninteractive
  apt-get -o DPkg::Lock::Timeout=300 install -y -qq --no-install-recommends \\
    prometheus-node-exporter >&2
fi
systemctl enable --now --quiet {AGENT_UNIT}
""",
        stamp=layout.stamp("metrics"),
        present=f"systemctl is-active --quiet {AGENT_UNIT}",
        document={"unit": AGENT_UNIT, "port": AGENT_PORT},
        needs=("firewall",),
    )
