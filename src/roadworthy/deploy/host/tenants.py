"""Every deployment that a host has something of, by its folders and units.

What stands in a folder of `/opt/roadworthy` that Roadworthy did not make is nobody's tenant.
"""

from __future__ import annotations

from collections import defaultdict

import msgspec

from roadworthy.deploy._base import Tenant
from roadworthy.deploy.host.layout import ROOT, SETTINGS, UNITS, Layout

LIST = f"""\
{{
  for each in {ROOT}/*/; do echo "$(basename "$each") folder ${{each%/}}"; done
  for each in {SETTINGS}/*/; do
    name=$(basename "$each")
    [ "$name" = firewall.d ] || [ "$name" = metrics.d ] || echo "$name settings ${{each%/}}"
  done
  for each in {SETTINGS}/firewall.d/*; do echo "$(basename "$each") ports $each"; done
  for each in /var/lib/roadworthy-*; do
    name=${{each#/var/lib/roadworthy-}}; echo "${{name%-proxy}} state $each"
  done
  for each in {UNITS}/roadworthy-*-proxy.service; do
    name=${{each##*/roadworthy-}}; echo "${{name%-proxy.service}} unit $each"
  done
  for each in {UNITS}/roadworthy-*@.service; do
    name=${{each##*/roadworthy-}}; echo "${{name%@.service}} unit $each"
  done
}} | while read -r name kind place; do
  marker={ROOT}/$name/deployment.json
  [ -e "$place" ] || continue
  [ -f "$marker" ] || [ -z "$(ls -A "{ROOT}/$name" 2>/dev/null)" ] || continue
  echo "$name $kind $place $(cat "$marker" 2>/dev/null | tr -d '\\n')"
done
"""
"""Lists the parts: name, kind, place, the deployment's mark."""


def remains(layout: Layout) -> str:
    """A condition: something is left of a deployment, and nothing in its place is another's."""
    left = " || ".join(
        f"[ -e {each} ]"
        for each in (
            layout.root, layout.settings, layout.state, f"{layout.state}-proxy",
            f"{UNITS}/{layout.proxy}", f"{UNITS}/{layout.service}.service",
        )
    )  # fmt: skip
    ours = f'[ -f {layout.marker} ] || [ -z "$(ls -A {layout.root} 2>/dev/null)" ]'
    return f"{{ {left}; }} && {{ {ours}; }}"


def parse_tenants(listed: str) -> tuple[Tenant, ...]:
    """What `LIST` said."""
    parts: defaultdict[str, list[str]] = defaultdict(list)
    models: dict[str, str] = {}
    for line in listed.splitlines():
        name, kind, place, *mark = line.split(" ", 3)
        parts[name].append(f"{kind} {place}")
        models[name] = _model(mark[0] if mark else "")
    return tuple(
        Tenant(deployment=name, model=models[name], parts=tuple(sorted(listed)))
        for name, listed in sorted(parts.items())
    )


def _model(mark: str) -> str:
    try:
        return msgspec.json.decode(mark, type=dict[str, str]).get("model", "")
    except msgspec.DecodeError:
        return ""
