"""CloudWatch, by PutMetricData; credentials and region come as the AWS SDK finds them.

https://docs.aws.amazon.com/AmazonCloudWatch/latest/APIReference/API_PutMetricData.html
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from roadworthy.monitor.alarms.cloudwatch import NAMESPACE
from roadworthy.monitor.export import Sample, dimension_sets
from roadworthy.monitor.push._base import PushPlace, missing, refused

_BATCH = 500
_LONGEST = 1024


class CloudWatch:
    """PutMetricData, under the names and dimensions that our alarms look for."""

    name = "cloudwatch"

    def push(self, found: Sequence[Sample], place: PushPlace, now: float) -> int:
        """See `PushTarget`."""
        try:
            import boto3
            from botocore.exceptions import BotoCoreError, ClientError
        except ImportError:
            raise missing("the AWS SDK", "aws") from None
        data = [datum for sample in found for datum in _data(sample, now)]
        try:
            client = boto3.client("cloudwatch", endpoint_url=place.endpoint)
            for start in range(0, len(data), _BATCH):
                some = data[start : start + _BATCH]
                client.put_metric_data(Namespace=NAMESPACE, MetricData=some)
        except (BotoCoreError, ClientError) as error:
            raise refused("CloudWatch", error) from None
        return len(data)


def _data(sample: Sample, now: float) -> list[dict[str, Any]]:
    moment = datetime.fromtimestamp(now, UTC)
    value: dict[str, Any] = {"Value": float(sample.value)}
    if sample.counts:
        value = {
            "Values": [each for each, _ in sample.counts],
            "Counts": [float(count) for _, count in sample.counts],
        }
    return [
        {
            "MetricName": sample.name,
            "Timestamp": moment,
            "Dimensions": _dimensions({key: sample.labels[key] for key in keys}),
            **value,
        }
        for keys in dimension_sets(sample)
    ]


def _dimensions(labels: Mapping[str, str]) -> list[dict[str, str]]:
    """Dimensions are ASCII and not empty; other letters are written as escapes."""
    plain = {
        name: value.encode("ascii", "backslashreplace").decode().strip()[:_LONGEST] or "-"
        for name, value in labels.items()
    }
    return [{"Name": name, "Value": plain[name]} for name in sorted(plain)]
