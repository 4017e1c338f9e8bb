"""What things cost a month, by a table of list prices that comes with Roadworthy.

The table is small, of a stated day, and an estimate: on-demand prices of common machines, without
taxes, traffic, discounts and free allowances. What it does not cover has no price.
"""

from __future__ import annotations

import functools
from importlib import resources

import msgspec

from roadworthy.deploy.plan import Price

HOURS = 730
"""Hours of a month, as clouds count them."""


class Region(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Prices in a region.

    Attributes:
        hourly: What is paid by the hour: a machine's type, `address` -> price.
        disk: A gigabyte of disk a month.
    """

    hourly: dict[str, float]
    disk: float


class Table(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The table.

    Attributes:
        as_of: Day of the prices.
        currency: Of all of them.
        clouds: Cloud -> region -> prices.
    """

    as_of: str
    currency: str
    clouds: dict[str, dict[str, Region]]


@functools.cache
def table() -> Table:
    """The table that comes with Roadworthy."""
    text = resources.files("roadworthy.deploy.cloud").joinpath("prices.json").read_bytes()
    return msgspec.json.decode(text, type=Table)


def price_of(cloud: str, region: str, what: str, disk_gb: int = 0) -> Price | None:
    """What something costs a month; None where the table does not say.

    Args:
        cloud: `aws`, `azure`, `gcp`.
        region: The cloud's own name of the region.
        what: A machine's type, or `address`.
        disk_gb: Gigabytes of its disk.
    """
    prices = table().clouds.get(cloud, {}).get(region)
    if prices is None or what not in prices.hourly:
        return None
    monthly = prices.hourly[what] * HOURS + prices.disk * disk_gb
    return Price(monthly=round(monthly, 2), currency=table().currency, as_of=table().as_of)
