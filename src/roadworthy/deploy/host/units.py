"""Units of systemd, and the proxy's settings.

The hardening follows systemd.exec(5): the server has no capability, no network, sees the system
read only, and reads its secrets as a credential.
"""

from __future__ import annotations

from typing import Any

from roadworthy.bundle.manifest import to_json
from roadworthy.deploy.host.layout import PROXY_USER, USER, Layout
from roadworthy.deploy.host.service import CREDENTIAL
from roadworthy.project import DeploySection

_HARDENED = """\
NoNewPrivileges=yes
ProtectSystem=strict
ProtectHome=yes
PrivateTmp=yes
PrivateDevices=yes
ProtectKernelTunables=yes
ProtectKernelModules=yes
ProtectKernelLogs=yes
ProtectControlGroups=yes
ProtectClock=yes
ProtectHostname=yes
ProtectProc=invisible
RestrictNamespaces=yes
RestrictRealtime=yes
RestrictSUIDSGID=yes
LockPersonality=yes
RemoveIPC=yes
SystemCallArchitectures=native
SystemCallFilter=@system-service
SystemCallErrorNumber=EPERM
"""


def service_unit(layout: Layout, section: DeploySection, drain_seconds: float) -> str:
    """The template unit that runs a release; `%i` is the release."""
    release = layout.release("%i")
    return f"""\
# Roadworthy: deployment {layout.name}
[Unit]
Description=Roadworthy {layout.name}, release %i
StartLimitIntervalSec=0

[Service]
Type=notify
User={USER}
Group={USER}
ExecStart={release}/runtime/bin/python -m roadworthy.deploy.host.service {release} {layout.socket("%i")}
WorkingDirectory={release}
LoadCredentialEncrypted={CREDENTIAL}:{layout.secrets("%i")}
RuntimeDirectory=roadworthy-{layout.name}
RuntimeDirectoryMode=0750
RuntimeDirectoryPreserve=yes
StateDirectory=roadworthy-{layout.name}
StateDirectoryMode=0750
UMask=0007
Restart=always
RestartSec=200ms
KillMode=mixed
TimeoutStartSec={section.start_seconds}
TimeoutStopSec={int(drain_seconds) + 10}
LimitNOFILE=65536
TasksMax=512
Environment=PYTHONUNBUFFERED=1
{_HARDENED}CapabilityBoundingSet=
RestrictAddressFamilies=AF_UNIX

[Install]
WantedBy=multi-user.target
"""  # noqa: E501


def proxy_unit(layout: Layout) -> str:
    """The unit of the proxy."""
    settings = f"{layout.settings}/proxy.json"
    return f"""\
# Roadworthy: deployment {layout.name}
[Unit]
Description=Roadworthy {layout.name}, proxy
After=network-online.target
Wants=network-online.target
StartLimitIntervalSec=0

[Service]
Type=notify
User={PROXY_USER}
Group={USER}
ExecStart=/usr/bin/caddy run --config {settings}
ExecReload=/usr/bin/caddy reload --force --config {settings} --address {_admin(layout)}
RuntimeDirectory=roadworthy-{layout.name}-proxy
StateDirectory=roadworthy-{layout.name}-proxy
Environment=XDG_DATA_HOME=/var/lib/roadworthy-{layout.name}-proxy
Environment=XDG_CONFIG_HOME=/var/lib/roadworthy-{layout.name}-proxy
Restart=always
RestartSec=200ms
TimeoutStopSec=40
LimitNOFILE=65536
AmbientCapabilities=CAP_NET_BIND_SERVICE
{_HARDENED}CapabilityBoundingSet=CAP_NET_BIND_SERVICE
RestrictAddressFamilies=AF_UNIX AF_INET AF_INET6

[Install]
WantedBy=multi-user.target
"""


def proxy_settings(layout: Layout, section: DeploySection, sni: str) -> bytes:
    """Caddy's settings on a host; `sni` is the given certificate's name."""
    pair, root = (layout.certificate, layout.certificate), layout.authority
    apps = caddy_apps(
        section, sni, port=section.public_port, current=layout.current, pair=pair, root=root
    )
    return to_json({"admin": {"listen": _admin(layout)}, "apps": apps})


def caddy_apps(
    section: DeploySection, sni: str, *, port: int, current: str, pair: tuple[str, str], root: str
) -> dict[str, Any]:
    """Caddy's settings: the public port, TLS, and the link that names the socket.

    Each request dials anew, which costs tens of microseconds on a Unix socket: so a swap needs no
    reload, and no request is sent on a connection that the old release is about to close. A server
    that is just being restarted is waited for.

    Args:
        section: For domain and certificate.
        sni: The name of the given certificate, for callers that ask for none.
        port: Where to listen.
        current: The link.
        pair: Files of the given certificate and its key.
        root: File of the certificate by which the ACME server is trusted.
    """
    handler: dict[str, Any] = {
        "handler": "reverse_proxy",
        "upstreams": [{"dial": f"unix/{current}"}],
        "transport": {"protocol": "http", "keep_alive": {"enabled": False}},
        "load_balancing": {"try_duration": "15s", "try_interval": "50ms"},
    }
    route: dict[str, Any] = {"handle": [handler]}
    server: dict[str, Any] = {"listen": [f":{port}"], "routes": [route]}
    apps: dict[str, Any] = {"http": {"servers": {"models": server}}}
    if section.domain is not None:
        route["match"] = [{"host": [section.domain]}]
        if issuer := _issuer(section, root):
            policy = {"subjects": [section.domain], "issuers": [issuer]}
            apps["tls"] = {"automation": {"policies": [policy]}}
    elif section.tls_certificate is not None:
        server |= {
            "automatic_https": {"disable": True},
            "tls_connection_policies": [{"default_sni": sni}],
        }
        files = dict(zip(("certificate", "key"), pair, strict=True))
        apps["tls"] = {"certificates": {"load_files": [files]}}
    else:
        server["automatic_https"] = {"disable": True}
    return apps


def _issuer(section: DeploySection, root: str) -> dict[str, Any]:
    """The ACME server that is asked; empty: Caddy's own choice."""
    asked = {
        "ca": section.acme_directory,
        "email": section.acme_email,
        "trusted_roots_pem_files": [root] if section.acme_root is not None else None,
    }
    found = {key: value for key, value in asked.items() if value is not None}
    return {"module": "acme", **found} if found else {}


def _admin(layout: Layout) -> str:
    return f"unix//run/roadworthy-{layout.name}-proxy/admin.sock"
