"""Controlled runs of concurrent programs: virtual time, and threads that switch only where an explorer says."""

from shared.simulation.explorer import Report, VirtualTime, explore, explore_async, run, series, shrink_schedule
from shared.simulation.outcomes import Deadlock, Failure, Outcome, Schedule, Stuck
from shared.simulation.strategies import Strategy, strategies

__all__ = [
    "Deadlock",
    "Failure",
    "Outcome",
    "Report",
    "Schedule",
    "Strategy",
    "Stuck",
    "VirtualTime",
    "explore",
    "explore_async",
    "run",
    "series",
    "shrink_schedule",
    "strategies",
]
