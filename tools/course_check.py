"""Tells an author what is broken and which file to edit: an exercise without a finding is fit to be released.

    python -m tools.course_check            all exercises
    python -m tools.course_check 17.2.1     one, or several

Everything is tried for real: notebooks are made again and compared, the untouched one is run in a kernel, and the
solution and every answer go through the engine that grades learners.
"""

from __future__ import annotations

import argparse
import atexit
import contextlib
import copy
import importlib.util
import json
import multiprocessing
import os
import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import Future, ProcessPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from graders.course import COURSE_ROOT, Exercise, UnknownExercise, exercises, find
from graders.engine import Answer, Engine, ExerciseBroken, Verdict
from graders.engine.material import Material
from graders.kit import Check, Checks, History, Plan, Scenario, play
from graders.source_format import AnswerFile, BadSource, Cell, read_answer, read_cells, solutions
from tools.build import Difference, build, orphans, run_cells

__all__ = ["Part", "check_exercise", "leaked_lines", "main", "wrong_answer_problems"]

RIGHT_ANSWERS = 3
_FORGED_SCENARIOS = 4
WRONG_ANSWERS = 15
WELCOME = Path("chapters") / "welcome.md"


@dataclass(frozen=True)
class Part:
    """One part of an exercise: what was looked at, in few words, and what is broken; each entry begins with a file."""

    name: str
    summary: str
    broken: tuple[str, ...] = ()


@dataclass
class _Grading:
    """Verdicts under way: the solution, the untouched notebook, and each answer file that could be read."""

    solution: Future[Verdict | str] | None = None
    untouched: Future[Verdict | str] | None = None
    errors: Future[list[tuple[str, str]]] | None = None
    forged: Future[list[str]] | None = None
    answers: dict[Path, tuple[AnswerFile, Future[Verdict | str]]] = field(default_factory=dict)
    unreadable: list[str] = field(default_factory=list)


def check_exercise(exercise: Exercise, grading: _Grading, built: list[Difference] | BadSource) -> Iterator[Part]:
    """The parts of an exercise, cheap ones first. Waits for the verdicts of `grading`."""
    source = _shown(exercise, exercise.source)
    if isinstance(built, BadSource):
        wrong = [f"{source}:{problem.line}: {problem.message}" for problem in built.problems]
    else:
        wrong = [f"{source}: {_shown(exercise, each.path)} {each.why}; run make build." for each in built]
    yield Part("generated files", "agree with the source", tuple(wrong))
    try:
        cells = read_cells(exercise.source.read_text(encoding="utf-8"))
    except BadSource:
        return
    try:
        material = Material.load(exercise)
    except ExerciseBroken as broken:
        yield Part("parts", "", (f"{_shown(exercise, exercise.checks)}: {broken}",))
        return
    yield _parts(exercise, material, grading)
    yield _leak(exercise, cells)
    yield _solution(exercise, grading)
    yield _untouched(exercise, cells, grading)
    yield _right_answers(exercise, grading)
    yield _wrong_answers(exercise, material, grading)
    yield _checks(exercise, cells, material, grading)
    assert grading.forged is not None
    module = _shown(exercise, exercise.checks)
    yield Part(
        "forged records", "refused by every judge", tuple(f"{module}: {each}" for each in grading.forged.result())
    )


# --- the parts --------------------------------------------------------------------------------------------------------


def _parts(exercise: Exercise, material: Material, grading: _Grading) -> Part:
    right = sum(1 for answer, _ in grading.answers.values() if answer.right)
    wrong = len(grading.answers) - right
    folder = _shown(exercise, exercise.answers)
    broken = list(grading.unreadable)
    if right < RIGHT_ANSWERS:
        broken.append(f"{folder}: {right} right answers, of different design; write at least {RIGHT_ANSWERS}.")
    if wrong < WRONG_ANSWERS:
        broken.append(f"{folder}: {wrong} wrong answers; write at least {WRONG_ANSWERS}.")
    checks = _shown(exercise, exercise.checks)
    if not material.withheld:
        broken.append(f"{checks}: REFERENCE names no module; it says what must be kept from answers.")
    broken += [
        f"{checks}: REFERENCE names {name}, which is not there." for name in material.withheld if not _exists(name)
    ]
    welcome = exercise.root / WELCOME
    if f"({exercise.section}/{exercise.slug}.ipynb)" not in (welcome.read_text() if welcome.exists() else ""):
        broken.append(f"{WELCOME}: no link to {exercise.section}/{exercise.slug}.ipynb.")
    return Part(
        "parts", f"{right} right and {wrong} wrong answers, reference {', '.join(material.withheld)}", tuple(broken)
    )


def _leak(exercise: Exercise, cells: list[Cell]) -> Part:
    lines = leaked_lines(cells, exercise.notebook.read_text(encoding="utf-8"))
    where = _shown(exercise, exercise.notebook)
    return Part(
        "no leak", "no line of a solution", tuple(f"{where}: holds a line of the solution: {line}" for line in lines)
    )


def leaked_lines(cells: list[Cell], notebook: str) -> list[str]:
    """Lines of solution regions that a notebook shows more often than the source does outside its regions.

    A hint may show a line of the solution: the author wrote it there. Any string of the notebook counts, metadata too.
    """
    hidden: list[str] = []
    open_to_all: Counter[str] = Counter()
    for cell in cells:
        in_region = False
        for line in cell.source.split("\n"):
            if "BEGIN SOLUTION" in line:
                in_region = True
            elif "END SOLUTION" in line:
                in_region = False
            elif in_region:
                hidden.append(line.strip())
            else:
                open_to_all[line.strip()] += 1
    shown = Counter(line.strip() for text in _strings(json.loads(notebook)) for line in text.split("\n"))
    return [line for line in dict.fromkeys(hidden) if line and shown[line] > open_to_all[line]]


def _strings(value: Any) -> Iterator[str]:
    match value:
        case str():
            yield value
        case dict():
            for each in value.values():
                yield from _strings(each)
        case list():
            for each in value:
                yield from _strings(each)


def _solution(exercise: Exercise, grading: _Grading) -> Part:
    assert grading.solution is not None
    verdict = grading.solution.result()
    return Part("solution", _score(verdict), tuple(_full_score_problems(_shown(exercise, exercise.source), verdict)))


def _untouched(exercise: Exercise, cells: list[Cell], grading: _Grading) -> Part:
    assert grading.untouched is not None and grading.errors is not None
    source = _shown(exercise, exercise.source)
    verdict = grading.untouched.result()
    broken = []
    if isinstance(verdict, str):
        broken.append(f"{source}: {verdict}")
    else:
        broken += [
            f"{source}: {check.id} is passed by the untouched notebook." for check in verdict.checks if check.points
        ]
    broken += untouched_problems(exercise, cells, grading.errors.result())
    return Part("untouched notebook", f"{_score(verdict)}, only NotImplementedError", tuple(broken))


def untouched_problems(exercise: Exercise, cells: list[Cell], errors: list[tuple[str, str]]) -> Iterator[str]:
    """What is wrong with the errors (cell id, text) that a run of all cells raised, in their order.

    Run All stops at the first error, so the live part of an exercise must stand before it.
    """
    lines = {cell.name: cell.line for cell in cells}
    source = _shown(exercise, exercise.source)
    for cell_id, error in errors:
        if not error.startswith("NotImplementedError"):
            name = cell_id.split("--")[0]
            yield f"{source}:{lines.get(name, 1)}: cell {cell_id} of the untouched notebook raised {error}"
    first = next((lines[cell_id] for cell_id, _ in errors if cell_id in lines), None)
    play = lines.get("play")
    if first is not None and play is not None and first <= play:
        yield f'{source}:{play}: Run All stops at line {first}, before the cell "play"; move it up.'


def _right_answers(exercise: Exercise, grading: _Grading) -> Part:
    verdicts = {path: future.result() for path, (answer, future) in grading.answers.items() if answer.right}
    broken = [
        problem
        for path, verdict in verdicts.items()
        for problem in _full_score_problems(_shown(exercise, path), verdict)
    ]
    return Part("right answers", f"{len(verdicts)} score full", tuple(broken))


def _full_score_problems(where: str, verdict: Verdict | str) -> Iterator[str]:
    if isinstance(verdict, str):
        yield f"{where}: {verdict}"
        return
    for check in verdict.checks:
        if check.status != "passed":
            yield f"{where}: {check.id} {check.status}: {_short(check.message)}"


def _wrong_answers(exercise: Exercise, material: Material, grading: _Grading) -> Part:
    wrong = [(path, answer, future.result()) for path, (answer, future) in grading.answers.items() if answer.wrong]
    broken = [
        f"{_shown(exercise, path)}: {problem}"
        for path, answer, verdict in wrong
        for problem in wrong_answer_problems(answer, verdict, list(material.checks))
    ]
    return Part("wrong answers", f"{len(wrong)} fail what they name, and nothing else", tuple(broken))


def wrong_answer_problems(answer: AnswerFile, verdict: Verdict | str, checks: list[str]) -> Iterator[str]:
    """What a wrong answer promised and did not keep."""
    if isinstance(verdict, str):
        yield verdict
        return
    failed = {check.id: check for check in verdict.checks if check.status != "passed"}
    if not failed:
        yield "is wrong, and passes every check."
    if not answer.fails:
        yield "its header has no `# fails:` line."
    if unknown := [name for name in answer.fails if name not in checks]:
        yield f"`# fails:` names {', '.join(unknown)}, which is no check of the exercise."
    if missed := [name for name in answer.fails if name in checks and name not in failed]:
        yield f"passes {', '.join(missed)}, which its header says it fails."
    for name, check in failed.items():
        if name not in answer.fails:
            yield f"also fails {name} ({check.status}: {_short(check.message)}); name it, or make the check pass it."
    first = failed.get(answer.fails[0]) if answer.fails else None
    if first is not None:
        message = " ".join(first.message.split())
        if not answer.says:
            yield f"its header has no `# says:` line; the card of {first.id} says: {_short(message, 400)}"
        for words in answer.says:
            if words not in message:
                yield f"the card of {first.id} does not say “{words}”; it says: {_short(message, 400)}"


def _checks(exercise: Exercise, cells: list[Cell], material: Material, grading: _Grading) -> Part:
    source, module = _shown(exercise, exercise.source), _shown(exercise, exercise.checks)
    tests = {str(cell.name): cell.line for cell in cells if cell.role == "test"}
    text = "\n".join(cell.source for cell in cells)
    broken = [
        f"{source}:{line}: there is no check {name} in {module}."
        for name, line in tests.items()
        if name not in material.checks
    ]
    broken += [f"{source}: no cell tests {name}; add one." for name in material.checks if name not in tests]
    broken += [
        f"{module}: the hint of {name}, “{check.hint}”, is not in the notebook."
        for name, check in material.checks.items()
        if check.hint and check.hint not in text
    ]
    caught = {
        check.id
        for answer, future in grading.answers.values()
        if answer.wrong and not isinstance(verdict := future.result(), str)
        for check in verdict.checks
        if check.status != "passed"
    }
    folder = _shown(exercise, exercise.answers)
    broken += [f"{folder}: no wrong answer fails {name}; write one." for name in material.checks if name not in caught]
    return Part("checks", f"{len(material.checks)}, each failed by some wrong answer", tuple(broken))


def _exists(module: str) -> bool:
    try:
        return importlib.util.find_spec(module) is not None
    except ModuleNotFoundError:
        return False


def _score(verdict: Verdict | str) -> str:
    return "not graded" if isinstance(verdict, str) else f"{verdict.score:g} of {verdict.max:g} points"


def _short(message: str, length: int = 160) -> str:
    line = " ".join(message.split())
    return line if len(line) <= length else line[: length - 1] + "…"


def _shown(exercise: Exercise, path: Path) -> str:
    return path.relative_to(exercise.root).as_posix()


# --- grading on all cores ---------------------------------------------------------------------------------------------


def _start(pool: ProcessPoolExecutor, exercise: Exercise, seed: int) -> _Grading:
    """Begin all that is slow about one exercise."""
    grading = _Grading()
    try:
        cells = read_cells(exercise.source.read_text(encoding="utf-8"))
    except BadSource:
        return grading  # told by the build
    if exercise.notebook.exists():
        grading.errors = pool.submit(_untouched_errors, exercise)
        grading.untouched = pool.submit(_graded, exercise, None, seed)
    grading.solution = pool.submit(_graded, exercise, solutions(cells), seed)
    grading.forged = pool.submit(_accepted_forgeries, exercise, solutions(cells))
    for path in sorted(exercise.answers.glob("*.py")):
        try:
            answer = read_answer(path.read_text(encoding="utf-8"))
        except BadSource as bad:
            grading.unreadable += [f"{_shown(exercise, path)}:{each.line}: {each.message}" for each in bad.problems]
            continue
        grading.answers[path] = answer, pool.submit(_graded, exercise, answer.solutions, seed)
    return grading


_engine: Engine | None = None


def _graded(exercise: Exercise, cells: Mapping[str, str] | None, seed: int) -> Verdict | str:
    """In a worker: the verdict on an answer (the release notebook's own cells if None), or why there is none."""
    from graders.engine import BadAnswer
    from graders.engine import read_answer as read_submitted

    global _engine
    if _engine is None:
        _engine = Engine(isolation="process")
        atexit.register(_engine.close)
    try:
        answer = read_submitted(exercise.notebook, exercise) if cells is None else Answer(cells)
        return _engine.grade(exercise, answer, seed=seed)
    except (BadAnswer, ExerciseBroken) as broken:
        return str(broken)


def _accepted_forgeries(exercise: Exercise, cells: Mapping[str, str]) -> list[str]:
    """In a worker: where a judge accepts a record that an answer could have made up or cut short.

    An answer shares its process with the recorder, so a judge trusts nothing: it demands every event that the scenario
    plans, with its outcome.
    """
    material = Material.load(exercise)
    namespace: dict[str, Any] = {"__name__": "__main__"}
    for source in (*material.release.setup, *cells.values()):
        exec(compile(source, "<solution>", "exec"), namespace)
    called: list[tuple[Check, Any]] = []
    namespace["check"] = Checks(material.checks, lambda check, answer: called.append((check, answer)))
    for test in material.release.tests:
        exec(test.source, namespace)
    accepted = []
    for check, answer in called:
        kinds: dict[str, None] = {}
        for scenario in check.always[:_FORGED_SCENARIOS]:
            for recording in play(check, answer, scenario, Plan(schedules=1)):
                kinds.update(dict.fromkeys(accepted_forgeries(check, scenario, recording["history"])))
        if kinds:
            accepted.append(f"{check.id} accepts a record of {', '.join(kinds)}.")
    return accepted


def accepted_forgeries(check: Check, scenario: Scenario, history: History) -> Iterator[str]:
    """Which made-up versions of an honest history the check's judge accepts."""
    plain_events = [{key: event[key] for key in ("t", "who", "what", "kind")} for event in history]
    forgeries = {
        "no event": [],
        "one note": [{"t": 0.0, "who": "main", "what": "done", "kind": "note"}],
        "the first half": history[: len(history) // 2],
        "all but the last event": history[:-1],
        "events without outcomes": plain_events,
    }
    for name, forgery in forgeries.items():
        with contextlib.suppress(Exception):
            check.judge(scenario, copy.deepcopy(forgery))
            yield name


def _untouched_errors(exercise: Exercise) -> list[tuple[str, str]]:
    """In a worker: the errors (cell id, text) of the release notebook, every cell run in its order."""
    import nbformat
    from nbclient.exceptions import CellTimeoutError, DeadKernelError

    notebook = nbformat.read(exercise.notebook, as_version=4)
    try:
        run_cells(notebook, exercise.notebook.parent, exercise.root, allow_errors=True)
    except (CellTimeoutError, DeadKernelError) as error:
        return [("", f"{type(error).__name__}: {_short(str(error))}")]
    return [
        (cell.id, f"{output.ename}: {_short(output.evalue)}")
        for cell in notebook.cells
        for output in cell.get("outputs", ())
        if output.output_type == "error"
    ]


# --- command line -----------------------------------------------------------------------------------------------------


def main(arguments: list[str] | None = None, root: Path = COURSE_ROOT) -> int:
    """The command; gives the exit code: 1 where anything is broken."""
    parser = argparse.ArgumentParser(
        prog="python -m tools.course_check", description="Tell what is broken in the course."
    )
    parser.add_argument("exercise", nargs="*", help="numbers or slugs; all exercises if none is given")
    parser.add_argument("--seed", type=int, default=0, help="the seed of the grading (0)")
    options = parser.parse_args(arguments)
    try:
        chosen = [find(name, root) for name in options.exercise] or exercises(root)
    except UnknownExercise as unknown:
        print(unknown, file=sys.stderr)
        return 2
    broken = (
        []
        if options.exercise
        else [f"{path.relative_to(root)}: nothing makes this file; remove it." for path in _strays(root)]
    )
    # Not forked: a worker starts processes of its own, and must hold nothing of what this one has open.
    context = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(max_workers=os.cpu_count() or 1, mp_context=context)
    try:
        started = {exercise: _start(pool, exercise, options.seed) for exercise in chosen}
        built = build(chosen, check=True)
        width = max((len(exercise.slug) for exercise in chosen), default=0)
        for exercise in chosen:
            for part in check_exercise(exercise, started[exercise], built[exercise]):
                said = f"BROKEN {len(part.broken)}" if part.broken else f"ok         {part.summary}"
                print(f"{exercise.slug:<{width}}  {part.name:<18}  {said}", flush=True)
                broken += part.broken
    finally:
        pool.shutdown(cancel_futures=True)
    _report(broken)
    return 1 if broken else 0


def _report(broken: Iterable[str]) -> None:
    lines = list(broken)
    print(f"\n{len(lines)} broken; each line begins with the file to edit:" if lines else "\nNothing is broken.")
    for line in lines:
        print(f"  {line}")


def _strays(root: Path) -> list[Path]:
    """Files that learners would get and nothing makes, and notebooks whose source is gone."""
    made = {exercise.notebook for exercise in exercises(root)} | {root / WELCOME}
    loose = [
        path
        for path in sorted((root / "chapters").rglob("*"))
        if path.is_file()
        and path not in made
        and not any(part.startswith(".") for part in path.relative_to(root).parts)
    ]
    return sorted({*loose, *orphans(root)})


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit("Stopped.")
