"""What checks are written with: `Check`, `Mismatch`, `World`, and the examiner that runs them."""

from graders.kit.card import Card
from graders.kit.check import Check, Event, History, Mismatch, Scenario, checks_in
from graders.kit.examine import Driver, Result, RunnerLost, examine
from graders.kit.notebook import CheckFailed, Checks, checks_for
from graders.kit.play import Plan, Recording, Trouble, play, play_each
from graders.kit.world import World

__all__ = [
    "Card",
    "Check",
    "CheckFailed",
    "Checks",
    "Driver",
    "Event",
    "History",
    "Mismatch",
    "Plan",
    "Recording",
    "Result",
    "RunnerLost",
    "Scenario",
    "Trouble",
    "World",
    "checks_for",
    "checks_in",
    "examine",
    "play",
    "play_each",
]
