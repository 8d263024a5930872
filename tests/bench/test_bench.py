"""Every benchmark runs and yields rows. What it measures is not for the suite: figures come from `make bench`."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from graders.course import COURSE_ROOT

BENCHES = sorted(path.stem.removeprefix("bench_") for path in Path(__file__).parent.glob("bench_*.py"))


def bench(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "tests.bench", *arguments]
    return subprocess.run(command, cwd=COURSE_ROOT, capture_output=True, text=True, timeout=120)


@pytest.mark.parametrize("name", BENCHES)
def test_a_quick_run_prints_tables_with_figures(name):
    done = bench("--quick", name)
    assert done.returncode == 0, done.stderr
    _, *tables = done.stdout.split("\n\n")
    assert tables
    for table in tables:
        title, heading, *rows = table.splitlines()
        assert title and heading.startswith("  ")
        assert sum(bool(re.search(r"\d", row)) for row in rows) >= 2, table


def test_an_unknown_name_is_answered_with_the_known_ones():
    done = bench("teapot")
    assert done.returncode == 2
    assert "there is no benchmark teapot" in done.stderr and "circuit_breaker" in done.stderr
