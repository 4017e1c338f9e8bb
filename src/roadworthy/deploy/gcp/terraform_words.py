"""How Terraform names what parts of a deployment on Google Cloud are."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from roadworthy.deploy.gcp.resource import Naming


def own_subnet(path: str, naming: Naming) -> str:
    """The subnet that is made, or yours."""
    made = path.endswith(f"/subnetworks/{naming.name}")
    return "${google_compute_subnetwork.subnet.id}" if made else path


def snake(given: Mapping[str, Any]) -> dict[str, Any]:
    """Arguments by the names that Terraform has for them."""
    return {word(key): value for key, value in given.items()}


def word(name: str) -> str:
    """A name of Google as Terraform writes it."""
    return re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name).replace("-", "_").lower()
