"""Where metrics are sent to, one file a place."""

from roadworthy.monitor.push._base import PushPlace, PushTarget
from roadworthy.monitor.push.azure import Azure
from roadworthy.monitor.push.cloudwatch import CloudWatch
from roadworthy.monitor.push.otlp import Collector, GoogleCloud

PUSHES: dict[str, PushTarget] = {
    target.name: target for target in (CloudWatch(), Azure(), GoogleCloud(), Collector())
}

__all__ = ["PUSHES", "PushPlace", "PushTarget"]
