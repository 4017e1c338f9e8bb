"""Alarms: one list, written for each place that can ring, and told by ourselves where none can.

Adding a target adds a file and a line here.
"""

from roadworthy.monitor.alarms._base import Alarm, AlarmTarget, Place, alarm_list
from roadworthy.monitor.alarms.azure import Azure
from roadworthy.monitor.alarms.cloudwatch import CloudWatch
from roadworthy.monitor.alarms.google import GoogleCloud
from roadworthy.monitor.alarms.prometheus import Prometheus

TARGETS: dict[str, AlarmTarget] = {
    target.name: target for target in (Prometheus(), CloudWatch(), Azure(), GoogleCloud())
}

__all__ = ["TARGETS", "Alarm", "AlarmTarget", "Place", "alarm_list"]
