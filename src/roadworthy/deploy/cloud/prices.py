"""What things cost a month, by a table of list prices that comes with Roadworthy.

The table is small, of a stated day, and an estimate: on-demand prices of common machines, load
balancers, databases, buckets and addresses, without taxes, traffic, logs, discounts and free
allowances. What it does not cover has no price, and a plan says so.

Sources: https://aws.amazon.com/ec2/pricing/on-demand/, .../elasticloadbalancing/pricing/,
.../rds/postgresql/pricing/, .../s3/pricing/; https://azure.microsoft.com/pricing/calculator/,
https://learn.microsoft.com/azure/application-gateway/understanding-pricing;
https://cloud.google.com/compute/all-pricing, .../vpc/network-pricing, .../sql/pricing,
.../storage/pricing.
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
        hourly: What is paid by the hour: a machine's type, `address`, `balancer`, `nat`,
            `database CLASS` -> price.
        gigabytes: What is paid by the gigabyte and month: `disk`, `database`, `store` -> price.
    """

    hourly: dict[str, float]
    gigabytes: dict[str, float]


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


PAID = {
    "aws": {"instance", "group", "address", "balancer", "database", "bucket", "store"},
    "azure": {
        "Microsoft.Compute/virtualMachines", "Microsoft.Compute/virtualMachineScaleSets",
        "Microsoft.Network/publicIPAddresses", "Microsoft.Network/natGateways",
        "Microsoft.Network/applicationGateways", "Microsoft.DBforPostgreSQL/flexibleServers",
        "Microsoft.Storage/storageAccounts", "Microsoft.Network/privateEndpoints",
        "Microsoft.Network/privateDnsZones",
    },
    "gcp": {
        "instances", "regionInstanceGroupManagers", "addresses", "globalForwardingRules",
        "forwardingRules", "databaseInstances", "buckets",
    },
}  # fmt: skip
"""Cloud -> its own words for what costs money by being there, or by what is in it."""


def price_of(cloud: str, region: str, what: str, gigabytes: int = 0, *, of: str = "disk",
             count: int = 1) -> Price | None:  # fmt: skip
    """What something costs a month; None where the table does not say.

    Args:
        cloud: `aws`, `azure`, `gcp`.
        region: The cloud's own name of the region.
        what: A key of `Region.hourly`.
        gigabytes: How many gigabytes it has.
        of: What these are, a key of `Region.gigabytes`.
        count: How many there are.
    """
    prices = table().clouds.get(cloud, {}).get(region)
    if prices is None or what not in prices.hourly or (gigabytes and of not in prices.gigabytes):
        return None
    monthly = prices.hourly[what] * HOURS
    monthly += prices.gigabytes[of] * gigabytes if gigabytes else 0.0
    return _price(monthly * count)


def together(*prices: Price | None) -> Price | None:
    """What several things cost; None where one of them has no price."""
    known = [each.monthly for each in prices if each is not None and each.monthly is not None]
    return _price(sum(known)) if len(known) == len(prices) else None


def stored(cloud: str, region: str) -> Price | None:
    """What a gigabyte in a bucket costs; the bucket itself costs nothing.

    Args:
        cloud: `aws`, `azure`, `gcp`.
        region: The cloud's own name of the region.
    """
    prices = table().clouds.get(cloud, {}).get(region)
    if prices is None or "store" not in prices.gigabytes:
        return None
    said = f"{prices.gigabytes['store']:g} {table().currency} a gigabyte and month"
    return msgspec.structs.replace(_price(0), monthly=None, by_use=said)


def _price(monthly: float) -> Price:
    return Price(monthly=round(monthly, 2), currency=table().currency, as_of=table().as_of)
