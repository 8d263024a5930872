"""The explorer finds every known bug from every seed, replays it, and never blames the correct twin.

The full table, with more seeds and schedules, is written by `python -m tools.explorer_table`.
"""

from __future__ import annotations

import asyncio
import inspect
import shutil
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

from tools.explorer_table import (
    KINDS,
    PAGE,
    Figures,
    Program,
    Search,
    load,
    main,
    measure,
    measure_with,
    page,
    programs,
)

PROGRAMS = programs()
# A bug ends its search at the first failing schedule; a twin always costs all schedules, so it gets fewer of them.
QUICK = Search(seeds=12, schedules=200, twin_seeds=2, twin_schedules=25)
# What one more interpreter costs must stay small.
TASTE = Search(seeds=1, schedules=200, twin_seeds=1, twin_schedules=5)

every_program = pytest.mark.parametrize("program", PROGRAMS, ids=lambda program: f"{program.family}-{program.name}")


@cache
def interpreters() -> list[str]:
    """This Python and those of the other supported versions that start when they are called by name."""
    found = [sys.executable]
    for minor in (12, 13):
        path = shutil.which(f"python3.{minor}")
        if path and sys.version_info[:2] != (3, minor):
            probe = [path, "-c", f"import sys; sys.exit(sys.version_info[:2] != (3, {minor}))"]
            if subprocess.run(probe, capture_output=True).returncode == 0:
                found.append(path)
    return found


@every_program
def test_the_bug_is_found_from_every_seed_and_replays(program: Program) -> None:
    figures = measure(program, Search(QUICK.seeds, QUICK.schedules, twin_seeds=0))
    assert figures.wrong == []
    assert len(figures.needed) == figures.replays == QUICK.seeds


@every_program
def test_the_correct_twin_is_never_blamed(program: Program) -> None:
    for seed in range(QUICK.twin_seeds):
        report = program.explore(program.fixed, schedules=QUICK.twin_schedules, seed=seed)
        assert report.ok, f"seed {seed}: {report}"
        assert report.schedules_run == QUICK.twin_schedules


@every_program
@pytest.mark.timeout(60)
def test_the_correct_twin_ends_right_without_the_explorer(program: Program) -> None:
    if inspect.iscoroutinefunction(program.fixed):
        asyncio.run(program.fixed())
    else:
        program.fixed()


@pytest.mark.parametrize("python", interpreters(), ids=lambda path: Path(path).name)
def test_every_python_finds_the_bugs_and_spares_the_twins(python: str) -> None:
    _, figures = measure_with(python, TASTE)
    assert {row.name: row.wrong for row in figures if row.wrong} == {}
    assert [row.name for row in figures] == [program.name for program in PROGRAMS]


def test_every_kind_of_failure_has_a_program() -> None:
    assert {program.kind for program in PROGRAMS} == KINDS


def test_the_written_page_names_every_program() -> None:
    text = PAGE.read_text(encoding="utf-8")
    missing = [program.name for program in PROGRAMS if f"/{program.family}/{program.name}.py)" not in text]
    assert missing == [], "run `python -m tools.explorer_table`"


def test_the_page_shows_the_worst_seed_and_every_false_alarm() -> None:
    row = Figures("lost_update", "threads", "invariant", seeds=3, needed=[1, 4, 9], switches=[1, 2, 1], replays=2)
    row.false_alarms = 1
    text = page({"3.11.7": [row]}, PROGRAMS, QUICK)
    assert "| 3.11.7 | 1 of 1 | 4, 4, 9 | 1 | 2 of 3 |" in text
    assert "lost_update.py) | invariant | 3 of 3 | 4, 9 | 2 | 1 | 2 of 3 |" in text


def test_the_exit_code_says_whether_a_bug_was_missed() -> None:
    one_seed = ["--only=lost_update", "--seeds=1", "--twin-seeds=0"]
    assert main(one_seed) == 0
    assert main([*one_seed, "--schedules=1"]) == 1


def test_an_unknown_program_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["--only=found_update"])
    assert "no program is called found_update" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("source", "sentence"),
    [("KIND = 'deadlock'", "the docstring is one sentence"), ("'''A mistake: a place.'''", "KIND is one of")],
)
def test_a_program_that_does_not_state_itself_is_refused(tmp_path: Path, source: str, sentence: str) -> None:
    module = tmp_path / "nameless.py"
    module.write_text(source, encoding="utf-8")
    with pytest.raises(ValueError, match=sentence):
        load(module)
