"""nbgrader's own commands and Formgrader's button grade through the engine, without a kernel.

nbgrader_config.py puts these in the place of its exporter and preprocessors. No point is read out of a cell's output.
"""

from __future__ import annotations

import csv
import weakref
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import nbformat
from nbconvert.exporters import NotebookExporter
from nbformat import NotebookNode
from nbgrader.api import Gradebook
from nbgrader.plugins import ExportPlugin
from nbgrader.preprocessors import NbGraderPreprocessor
from tornado.log import app_log
from traitlets import Unicode

from graders.course import exercises, find
from graders.engine.batch import ClassFolder, GradingPool, Handed, Outcome, Verdicts
from graders.engine.feedback import GRADING, marks_of
from graders.engine.gradebook import (
    ClassGradebook,
    Score,
    nbgrader_config,
    read_scores,
    read_timestamp,
    set_timestamp_aside,
)
from graders.engine.isolation import DEFAULT_ISOLATION

__all__ = [
    "CanvasExport",
    "GradeWithEngine",
    "MoodleExport",
    "PlainExport",
    "SaveVerdict",
    "SubmissionExporter",
    "prepare",
]


def prepare(*, assignment: str, student: str, notebooks: Sequence[str]) -> None:
    """For `Autograde.pre_convert_hook`: what nbgrader would stop at, before it grades a submission.

    It registers the section in the gradebook, so that no other command must come first, and sets a timestamp aside that
    holds no time. nbgrader has the course as its working folder here.
    """
    course = Path.cwd()
    with ClassGradebook(nbgrader_config(course).CourseDirectory.db_url, course) as gradebook:
        gradebook.register(exercise for exercise in exercises(course) if exercise.section == assignment)
    for folder in {Path(notebook).parent for notebook in notebooks}:
        try:
            read_timestamp(folder)
        except ValueError as error:
            app_log.warning("%s: %s", folder, error)
            set_timestamp_aside(folder)


class SubmissionExporter(NotebookExporter):
    """Reads graded notebooks as nbgrader does, and submitted ones not at all: that is for the grading processes to do.

    It owns those processes during one run of `nbgrader autograde`.
    """

    isolation = Unicode(DEFAULT_ISOLATION, help="How answers are set apart while they are graded.").tag(config=True)

    parent: Any
    _pool: GradingPool | None = None

    def from_filename(
        self, filename: str, resources: dict[str, Any] | None = None, **kw: Any
    ) -> tuple[Any, dict[str, Any]]:
        path = Path(filename)
        if path.parent.parent.parent != self.folder.submitted:
            return super().from_filename(filename, resources=resources, **kw)
        resources = {**(resources or {}), "metadata": {"name": path.stem, "path": str(path.parent)}}
        return self.from_notebook_node(nbformat.v4.new_notebook(), resources=resources, **kw)

    @property
    def folder(self) -> ClassFolder:
        """The class that this run of nbgrader works on."""
        course = Path(self.parent.coursedir.root)
        return ClassFolder((course / self.parent.coursedir.submitted_directory).parent, course)

    def grade(self, handed: Handed) -> Outcome:
        """The outcome of one notebook, from a process that stays warm until the last notebook of this run."""
        if self._pool is None:
            self._pool = GradingPool(self.folder, isolation=self.isolation, workers=1)
            weakref.finalize(self, self._pool.close, at_once=True)
        (outcome,) = self._pool.grade([handed])
        runs = self.parent.assignments
        if not runs or str(handed.path) == max(runs[max(runs)]):
            self._pool.close()
            self._pool = None
        return outcome


class GradeWithEngine(NbGraderPreprocessor):
    """In the place of nbgrader's sanitizing and execution: a submitted notebook becomes the rebuilt, graded one."""

    def preprocess(self, nb: NotebookNode, resources: dict[str, Any]) -> tuple[NotebookNode, dict[str, Any]]:
        exporter, names = self.parent, resources["nbgrader"]
        path = Path(resources["metadata"]["path"]) / f"{names['notebook']}.ipynb"
        outcome = exporter.grade(Handed(names["student"], find(names["notebook"], exporter.folder.course), path))
        if outcome.problem:
            self.log.warning("%s: %s", names["student"], outcome.problem)
        assert outcome.draft is not None
        graded = nbformat.read(outcome.draft, as_version=4)
        # nbgrader writes it to its place.
        outcome.draft.unlink()
        return graded, resources


class SaveVerdict(NbGraderPreprocessor):
    """In the place of SaveAutoGrades: writes the examiner's points, which nbgrader would guess from outputs."""

    def preprocess(self, nb: NotebookNode, resources: dict[str, Any]) -> tuple[NotebookNode, dict[str, Any]]:
        exporter, names = self.parent, resources["nbgrader"]
        folder, grading = exporter.folder, nb.metadata[GRADING]
        exercise = find(names["notebook"], folder.course)
        verdict = (
            Verdicts(folder, exporter.isolation).load(exercise, grading["verdict"]) if grading["verdict"] else None
        )
        with ClassGradebook(names["db_url"], folder.course) as gradebook:
            gradebook.record_notebook(
                names["student"], names["assignment"], exercise.slug, marks_of(exercise, nb, verdict)
            )
        return nb, resources


# --- exports --------------------------------------------------------------------------------------------------------


class PlainExport(ExportPlugin):
    """One row for each learner in each section, hand-graded points included."""

    file_name = "scores.csv"

    def export(self, gradebook: Gradebook) -> None:
        scores = read_scores(gradebook, map(str, self.assignment), map(str, self.student))
        with open(self.to or self.file_name, "w", encoding="utf-8", newline="") as file:
            csv.writer(file).writerows(self.rows(scores))

    def rows(self, scores: Sequence[Score]) -> list[list[Any]]:
        """The lines of the file, its header first."""
        who, what = (
            "student last_name first_name email",
            "submitted_utc seconds_late score late_penalty total max complete",
        )
        return [[*who.split(), "section", *what.split()]] + [
            [
                score.student,
                score.last_name,
                score.first_name,
                score.email,
                score.section,
                f"{score.submitted:%Y-%m-%d %H:%M:%S}" if score.submitted else "",
                f"{score.seconds_late:.0f}",
                _points(score.score),
                _points(score.late_penalty),
                _points(score.total),
                _points(score.maximum),
                "yes" if score.is_complete else "no",
            ]
            for score in scores
        ]


class CanvasExport(PlainExport):
    """The file that Canvas's gradebook imports: one row for each learner, one column for each section."""

    file_name = "canvas.csv"

    def rows(self, scores: Sequence[Score]) -> list[list[Any]]:
        sections = list(dict.fromkeys(score.section for score in scores))
        maxima = {score.section: _points(score.maximum) for score in scores}
        rows = [
            ["Student", "ID", "SIS User ID", "SIS Login ID", "Section", *sections],
            ["    Points Possible", "", "", "", "", *(maxima[section] for section in sections)],
        ]
        for person, totals in _by_learner(scores):
            name = ", ".join(part for part in (person.last_name, person.first_name) if part) or person.student
            rows.append(
                [name, person.lms_user_id, "", person.student, "", *(totals.get(section, "") for section in sections)]
            )
        return rows


class MoodleExport(PlainExport):
    """A file for Moodle's grade import: one row for each learner, one column for each section."""

    file_name = "moodle.csv"

    def rows(self, scores: Sequence[Score]) -> list[list[Any]]:
        sections = list(dict.fromkeys(score.section for score in scores))
        rows = [["Username", "First name", "Last name", "ID number", "Email address", *sections]]
        for person, totals in _by_learner(scores):
            columns = [person.student, person.first_name, person.last_name, person.lms_user_id, person.email]
            rows.append([*columns, *(totals.get(section, "") for section in sections)])
        return rows


def _by_learner(scores: Sequence[Score]) -> list[tuple[Score, dict[str, str]]]:
    """Each learner, as one of their scores, with their totals by section."""
    totals: dict[str, dict[str, str]] = {}
    for score in scores:
        totals.setdefault(score.student, {})[score.section] = _points(score.total)
    people = {score.student: score for score in scores}
    return [(people[student], by_section) for student, by_section in totals.items()]


def _points(value: float) -> str:
    return f"{value:.2f}".rstrip("0").rstrip(".")
