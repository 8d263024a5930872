"""Measures the interleaving explorer on programs with a known bug; every figure in docs/explorer.md is written here.

    python -m tools.explorer_table                          this Python, 20 seeds, 200 schedules a seed
    python -m tools.explorer_table --python PATH ...        and these Pythons too
    python -m tools.explorer_table --json --only NAME       print the figures of this Python, write nothing

Each program is a module under tests/simulation/programs: `buggy()` and its correct twin `fixed()`, KIND (the kind of
failure to be found) and, where needed, LEAKS, MAX_STEPS and ANSWER, which are passed to the explorer.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import platform
import re
import statistics
import subprocess
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from shared.simulation import Failure, Report, explore, explore_async

__all__ = ["Figures", "Program", "Search", "load", "main", "measure", "measure_with", "page", "programs"]

ROOT = Path(__file__).resolve().parent.parent
PROGRAMS = ROOT / "tests" / "simulation" / "programs"
PAGE = ROOT / "docs" / "explorer.md"
EXPLORERS = {"threads": explore, "coroutines": explore_async}
KINDS = {"exception", "thread-exception", "invariant", "deadlock", "livelock", "leak"}

PREFACE = """\
<!-- Written by `python -m tools.explorer_table`. Change the template there, not this page. -->
# What the interleaving explorer finds

`explore` runs a program of several threads under chosen schedules; `explore_async` does the same for coroutines. Does
it find real bugs, and does it leave correct code alone? This page answers with {threads} thread programs and
{coroutines} asyncio programs. Each one holds a mistake that people make in production, and stands beside its correct
twin. They use the standard library as it is. You can read them under `tests/simulation/programs`.

The bug was looked for from {seeds} seeds, with at most {schedules} schedules a seed. Its correct twin was run under
{twin_schedules} schedules from each of {twin_seeds} seeds.

- **found** counts the seeds that led to the expected kind of failure.
- **schedules** says how many runs it took until the failure: the median and the worst seed.
- **switches** is the length of the schedule after shrinking: the worst seed. Zero means that the default order fails
  already.
- **false alarms** counts the seeds under which the correct twin was blamed. Each of them is a defect of the explorer.
- **replays** counts the reports whose schedule, run again, gave the same kind of failure with the same message
  (but for the addresses of objects, which some exceptions of the standard library print).

What it can miss: a deadlock of four or more threads, each of which must stop at one exact place, often needs more
schedules than that; so does any bug that needs many switches. That no failure was found is good news, and no proof.
"""


@dataclass(frozen=True)
class Program:
    """A mistake and its correction. `kind` is the failure that the explorer must report for `buggy`."""

    name: str
    family: str
    kind: str
    mistake: str
    buggy: Callable[[], Any]
    fixed: Callable[[], Any]
    options: dict[str, Any]

    def explore(self, twin: Callable[[], Any], *, schedules: int, seed: int) -> Report:
        """Explore one of the twins with the options that its module asks for."""
        return EXPLORERS[self.family](twin, schedules, seed=seed, **self.options)


@dataclass(frozen=True)
class Search:
    """How far to look: the seeds and schedules for the bug, and those for its twin."""

    seeds: int = 20
    schedules: int = 200
    twin_seeds: int = 20
    twin_schedules: int = 200


@dataclass
class Figures:
    """What the explorer made of one program. `wrong` says in plain words what it should not have done."""

    name: str
    family: str
    kind: str
    seeds: int
    needed: list[int] = field(default_factory=list)
    switches: list[int] = field(default_factory=list)
    replays: int = 0
    false_alarms: int = 0
    wrong: list[str] = field(default_factory=list)


def load(path: Path) -> Program:
    """The program in one module. Raises ValueError for a module that is not a documented pair of twins."""
    family = path.parent.name
    spec = importlib.util.spec_from_file_location(f"explorer_programs.{family}.{path.stem}", path)
    if spec is None or spec.loader is None:
        raise ValueError(f"{path.name}: not a Python module")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    mistake = (module.__doc__ or "").strip()
    if not re.fullmatch(r"[^\n]+\.", mistake):
        raise ValueError(f"{path.name}: the docstring is one sentence on one line")
    if getattr(module, "KIND", None) not in KINDS:
        raise ValueError(f"{path.name}: KIND is one of {', '.join(sorted(KINDS))}")
    settings = {"leaks": "LEAKS", "max_steps": "MAX_STEPS", "answer": "ANSWER"}
    options = {option: getattr(module, name) for option, name in settings.items() if hasattr(module, name)}
    return Program(path.stem, family, module.KIND, mistake, module.buggy, module.fixed, options)


def programs() -> list[Program]:
    """All programs, thread programs first, by name."""
    return [load(path) for family in EXPLORERS for path in sorted((PROGRAMS / family).glob("*.py"))]


def measure(program: Program, search: Search) -> Figures:
    """Look for the bug from every seed, replay what was found, and try to make the correct twin fail."""
    figures = Figures(program.name, program.family, program.kind, search.seeds)
    for seed in range(search.seeds):
        report = program.explore(program.buggy, schedules=search.schedules, seed=seed)
        if report.failure is None or report.failure.kind != program.kind:
            figures.wrong.append(f"seed {seed}: expected {program.kind}, found {_told(report.failure)}")
            continue
        figures.needed.append(report.schedules_run)
        figures.switches.append(len(report.schedule))
        told, retold = _told(report.failure), _told(report.replay().failure)
        if told == retold:
            figures.replays += 1
        else:
            figures.wrong.append(f"seed {seed}: the report said {told!r}, its replay {retold!r}")
    for seed in range(search.twin_seeds):
        report = program.explore(program.fixed, schedules=search.twin_schedules, seed=seed)
        if not report.ok:
            figures.false_alarms += 1
            figures.wrong.append(f"seed {seed}: the correct twin was blamed for {_told(report.failure)}")
    return figures


def measure_with(python: str, search: Search, only: Sequence[str] = ()) -> tuple[str, list[Figures]]:
    """The Python version and the figures of another interpreter, which needs nothing but the standard library."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [python, "-m", "tools.explorer_table", "--json", *(f"--only={name}" for name in only)]
    command += [f"--{name.replace('_', '-')}={value}" for name, value in asdict(search).items()]
    run = subprocess.run(command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True, check=True)
    answer = json.loads(run.stdout)
    return answer["python"], [Figures(**row) for row in answer["figures"]]


def page(by_version: Mapping[str, Sequence[Figures]], listed: Iterable[Program], search: Search) -> str:
    """docs/explorer.md: a summary, the programs, and the figures of every Python version."""
    listed = list(listed)
    families = [program.family for program in listed]
    lines = [
        PREFACE.format(
            threads=families.count("threads"),
            coroutines=families.count("coroutines"),
            **asdict(search),
        ),
        "| Python | bugs found from every seed | schedules: median, 95 %, worst | false alarms | replays |",
        "|---|---|---|---|---|",
        *(_summary(version, figures) for version, figures in by_version.items()),
        "",
        "## The programs",
        "",
        "| program | kind | mistake, and where you meet it |",
        "|---|---|---|",
        *(f"| {_link(program.family, program.name)} | {program.kind} | {program.mistake} |" for program in listed),
    ]
    for version, figures in by_version.items():
        lines += [
            "",
            f"## Python {version}",
            "",
            "| program | kind | found | schedules: median, worst | switches | false alarms | replays |",
            "|---|---|---|---|---|---|---|",
            *(_row(row) for row in figures),
        ]
    return "\n".join(lines) + "\n"


def _told(failure: Failure | None) -> str:
    """What a failure says, but for the addresses of objects, which some exceptions of the standard library print."""
    return "nothing" if failure is None else re.sub(r"\b0x[0-9a-fA-F]+", "0x…", f"{failure.kind}: {failure.message}")


def _link(family: str, name: str) -> str:
    return f"[{name}](../tests/simulation/programs/{family}/{name}.py)"


def _summary(version: str, rows: Sequence[Figures]) -> str:
    needed = sorted(count for row in rows for count in row.needed)
    complete = sum(len(row.needed) == row.seeds for row in rows)
    spread = f"{statistics.median(needed):g}, {needed[int(0.95 * (len(needed) - 1))]}, {needed[-1]}" if needed else "–"
    alarms, replays = sum(row.false_alarms for row in rows), sum(row.replays for row in rows)
    return f"| {version} | {complete} of {len(rows)} | {spread} | {alarms} | {replays} of {len(needed)} |"


def _row(row: Figures) -> str:
    needed = f"{statistics.median(row.needed):g}, {max(row.needed)}" if row.needed else "–"
    switches = max(row.switches) if row.switches else "–"
    return (
        f"| {_link(row.family, row.name)} | {row.kind} | {len(row.needed)} of {row.seeds} | {needed} | {switches} "
        f"| {row.false_alarms} | {row.replays} of {len(row.needed)} |"
    )


def _measure_here(search: Search, only: Sequence[str]) -> list[Figures]:
    chosen = [program for program in programs() if not only or program.name in only]
    measured = []
    for program in chosen:
        measured.append(measure(program, search))
        title = f"Python {platform.python_version()}: {program.family}/{program.name}"
        print(title, *measured[-1].wrong, sep="\n  ", file=sys.stderr, flush=True)
    return measured


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command. 1 says that a bug was missed, a twin blamed or a replay differed; with --json the figures do."""
    parser = argparse.ArgumentParser(prog="python -m tools.explorer_table", description="Measure the explorer.")
    parser.add_argument("--python", action="append", default=[], metavar="PATH", help="measure this interpreter too")
    parser.add_argument("--only", action="append", default=[], metavar="NAME", help="measure this program, no page")
    parser.add_argument("--json", action="store_true", help="print this Python's figures and write nothing")
    for name, default in asdict(Search()).items():
        parser.add_argument(f"--{name.replace('_', '-')}", type=int, default=default, metavar="N")
    options = parser.parse_args(arguments)
    search = Search(**{name: getattr(options, name) for name in asdict(Search())})
    if unknown := set(options.only) - {program.name for program in programs()}:
        parser.error(f"no program is called {', '.join(sorted(unknown))}")
    here = _measure_here(search, options.only)
    if options.json:
        json.dump({"python": platform.python_version(), "figures": [asdict(row) for row in here]}, sys.stdout)
        return 0
    by_version = {platform.python_version(): here}
    by_version.update(measure_with(python, search, options.only) for python in options.python)
    if not options.only:
        PAGE.write_text(page(by_version, programs(), search), encoding="utf-8")
    return int(any(row.wrong for rows in by_version.values() for row in rows))


if __name__ == "__main__":
    sys.exit(main())
