"""The instructor's commands: grade a class, hand back feedback, export scores.

The gradebook is written here, by one process; stopping this at any point and running it again ends in the same state.
"""

from __future__ import annotations

import argparse
import re
import shutil
import sys
import time
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from graders.course import COURSE_ROOT, Exercise, exercises
from graders.engine.batch import (
    AlreadyRunning,
    ClassFolder,
    Grader,
    GradingPool,
    Handed,
    Outcome,
    Pool,
    Verdicts,
    default_grader,
    handed_in,
    publish,
    write_atomically,
)
from graders.engine.cluster import ClusterPool, ClusterUnavailable
from graders.engine.feedback import GradedNotebook, feedback_page, named_verdict
from graders.engine.isolation import DEFAULT_ISOLATION, ISOLATIONS, IsolationUnavailable
from graders.engine.release import ExerciseBroken

if TYPE_CHECKING:
    from rich.console import Console

    from graders.engine.gradebook import ClassGradebook

__all__ = ["Report", "grade_class", "register", "write_feedback"]

BAD_REQUEST = 2
NOT_POSSIBLE = 3
INTERRUPTED = 130

_COMMIT_SECONDS = 1.0
_PAPERS = ("timestamp.txt", "submission_secret.txt")
"""What nbgrader wants beside a graded notebook to release its feedback."""
_PAPER_BYTES = 4096
_ROWS = 60


@dataclass
class Report:
    """What a batch did. `notices` are sentences about submissions, each with its learner."""

    outcomes: list[Outcome] = field(default_factory=list)
    notices: list[str] = field(default_factory=list)
    pages: int = 0
    waiting: int = 0
    """Learners' sections with something that a person still grades."""
    seconds: float = 0.0


def register(subparsers: Any) -> None:
    """Add the instructor's commands; each sets `run`, a function from the parsed options to an exit code."""
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument(
        "--folder", type=Path, default=COURSE_ROOT / "build", metavar="DIR", help="the class's folder (default: build)"
    )
    grading = argparse.ArgumentParser(add_help=False, parents=[common])
    grading.add_argument(
        "--student", action="append", default=[], metavar="ID", help="only this learner (may be repeated)"
    )
    where = grading.add_mutually_exclusive_group()
    where.add_argument("--workers", type=_positive, metavar="N", help="grading processes (default: one for each core)")
    where.add_argument(
        "--scheduler",
        type=_scheduler,
        metavar="tcp://HOST:PORT",
        help="grade on the workers of this Dask scheduler (docs/grading-on-a-cluster.md)",
    )
    grading.add_argument("--isolation", choices=ISOLATIONS, default=DEFAULT_ISOLATION, help="how answers are set apart")

    autograde = subparsers.add_parser(
        "autograde", parents=[grading], help="grade everything that was handed in; the sample class where nothing was"
    )
    autograde.set_defaults(run=_stopping_in_words(_autograde))

    batch = subparsers.add_parser("batch", parents=[grading], help="grade what was handed in of one section")
    batch.add_argument("section", metavar="SECTION", help="its folder's name, such as 17.2-resilience")
    batch.set_defaults(run=_stopping_in_words(_batch))

    feedback = subparsers.add_parser(
        "feedback", parents=[common], help="write the feedback pages again, with what people have graded"
    )
    feedback.add_argument("sections", nargs="*", metavar="SECTION", help="these sections (default: all)")
    feedback.set_defaults(run=_stopping_in_words(_feedback))

    export = subparsers.add_parser("export", parents=[common], help="write the scores as CSV")
    export.add_argument("sections", nargs="*", metavar="SECTION", help="these sections (default: all)")
    export.add_argument(
        "--format", choices=("plain", "canvas", "moodle"), default="plain", help="whose columns (default: plain)"
    )
    export.add_argument("--to", metavar="FILE", help="where to (default: scores.csv, canvas.csv or moodle.csv here)")
    export.set_defaults(run=_stopping_in_words(_export))

    samples = subparsers.add_parser(
        "samples", parents=[common], help="put the sample class under build/submitted, or take it away"
    )
    samples.add_argument("--remove", action="store_true", help="take it away, its results too")
    samples.set_defaults(run=_stopping_in_words(_samples))


# --- commands -------------------------------------------------------------------------------------------------------


def _autograde(options: argparse.Namespace, folder: ClassFolder) -> int:
    from graders.samples import sample_class

    if not sample_class.is_only_one(folder.submitted):
        return _grade(options, folder, sections=())
    written = sample_class.write(folder.submitted, folder.course)
    print(
        f"Nothing was handed in under {_shown(folder.submitted)}: the sample class is put there, {written} notebooks.\n"
        "Learners' own go to <student>/<section>/ there; `python -m graders samples --remove` takes the samples away.\n"
    )
    return _grade(options, folder, sections=())


def _batch(options: argparse.Namespace, folder: ClassFolder) -> int:
    known = _sections(folder)
    if options.section not in known:
        print(f"There is no section {options.section!r}. Choose one of: {', '.join(known)}.", file=sys.stderr)
        return BAD_REQUEST
    return _grade(options, folder, sections=(options.section,))


def _grade(options: argparse.Namespace, folder: ClassFolder, sections: Collection[str]) -> int:
    from rich.console import Console

    report = grade_class(
        folder,
        sections=sections,
        students=options.student,
        isolation=options.isolation,
        workers=options.workers,
        pool=ClusterPool(folder, options.scheduler, isolation=options.isolation) if options.scheduler else None,
        console=Console(stderr=True),
    )
    if not report.outcomes and not report.notices:
        print(f"Nothing was handed in under {_shown(folder.submitted)}.", file=sys.stderr)
        return BAD_REQUEST
    _print_report(report, folder, Console())
    return 0


def _feedback(options: argparse.Namespace, folder: ClassFolder) -> int:
    if not folder.gradebook.exists():
        print("Nothing has been graded yet. Run `make autograde` first.", file=sys.stderr)
        return BAD_REQUEST
    with _open_gradebook(folder) as gradebook:
        pages = sum(
            len(write_feedback(folder, gradebook, section)) for section in options.sections or _sections(folder)
        )
    print(f"{pages} pages under {_shown(folder.feedback)}.")
    return 0


def _export(options: argparse.Namespace, folder: ClassFolder) -> int:
    if not folder.gradebook.exists():
        print("Nothing has been graded yet. Run `make autograde` first.", file=sys.stderr)
        return BAD_REQUEST
    from graders.engine import nbgrader_plugins as plugins

    kinds = {"plain": plugins.PlainExport, "canvas": plugins.CanvasExport, "moodle": plugins.MoodleExport}
    exporter = kinds[options.format](to=options.to or kinds[options.format].file_name, assignment=options.sections)
    with _open_gradebook(folder) as gradebook:
        exporter.export(gradebook.nbgrader)
        waiting = _waiting(gradebook, options.sections)
    print(f"{exporter.to}" + (f"; {waiting} scores in it wait for a person to grade something." if waiting else ""))
    return 0


def _samples(options: argparse.Namespace, folder: ClassFolder) -> int:
    from graders.samples import sample_class

    if not options.remove:
        print(f"{sample_class.write(folder.submitted, folder.course)} notebooks under {_shown(folder.submitted)}.")
        return 0
    students = sample_class.students()
    if folder.gradebook.exists():
        with _open_gradebook(folder) as gradebook:
            gradebook.forget(students)
    for student in students:
        for each in (folder.submitted, folder.autograded, folder.feedback):
            shutil.rmtree(each / student, ignore_errors=True)
    print("The sample class is gone.")
    return 0


# --- grading a class ------------------------------------------------------------------------------------------------


def grade_class(
    folder: ClassFolder,
    *,
    sections: Collection[str] = (),
    students: Collection[str] = (),
    isolation: str = DEFAULT_ISOLATION,
    workers: int | None = None,
    make_grader: Callable[[str], Grader] = default_grader,
    pool: Pool | None = None,
    console: Console | None = None,
) -> Report:
    """Grade what was handed in, write the gradebook and the feedback pages. All sections and students if none is named.

    `pool` grades; without one, processes of this machine do, as `isolation`, `workers` and `make_grader` say.
    Progress is drawn on `console` where that is a terminal. Raises AlreadyRunning, ExerciseBroken, IsolationUnavailable
    or ClusterUnavailable; what was graded before is kept.
    """
    began = time.monotonic()
    report = Report()
    handed = handed_in(folder, sections, students)
    empty = _empty_submissions(folder, handed, sections, students)
    if not handed and not empty:
        return report
    with (
        folder.locked(),
        pool or GradingPool(folder, isolation=isolation, workers=workers, make_grader=make_grader) as grading,
        _Scribe(_Bookkeeper(folder, handed, empty, students, report)) as scribe,
    ):
        for outcome in _with_progress(grading.grade(handed), len(handed), console):
            report.outcomes.append(outcome)
            scribe.tell(outcome)
    report.outcomes.sort(key=lambda outcome: (outcome.handed.student, outcome.handed.exercise))
    report.seconds = time.monotonic() - began
    return report


class _Scribe:
    """Runs a bookkeeper in a thread of its own: grading waits for no database and for no import of nbgrader."""

    def __init__(self, book: _Bookkeeper) -> None:
        self._book = book
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="gradebook")
        self._told = [self._thread.submit(book.open)]

    def tell(self, outcome: Outcome) -> None:
        """Have it written, some time before the end. Raises what stopped the bookkeeper."""
        while self._told and self._told[0].done():
            self._told.pop(0).result()
        self._told.append(self._thread.submit(self._book.add, outcome))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        for told in self._told if kind is not None else ():
            told.cancel()
        if kind is None:
            self._told.append(self._thread.submit(self._book.finish))
        self._told.append(self._thread.submit(self._book.close))
        self._thread.shutdown(wait=True)
        for told in self._told if kind is None else ():
            told.result()


class _Bookkeeper:
    """Writes each learner's section once its notebooks are settled; commits about once a second. For one thread."""

    _gradebook: ClassGradebook

    def __init__(
        self,
        folder: ClassFolder,
        handed: Sequence[Handed],
        empty: Sequence[tuple[str, str]],
        students: Collection[str],
        report: Report,
    ) -> None:
        self._folder = folder
        self._empty = empty
        self._students = students
        self._report = report
        self._sections = sorted({each.exercise.section for each in handed} | {section for _, section in empty})
        self._left = Counter((each.student, each.exercise.section) for each in handed)
        self._settled: dict[tuple[str, str], list[Outcome]] = {}
        self._recorded: list[Outcome] = []
        self._committed = time.monotonic()

    def open(self) -> None:
        self._gradebook = _open_gradebook(self._folder)
        self._gradebook.register(
            each for each in exercises(self._folder.course) if each.section in self._sections and each.notebook.exists()
        )
        for student, section in self._empty:
            self._report.notices.append(f"{student} handed in no notebook of {section} that the course knows.")
            self.record(student, section, [])

    def add(self, outcome: Outcome) -> None:
        learner = (outcome.handed.student, outcome.handed.exercise.section)
        self._settled.setdefault(learner, []).append(outcome)
        self._left[learner] -= 1
        if not self._left[learner]:
            self.record(*learner, self._settled.pop(learner))

    def finish(self) -> None:
        self.flush()
        for section in self._sections:
            self._report.pages += len(write_feedback(self._folder, self._gradebook, section, self._students))
        self._report.waiting = _waiting(self._gradebook, self._sections)

    def close(self) -> None:
        if hasattr(self, "_gradebook"):
            self._gradebook.close()

    def record(self, student: str, section: str, outcomes: Sequence[Outcome]) -> None:
        marks = {outcome.handed.exercise.slug: outcome.marks for outcome in outcomes if outcome.marks is not None}
        self._gradebook.record(student, section, marks, self._submitted(student, section))
        self._recorded += outcomes
        if time.monotonic() - self._committed > _COMMIT_SECONDS:
            self.flush()

    def flush(self) -> None:
        self._gradebook.commit()
        for outcome in self._recorded:
            publish(self._folder, outcome)
        self._recorded.clear()
        self._committed = time.monotonic()

    def _submitted(self, student: str, section: str) -> datetime | None:
        from graders.engine.gradebook import read_timestamp, set_timestamp_aside

        source = self._folder.submitted / student / section
        submitted = None
        try:
            submitted = read_timestamp(source)
        except ValueError as error:
            self._report.notices.append(f"{student}: {error}")
            set_timestamp_aside(source)
        for name in _PAPERS:
            paper, copy = source / name, self._folder.autograded / student / section / name
            copy.unlink(missing_ok=True)
            if paper.is_file() and not paper.is_symlink() and paper.stat().st_size <= _PAPER_BYTES:
                copy.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(paper, copy)
        return submitted


def write_feedback(
    folder: ClassFolder, gradebook: ClassGradebook, section: str, students: Collection[str] = ()
) -> list[Path]:
    """The page of each learner whose section is in the gradebook: `feedback/<student>/<section>.html`."""
    from graders.engine.gradebook import read_marks

    verdicts = Verdicts(folder)
    of_section = [each for each in exercises(folder.course) if each.section == section and each.notebook.exists()]
    written = []
    for student, marks in read_marks(gradebook.nbgrader, section).items():
        if students and student not in students:
            continue
        graded = [_graded(folder, verdicts, student, exercise) for exercise in of_section]
        page = folder.feedback / student / f"{section}.html"
        write_atomically(page, feedback_page(student, section, graded, marks))
        written.append(page)
    return written


def _graded(folder: ClassFolder, verdicts: Verdicts, student: str, exercise: Exercise) -> GradedNotebook:
    named = named_verdict(folder.autograded / student / exercise.section / f"{exercise.slug}.ipynb")
    if named is None:
        return GradedNotebook(exercise, was_handed_in=False)
    key, problem = named
    return GradedNotebook(exercise, verdicts.load(exercise, key) if key else None, problem)


def _empty_submissions(
    folder: ClassFolder, handed: Iterable[Handed], sections: Collection[str], students: Collection[str]
) -> list[tuple[str, str]]:
    """Learners who have a folder for a section, with none of its notebooks in it."""
    full = {(each.student, each.exercise.section) for each in handed}
    return [
        learner
        for section in sections or _sections(folder)
        for path in sorted(folder.submitted.glob(f"*/{section}"))
        if path.is_dir() and not path.parent.name.startswith(".")
        for learner in ((path.parent.name, section),)
        if learner not in full and (not students or learner[0] in students)
    ]


def _sections(folder: ClassFolder) -> list[str]:
    return list(dict.fromkeys(exercise.section for exercise in exercises(folder.course)))


def _open_gradebook(folder: ClassFolder) -> ClassGradebook:
    # jsonschema builds a grammar of this package for 1.5 s, to check a format that no notebook's schema asks for.
    with _without("rfc3987_syntax"):
        from graders.engine.gradebook import ClassGradebook

    folder.root.mkdir(parents=True, exist_ok=True)
    return ClassGradebook(f"sqlite:///{folder.gradebook.resolve()}", folder.course)


@contextmanager
def _without(module: str) -> Iterator[None]:
    """Let an optional module be missing for what is imported now."""
    if module in sys.modules:
        yield
        return
    sys.modules[module] = None  # type: ignore[assignment]
    try:
        yield
    finally:
        del sys.modules[module]


def _waiting(gradebook: ClassGradebook, sections: Collection[str]) -> int:
    from graders.engine.gradebook import read_scores

    return sum(not score.is_complete for score in read_scores(gradebook.nbgrader, sections))


# --- the terminal ---------------------------------------------------------------------------------------------------


def _with_progress(outcomes: Iterable[Outcome], total: int, console: Console | None) -> Iterable[Outcome]:
    from rich import progress

    columns = (
        progress.TextColumn("grading"),
        progress.BarColumn(),
        progress.MofNCompleteColumn(),
        progress.TimeElapsedColumn(),
        progress.TextColumn("left"),
        progress.TimeRemainingColumn(),
    )
    shown = console is not None and console.is_terminal
    with progress.Progress(*columns, console=console, transient=True, disable=not shown) as bar:
        yield from bar.track(outcomes, total=total)


def _print_report(report: Report, folder: ClassFolder, console: Console) -> None:
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in ("learner", "exercise", "points", "seconds", "what happened"):
        table.add_column(name, justify="right" if name in ("points", "seconds") else "left", overflow="fold")
    for outcome in report.outcomes[:_ROWS]:
        verdict = outcome.verdict
        table.add_row(
            Text(_printable(outcome.handed.student)),
            outcome.handed.exercise.number,
            f"{verdict.score:g}/{verdict.max:g}" if verdict else "–",
            f"{outcome.seconds:.2f}" if verdict else "",
            Text(_what_happened(outcome)),
        )
    if report.outcomes:
        console.print(table)
    if len(report.outcomes) > _ROWS:
        console.print(f"… and {len(report.outcomes) - _ROWS} more: `python -m graders export` lists all scores.")
    for title, lines in _paragraphs(report):
        console.print(Text(f"\n{title}", "bold"))
        for line in lines:
            console.print(Text(f"  {_printable(line)}"))
    reused = sum(outcome.reused for outcome in report.outcomes)
    console.print(
        Text(
            f"\n{len(report.outcomes)} notebooks in {report.seconds:.1f} s, {reused} of them graded before."
            + (f" {report.waiting} learners' sections wait for a person (Formgrader)." if report.waiting else "")
            + f"\nFeedback: {report.pages} pages, {_shown(folder.feedback)}/<learner>/<section>.html"
            + f"\nScores: {_shown(folder.gradebook)}; as CSV by `python -m graders export --format plain|canvas|moodle`"
        ),
        soft_wrap=True,
    )


def _what_happened(outcome: Outcome) -> str:
    if outcome.verdict is None:
        return _printable(outcome.problem)
    words = [f"{count} {status}" for status, count in outcome.endings.items() if status != "passed"]
    flags = len(outcome.verdict.flags)
    return ", ".join(words or ["all passed"]) + (f"; {flags} flag{'s' if flags != 1 else ''}" if flags else "")


def _paragraphs(report: Report) -> list[tuple[str, list[str]]]:
    endings: Counter[str] = Counter()
    for outcome in report.outcomes:
        endings += outcome.endings
    slowest = sorted(
        (each for each in report.outcomes if each.verdict and not each.reused), key=lambda each: -each.seconds
    )[:3]
    flagged = [each for each in report.outcomes if each.verdict and each.verdict.flags]
    paragraphs = [
        (
            "How checks ended",
            [", ".join(f"{count} {status}" for status, count in endings.most_common())] if endings else [],
        ),
        (
            "Slowest",
            [f"{each.seconds:7.2f} s  {each.handed.student}, {each.handed.exercise.number}" for each in slowest],
        ),
        (
            "Worth a look (scores do not depend on it)",
            [
                f"{each.handed.student}, {each.handed.exercise.number}: {each.verdict.flags[0]}"
                + (f" (and {len(each.verdict.flags) - 1} more)" if len(each.verdict.flags) > 1 else "")
                for each in flagged[:_ROWS]
                if each.verdict
            ],
        ),
        ("Notices", report.notices),
    ]
    return [(title, lines) for title, lines in paragraphs if lines]


def _printable(text: str) -> str:
    """Text that cannot steer a terminal."""
    return "".join(character if character.isprintable() else "·" for character in text)


def _shown(path: Path) -> str:
    return str(path.relative_to(Path.cwd())) if path.is_relative_to(Path.cwd()) else str(path)


def _positive(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text} is not a number of processes")
    return int(text)


def _scheduler(text: str) -> str:
    if not re.fullmatch(r"(tcp|tls)://[^/\s]+:\d+", text):
        raise argparse.ArgumentTypeError(f"{text} is no address of a scheduler, such as tcp://10.0.0.1:8786")
    return text


def _stopping_in_words(
    command: Callable[[argparse.Namespace, ClassFolder], int],
) -> Callable[[argparse.Namespace], int]:
    def run(options: argparse.Namespace) -> int:
        try:
            return command(options, ClassFolder(options.folder.resolve()))
        except AlreadyRunning as error:
            print(error, file=sys.stderr)
            return BAD_REQUEST
        except (ClusterUnavailable, ExerciseBroken, IsolationUnavailable) as error:
            print(error, file=sys.stderr)
            return NOT_POSSIBLE
        except KeyboardInterrupt:
            print("\nStopped. What was graded is kept: the same command goes on from here.", file=sys.stderr)
            return INTERRUPTED

    return run
