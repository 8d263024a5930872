"""Lets these tests import the counter exercise of tests/engine, the tiny class, and the tables beside them."""

from __future__ import annotations

import sys
from pathlib import Path

_TESTS = Path(__file__).parents[1]
sys.path[:0] = [str(_TESTS / "engine"), str(_TESTS / "classroom"), str(Path(__file__).parent)]
