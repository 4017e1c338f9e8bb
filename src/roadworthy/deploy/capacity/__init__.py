"""How many replicas a load takes: measured, planned by queueing, simulated."""

from roadworthy.deploy.capacity.measuring import Cost, measure
from roadworthy.deploy.capacity.planning import Capacity, Wish, plan_capacity
from roadworthy.deploy.capacity.simulation import simulate

__all__ = ["Capacity", "Cost", "Wish", "measure", "plan_capacity", "simulate"]
