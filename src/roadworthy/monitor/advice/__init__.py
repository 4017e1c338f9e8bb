"""What to do next: ranked actions with their evidence, by rules that are written down."""

from roadworthy.monitor.advice.advise import advise, look
from roadworthy.monitor.advice.gains import Gain, Gains, measure_gains
from roadworthy.monitor.advice.rules import Action, ActionKind, decide
from roadworthy.monitor.advice.situation import Situation, Swap

__all__ = [
    "Action",
    "ActionKind",
    "Gain",
    "Gains",
    "Situation",
    "Swap",
    "advise",
    "decide",
    "look",
    "measure_gains",
]
