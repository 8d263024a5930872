"""Grades the same class with stock nbgrader and with the engine, on one core and on all; then ever larger classes.

Both grade the same bytes, each from a fresh process and an empty gradebook, one after the other. CPU is what the whole
machine was busy for meanwhile, since sandboxed processes are accounted for nowhere else: leave it alone while it
measures. Memory is the largest sum over the command's processes, the pages that they share counted once.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import cycle, islice
from pathlib import Path

import psutil

from graders.course import COURSE_ROOT, Exercise, find
from graders.engine.batch import ClassFolder
from graders.source_format import read_answer
from tests.bench.harness import Table
from tests.classroom import tiny_class

__all__ = ["tables"]

_EXERCISE = "17.2.1"
_CLASS, _QUICK_CLASS = 40, 1
_GROWTH, _QUICK_GROWTH = (10, 100, 1000), (2, 3)
_SAMPLE_SECONDS = 0.1
_STOCK_CONFIG = """
from pathlib import Path
c = get_config()
c.CourseDirectory.root = str(Path(__file__).resolve().parent)
c.CourseDirectory.source_directory = "solutions"
c.CourseDirectory.release_directory = "chapters"
c.CourseDirectory.ignore = ["*.py", ".*"]
"""
_OURS = """
import sys
from pathlib import Path
from graders.engine.batch import ClassFolder
from graders.engine.classroom import grade_class
if __name__ == "__main__":
    report = grade_class(ClassFolder(Path(sys.argv[1]), Path(sys.argv[2])))
    assert all(outcome.verdict for outcome in report.outcomes), [outcome.problem for outcome in report.outcomes]
"""


@dataclass(frozen=True)
class _Cost:
    """Seconds and bytes of one command."""

    wall: float
    cpu: float
    memory: int


def tables(quick: bool) -> Iterator[Table]:
    """Stock nbgrader beside the engine, then the engine's cost per submission as the class grows."""
    with tempfile.TemporaryDirectory(prefix="bench-grading-") as scratch:
        for cores in _core_sets(quick):
            yield _against_stock(Path(scratch) / f"on-{len(cores)}", _QUICK_CLASS if quick else _CLASS, cores)
        yield _as_the_class_grows(Path(scratch) / "growth", _QUICK_GROWTH if quick else _GROWTH)


def _core_sets(quick: bool) -> list[set[int]]:
    available = os.sched_getaffinity(0)
    one = {min(available)}
    return [one] if quick or len(available) == 1 else [one, available]


def _against_stock(scratch: Path, size: int, cores: set[int]) -> Table:
    exercise = find(_EXERCISE)
    stock, ours = scratch / "stock", scratch / "ours"
    (stock / "solutions").mkdir(parents=True)
    shutil.copytree(exercise.golden.parent, stock / "solutions" / exercise.section)
    (stock / "nbgrader_config.py").write_text(_STOCK_CONFIG)
    _run(["nbgrader", "generate_assignment", exercise.section], stock, cores)
    for number, answer in enumerate(islice(cycle(_answers(exercise)), size)):
        for folder in (stock, ours):
            path = folder / "submitted" / f"student-{number:03}" / exercise.section / exercise.notebook.name
            path.parent.mkdir(parents=True)
            path.write_text(_answered(exercise, answer, number))
    costs = {
        "stock nbgrader autograde": _run(["nbgrader", "autograde", exercise.section], stock, cores),
        "the engine": _run([sys.executable, _script(scratch), str(ours), str(COURSE_ROOT)], scratch, cores),
    }
    least = costs["the engine"]
    return Table(
        title=f"{size} submissions of {_EXERCISE}, on {len(cores)} core{'s' if len(cores) > 1 else ''}",
        columns=("", "wall s", "CPU s", "peak MB", "wall ×", "CPU ×", "peak ×"),
        rows=tuple(
            (
                name,
                f"{cost.wall:.1f}",
                f"{cost.cpu:.1f}",
                f"{cost.memory / 1e6:.0f}",
                f"{cost.wall / least.wall:.1f}",
                f"{cost.cpu / least.cpu:.1f}",
                f"{cost.memory / least.memory:.1f}",
            )
            for name, cost in costs.items()
        ),
        notes=("Both from a cold start: imports, gradebook and, with the engine, every learner's page included.",),
    )


def _as_the_class_grows(scratch: Path, sizes: Sequence[int]) -> Table:
    rows = []
    first = 0.0
    start = _cost_of_starting(scratch / "alone")
    for size in sizes:
        folder = tiny_class.make_course(scratch / str(size))
        for number in range(size):
            tiny_class.hand_in(folder, f"student-{number:04}", f"# answer {number}\n{tiny_class.RIGHT}")
        cost = _grade_tiny(folder)
        each = (cost.cpu - start.cpu) / (size - 1)
        first = first or each
        rows.append(
            (
                f"{size} submissions",
                f"{cost.wall:.1f}",
                f"{cost.cpu:.1f}",
                f"{cost.memory / 1e6:.0f}",
                f"{1000 * each:.0f}",
                f"{each / first:.2f}",
            )
        )
    return Table(
        title="The engine as the class grows: an exercise of two small checks, every answer different, all cores",
        columns=("", "wall s", "CPU s", "peak MB", "CPU ms each", "ratio"),
        rows=tuple(rows),
        notes=("CPU each leaves out the start: what a class of one costs.",),
    )


def _cost_of_starting(scratch: Path) -> _Cost:
    alone = tiny_class.make_course(scratch)
    tiny_class.hand_in(alone, "student-0000")
    return _grade_tiny(alone)


def _grade_tiny(folder: ClassFolder) -> _Cost:
    command = [sys.executable, _script(folder.course), str(folder.root), str(folder.course)]
    return _run(command, folder.course, os.sched_getaffinity(0))


def _answers(exercise: Exercise) -> list[str]:
    """Right and wrong answers, alternating."""
    right, wrong = (
        [
            read_answer(path.read_text(encoding="utf-8")).solutions["circuit-breaker"]
            for path in sorted(exercise.answers.glob(f"{kind}-*.py"))
        ]
        for kind in ("right", "wrong")
    )
    return [answer for pair in zip(cycle(right), wrong, strict=False) for answer in pair]


def _answered(exercise: Exercise, answer: str, number: int) -> str:
    notebook = json.loads(exercise.notebook.read_text(encoding="utf-8"))
    for cell in notebook["cells"]:
        if cell["metadata"].get("nbgrader", {}).get("grade_id") == "circuit-breaker":
            cell["source"] = f"# student {number}\n{answer}"
    return json.dumps(notebook)


def _script(folder: Path) -> str:
    path = folder / "grade.py"
    path.write_text(_OURS)
    return str(path)


def _run(command: Sequence[str], folder: Path, cores: set[int]) -> _Cost:
    """Run a command of this environment on these cores. Raises CalledProcessError, with its last words, if it fails."""
    environment = {
        **os.environ,
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', os.defpath)}",
        "HYPOTHESIS_STORAGE_DIRECTORY": str(folder / "hypothesis"),
    }
    with tempfile.TemporaryFile() as output:
        began, busy = time.monotonic(), _busy_seconds()
        process = psutil.Popen(
            command,
            cwd=folder,
            env=environment,
            stdout=output,
            stderr=output,
            preexec_fn=lambda: os.sched_setaffinity(0, cores),
        )
        peak = _Peak(process)
        try:
            _, status = os.waitpid(process.pid, 0)
        except BaseException:
            for each in [*process.children(recursive=True), process]:
                with suppress(psutil.NoSuchProcess):
                    each.kill()
            raise
        finally:
            memory = peak.stop()
        wall, cpu = time.monotonic() - began, _busy_seconds() - busy
        if status:
            output.seek(0)
            raise subprocess.CalledProcessError(status, command, output.read()[-4000:].decode("utf-8", "replace"))
    return _Cost(wall, cpu, memory)


def _busy_seconds() -> float:
    """CPU seconds that this machine has worked since it started."""
    times = psutil.cpu_times()
    return float(times.user + times.nice + times.system)


class _Peak:
    """Samples the memory of a process tree from a thread, until it is stopped."""

    def __init__(self, process: psutil.Process) -> None:
        self._process = process
        self._most = 0
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._sample, daemon=True)
        self._thread.start()

    def stop(self) -> int:
        """The largest sum, in bytes."""
        self._ended.set()
        self._thread.join()
        return self._most

    def _sample(self) -> None:
        while not self._ended.wait(_SAMPLE_SECONDS):
            total = 0
            with suppress(psutil.Error):
                for each in [self._process, *self._process.children(recursive=True)]:
                    with suppress(psutil.Error):
                        memory = each.memory_full_info()
                        # The proportional share, where the system tells it: forks share most of their pages.
                        total += getattr(memory, "pss", memory.rss)
            self._most = max(self._most, total)
