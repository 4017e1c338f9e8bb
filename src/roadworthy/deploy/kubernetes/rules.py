"""Kubernetes' rules for names, labels and quantities, which its schemas do not hold.

From the documentation of object names, labels and selectors, and of the API's `resource.Quantity`.
"""

from __future__ import annotations

import re
from decimal import Decimal

DNS_NAME = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")
LABEL_VALUE = re.compile(r"([A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?)?")
LABEL_KEY = re.compile(
    r"(?:(?=.{1,253}/)[a-z0-9]([-a-z0-9.]*[a-z0-9])?/)?[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?"
)
VARIABLE = re.compile(r"[A-Z][A-Z0-9_]*")
_QUANTITY = re.compile(r"(\d+(?:\.\d*)?|\.\d+)(m|k|M|G|T|P|E|Ki|Mi|Gi|Ti|Pi|Ei|[eE]-?\d+|)")
_SUFFIXES = {"m": Decimal("0.001"), "": Decimal(1)}
_SUFFIXES |= {suffix: Decimal(1000) ** power for power, suffix in enumerate("kMGTPE", 1)}
_SUFFIXES |= {f"{s}i": Decimal(1024) ** power for power, s in enumerate("KMGTPE", 1)}


def quantity(text: object) -> Decimal | None:
    """The number that a quantity means; None when it is none, or not above 0."""
    found = _QUANTITY.fullmatch(str(text))
    if found is None:
        return None
    number, suffix = found.groups()
    factor = Decimal(f"1{suffix}") if suffix[:1] in ("e", "E") and suffix[1:] else None
    value = Decimal(number) * (_SUFFIXES[suffix] if factor is None else factor)
    return value if value > 0 else None


def is_pinned(image: str) -> bool:
    """Whether an image is named by digest, or by a tag other than `latest`."""
    if re.search(r"\s", image) or not image:
        return False
    if "@" in image:
        return re.search(r"@sha256:[0-9a-f]{64}$", image) is not None
    tag = image.rpartition("/")[2].partition(":")[2]
    return re.fullmatch(r"[\w][\w.-]{0,127}", tag) is not None and tag != "latest"
