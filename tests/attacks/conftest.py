"""Lets these tests import the counter exercise of tests/engine and the tables beside them."""

from __future__ import annotations

import sys
from pathlib import Path

_ENGINE_TESTS = Path(__file__).parents[1] / "engine"
sys.path[:0] = [str(_ENGINE_TESTS), str(Path(__file__).parent)]
