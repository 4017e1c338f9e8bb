"""The command lines of a plan, typed into the unmodified `gcloud`, do what `deploy apply` does."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from roadworthy.deploy.gcp.provider import GcpProvider
from tests.deploy.gcp.google_server import PROJECT, Google
from tests.deploy.gcp.test_gcp import apply, destroy, google, identity, provider, section, server

__all__ = ["google", "identity", "server"]  # fixtures

pytestmark = [
    pytest.mark.skipif(shutil.which("gcloud") is None, reason="gcloud comes from no registry"),
    pytest.mark.timeout(600),
]


@pytest.fixture
def terminal(google: Google, tmp_path: Path) -> dict[str, str]:
    """The environment of someone whose `gcloud` speaks with the server."""
    config = {
        "CONFIG": str(tmp_path), "CORE_PROJECT": PROJECT, "CORE_DISABLE_PROMPTS": "1",
        "CORE_DISABLE_USAGE_REPORTING": "true", "AUTH_DISABLE_CREDENTIALS": "true",
        "COMPONENT_MANAGER_DISABLE_UPDATE_CHECK": "true",
        "API_ENDPOINT_OVERRIDES_COMPUTE": f"{google.url}/compute/v1/",
    }  # fmt: skip
    return os.environ | {f"CLOUDSDK_{key}": value for key, value in config.items()}


def typed(line: str, terminal: dict[str, str]) -> str:
    done = subprocess.run(["/bin/sh", "-c", line], env=terminal, capture_output=True, text=True)
    assert done.returncode == 0, f"{line[:80]}: {done.stderr}"
    return done.stdout.strip()


def test_typed_in_by_hand_they_make_what_apply_makes_and_it_is_taken_away(
    google: Google, identity: str, terminal: dict[str, str]
) -> None:
    def asked() -> GcpProvider:
        return provider(google, section(identity, alarms=False))

    for step in asked().steps():
        typed(step.command, terminal)
    assert google.refused == []
    assert apply(asked()) == []  # all is as wanted
    seen = "gcloud compute instances describe roadworthy-prod --zone=europe-west1-b"
    assert typed(f"{seen} --format='value(name,status)'", terminal).split() == [
        "roadworthy-prod", "RUNNING"
    ]  # fmt: skip
    destroy(asked())
    assert google.things == {}
