"""nbgrader's gradebook of a class: one session for a whole batch, and nothing in it that a person wrote is overwritten.

Writing the same marks again changes nothing, so a batch that was stopped at any point writes everything once more.
Rows are found through the tables' own unique indexes: the cost per learner does not grow with the class.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Protocol, Self

import nbformat
from nbgrader.api import (
    Assignment,
    BaseCell,
    Comment,
    Grade,
    Gradebook,
    GradeCell,
    Notebook,
    SourceCell,
    Student,
    SubmittedAssignment,
    SubmittedNotebook,
)
from nbgrader.dbutil import ALEMBIC_DIR
from nbgrader.preprocessors import AssignLatePenalties, SaveCells
from nbgrader.utils import is_grade, is_locked, is_solution, parse_utc
from sqlalchemy import create_engine, func, inspect, select, text
from traitlets.config import Config
from traitlets.config.loader import PyFileConfigLoader

from graders.course import Exercise
from graders.engine.feedback import LearnerMarks, Marks, NotebookMarks
from graders.engine.release import ExerciseBroken

__all__ = [
    "CellsChanged",
    "ClassGradebook",
    "LatePenalty",
    "Score",
    "nbgrader_config",
    "read_marks",
    "read_scores",
    "read_timestamp",
    "set_timestamp_aside",
]

_TIMESTAMP_BYTES = 200


class CellsChanged(ExerciseBroken):
    """An exercise has other graded cells than when its first submission was recorded. The text says what to do."""


class LatePenalty(Protocol):
    """nbgrader's plug-in for late submissions: the points to take off one notebook, or None."""

    def __call__(self, student_id: str, score: float, total_seconds_late: float) -> float | None: ...


@dataclass(frozen=True)
class Score:
    """One learner's result in one section, hand-graded points included. Times are UTC."""

    student: str
    last_name: str
    first_name: str
    email: str
    lms_user_id: str
    section: str
    submitted: datetime | None
    seconds_late: float
    score: float
    late_penalty: float
    maximum: float
    is_complete: bool
    """False while something waits for a person."""

    @property
    def total(self) -> float:
        return max(0.0, self.score - self.late_penalty)


class ClassGradebook:
    """An open gradebook. One at a time writes; use it as a context manager, in one thread."""

    def __init__(self, url: str, course: Path) -> None:
        """Open or create the gradebook at an SQLAlchemy `url`. nbgrader_config.py says how lateness counts."""
        config = nbgrader_config(course)
        self._url = url
        late = AssignLatePenalties(config=config)
        late.init_plugin()
        self._late_penalty: LatePenalty = late.plugin_inst.late_submission_penalty
        _begin(url)
        self._gradebook = Gradebook(url, config.CourseDirectory.get("course_id") or "default_course")
        self._db = self._gradebook.db
        self._sections: dict[str, _Section] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        if kind is None:
            self.commit()
        self.close()

    def close(self) -> None:
        """Forget what was not committed."""
        self._gradebook.close()

    @property
    def nbgrader(self) -> Gradebook:
        """The same gradebook through nbgrader's interface."""
        return self._gradebook

    def commit(self) -> None:
        """Make what was recorded visible to others, and durable."""
        self._db.commit()

    # --- the course ---

    def register(self, exercises: Iterable[Exercise]) -> None:
        """Tell the gradebook which cells of the released notebooks are graded. Raises CellsChanged."""
        for exercise in exercises:
            notebook = nbformat.read(exercise.notebook, as_version=4)
            if self._registered(exercise) == _graded_cells(notebook):
                continue
            self._gradebook.update_or_create_assignment(exercise.section)
            self.commit()
            names = {"notebook": exercise.slug, "assignment": exercise.section, "db_url": self._url}
            try:
                SaveCells().preprocess(notebook, {"nbgrader": names})
            except RuntimeError:
                raise CellsChanged(
                    f"{exercise.slug} has gained or lost graded cells since its first submission was recorded. Move "
                    f"{self._url.removeprefix('sqlite:///')} away and run again: verdicts stay, points by hand do not."
                ) from None
            self._db.expire_all()
            self._sections.pop(exercise.section, None)

    def _registered(self, exercise: Exercise) -> dict[str, Any]:
        """The cells that the gradebook knows, in the form of `_graded_cells`."""
        notebook = self._db.scalars(
            select(Notebook.id)
            .join(Assignment)
            .where(Assignment.name == exercise.section, Notebook.name == exercise.slug)
        ).first()
        points = dict(
            self._db.execute(select(GradeCell.name, GradeCell.max_score).where(GradeCell.notebook_id == notebook)).all()
        )
        sources = self._db.execute(
            select(SourceCell.name, SourceCell.source, SourceCell.cell_type, SourceCell.locked).where(
                SourceCell.notebook_id == notebook
            )
        )
        return {name: (source, kind, locked, points.get(name)) for name, source, kind, locked in sources}

    # --- writing ---

    def record(self, student: str, section: str, marks: Mapping[str, Marks], submitted: datetime | None = None) -> None:
        """Write one learner's section: `marks` by notebook; a notebook without marks is missing and worth nothing.

        The section is registered. `submitted` is UTC; None leaves the time that is known.
        """
        known = self._section(section)
        submission = self._submission(student, known, submitted)
        for master in known.notebooks:
            self._record_notebook(student, submission, master, marks.get(master.name))

    def record_notebook(self, student: str, section: str, notebook: str, marks: Marks) -> None:
        """Write one notebook's marks and leave the learner's others as they are."""
        known = self._section(section)
        submission = self._submission(student, known, None)
        for master in known.notebooks:
            if master.name == notebook:
                self._record_notebook(student, submission, master, marks)

    def forget(self, students: Iterable[str]) -> None:
        """Remove learners with all that they handed in. Unknown ones are no mistake."""
        for student in students:
            if self._db.get(Student, student) is not None:
                self._gradebook.remove_student(student)

    def _section(self, name: str) -> _Section:
        if name not in self._sections:
            assignment = self._db.scalars(select(Assignment.id).where(Assignment.name == name)).one()
            rows = self._db.execute(
                select(Notebook.id, Notebook.name, BaseCell.id, BaseCell.name, BaseCell.type)
                .join(BaseCell, BaseCell.notebook_id == Notebook.id)
                .where(Notebook.assignment_id == assignment)
                .order_by(Notebook.name)
            )
            masters: dict[str, _Master] = {}
            for notebook_id, notebook, cell_id, cell, kind in rows:
                master = masters.setdefault(notebook_id, _Master(notebook_id, notebook, {}, {}))
                (master.graded if kind == GradeCell.__name__ else master.solutions)[cell] = cell_id
            self._sections[name] = _Section(assignment, tuple(masters.values()))
        return self._sections[name]

    def _submission(self, student: str, section: _Section, submitted: datetime | None) -> SubmittedAssignment:
        if self._db.get(Student, student) is None:
            self._db.add(Student(id=student))
        submission = self._db.scalars(
            select(SubmittedAssignment).where(
                SubmittedAssignment.assignment_id == section.id, SubmittedAssignment.student_id == student
            )
        ).first()
        if submission is None:
            submission = SubmittedAssignment(assignment_id=section.id, student_id=student)
            self._db.add(submission)
        if submitted is not None:
            submission.timestamp = submitted
        self._db.flush()
        return submission

    def _record_notebook(
        self, student: str, submission: SubmittedAssignment, master: _Master, marks: Marks | None
    ) -> None:
        notebook = self._notebook(submission, master)
        score = 0.0
        for name, grade in self._rows(Grade, notebook.id, master.graded).items():
            points = marks.points.get(name, 0.0) if marks else 0.0
            grade.needs_manual_grade = marks is not None and _needs_a_person(grade, name, points, marks)
            grade.auto_score = points
            score += (points or 0.0) if grade.manual_score is None else grade.manual_score
            score += grade.extra_credit or 0.0
        for name, comment in self._rows(Comment, notebook.id, master.solutions).items():
            comment.auto_comment = marks.comments.get(name) if marks else "Not handed in."
        if marks and marks.flagged:
            notebook.flagged = True
        notebook.late_submission_penalty = self._penalty(student, submission, score)

    def _notebook(self, submission: SubmittedAssignment, master: _Master) -> SubmittedNotebook:
        notebook = self._db.scalars(
            select(SubmittedNotebook).where(
                SubmittedNotebook.notebook_id == master.id, SubmittedNotebook.assignment_id == submission.id
            )
        ).first()
        if notebook is None:
            notebook = SubmittedNotebook(notebook_id=master.id, assignment_id=submission.id)
            self._db.add(notebook)
            self._db.flush()
        return notebook

    def _rows(self, kind: type[Any], notebook: str, cells: Mapping[str, str]) -> dict[str, Any]:
        """The grades or comments of a submitted notebook by the name of their cell; those that are missing are made."""
        found = {
            row.cell_id: row
            for row in self._db.scalars(
                select(kind).where(kind.notebook_id == notebook, kind.cell_id.in_(cells.values()))
            )
        }
        for cell in cells.values():
            if cell not in found:
                found[cell] = kind(cell_id=cell, notebook_id=notebook)
                self._db.add(found[cell])
        return {name: found[cell] for name, cell in cells.items()}

    def _penalty(self, student: str, submission: SubmittedAssignment, score: float) -> float | None:
        late = _seconds_late(submission.timestamp, submission.assignment.duedate, submission.extension)
        penalty = self._late_penalty(student, score, late) if late > 0 else None
        return None if penalty is None else min(max(0.0, penalty), score)


def read_marks(gradebook: Gradebook, section: str) -> dict[str, LearnerMarks]:
    """What a gradebook has of a section, by learner."""
    points: dict[tuple[str, str], dict[str, float | None]] = {}
    for student, notebook, cell, grade in gradebook.db.execute(_rows_of(section, Grade, Grade)):
        value = grade.auto_score if grade.manual_score is None else grade.manual_score
        waits = grade.needs_manual_grade and grade.manual_score is None
        points.setdefault((student, notebook), {})[cell] = (
            None if waits else (value or 0.0) + (grade.extra_credit or 0.0)
        )
    comments: dict[tuple[str, str], list[str]] = {}
    for student, notebook, _, words in gradebook.db.execute(_rows_of(section, Comment.manual_comment, Comment)):
        if words:
            comments.setdefault((student, notebook), []).append(words)
    notebooks: dict[str, dict[str, NotebookMarks]] = {}
    for student, notebook, penalty in gradebook.db.execute(
        _notebooks_of(section, SubmittedNotebook.late_submission_penalty)
    ):
        each = (student, notebook)
        notebooks.setdefault(student, {})[notebook] = NotebookMarks(
            points.get(each, {}), tuple(comments.get(each, ())), penalty or 0.0
        )
    submissions = gradebook.db.execute(
        select(
            SubmittedAssignment.student_id,
            SubmittedAssignment.timestamp,
            SubmittedAssignment.extension,
            Assignment.duedate,
        )
        .join(Assignment, Assignment.id == SubmittedAssignment.assignment_id)
        .where(Assignment.name == section)
    )
    return {
        student: LearnerMarks(notebooks.get(student, {}), submitted, _seconds_late(submitted, due, extension))
        for student, submitted, extension, due in submissions
    }


def read_scores(gradebook: Gradebook, sections: Iterable[str] = (), students: Iterable[str] = ()) -> list[Score]:
    """One score for each learner in each section, 0 for one who handed nothing in. All of them if none is named."""
    wanted, chosen = set(sections), set(students)
    people = gradebook.db.execute(
        select(Student.id, Student.last_name, Student.first_name, Student.email, Student.lms_user_id).order_by(
            Student.id
        )
    ).all()
    maxima = gradebook.db.execute(
        select(Assignment.name, func.coalesce(func.sum(GradeCell.max_score), 0.0))
        .join(Notebook, Notebook.assignment_id == Assignment.id)
        .join(GradeCell, GradeCell.notebook_id == Notebook.id)
        .group_by(Assignment.name)
        .order_by(Assignment.name)
    ).all()
    return [
        _score(section, maximum, person, marks.get(person.id, LearnerMarks()))
        for section, maximum in maxima
        if not wanted or section in wanted
        for marks in (read_marks(gradebook, section),)
        for person in people
        if not chosen or person.id in chosen
    ]


def read_timestamp(folder: Path) -> datetime | None:
    """When a submission was handed in, by the file that nbgrader collects with it; None without one.

    Raises ValueError with a sentence for a file that holds no time.
    """
    path = folder / "timestamp.txt"
    if not path.exists() and not path.is_symlink():
        return None
    if path.is_symlink() or not path.is_file() or path.stat().st_size > _TIMESTAMP_BYTES:
        raise ValueError("timestamp.txt is no small regular file; the submission counts as in time.")
    text = path.read_bytes().decode("utf-8", "replace").strip()
    try:
        if text:
            return parse_utc(text)
    except (ValueError, OverflowError, TypeError):
        pass
    raise ValueError(f"timestamp.txt holds no time ({text[:40]!r}); the submission counts as in time.")


def set_timestamp_aside(folder: Path) -> None:
    """Rename a timestamp that holds no time: Formgrader's list of the whole class would stop at it."""
    (folder / "timestamp.txt").rename(folder / ".timestamp.txt.unreadable")


def nbgrader_config(course: Path) -> Config:
    """What nbgrader_config.py of a course says; empty without one."""
    path = course / "nbgrader_config.py"
    return PyFileConfigLoader(path.name, path=str(course)).load_config() if path.exists() else Config()


def _begin(url: str) -> None:
    """Give a new database nbgrader's schema version, as nbgrader does by running `alembic`, which takes 3 s."""
    engine = create_engine(url)
    try:
        if not inspect(engine).get_table_names():
            from alembic.script import ScriptDirectory

            head = ScriptDirectory(ALEMBIC_DIR).get_current_head()
            with engine.begin() as connection:
                connection.execute(text("CREATE TABLE alembic_version (version_num VARCHAR(32) NOT NULL)"))
                connection.execute(text("INSERT INTO alembic_version (version_num) VALUES (:head)"), {"head": head})
    finally:
        engine.dispose()


@dataclass(frozen=True)
class _Master:
    """A released notebook in the gradebook: the ids of its cells by name."""

    id: str
    name: str
    graded: dict[str, str]
    solutions: dict[str, str]


@dataclass(frozen=True)
class _Section:
    id: str
    notebooks: tuple[_Master, ...]


def _needs_a_person(grade: Grade, name: str, points: float | None, marks: Marks) -> bool:
    """Whether somebody must look (again). What a person has seen and nobody has changed is not asked for twice."""
    if points is None:
        return name in marks.rewritten or grade.needs_manual_grade is not False
    return grade.manual_score is not None and (bool(grade.needs_manual_grade) or grade.auto_score != points)


def _notebooks_of(section: str, *columns: Any) -> Any:
    """The learner, the notebook, and `columns`, for each submitted notebook of a section."""
    return (
        select(SubmittedAssignment.student_id, Notebook.name, *columns)
        .select_from(SubmittedNotebook)
        .join(SubmittedAssignment, SubmittedAssignment.id == SubmittedNotebook.assignment_id)
        .join(Notebook, Notebook.id == SubmittedNotebook.notebook_id)
        .join(Assignment, Assignment.id == Notebook.assignment_id)
        .where(Assignment.name == section)
    )


def _rows_of(section: str, column: Any, kind: type[Any]) -> Any:
    """The learner, the notebook, the cell and `column`, for each grade or comment of a section."""
    return (
        _notebooks_of(section, BaseCell.name, column)
        .join(kind, kind.notebook_id == SubmittedNotebook.id)
        .join(BaseCell, BaseCell.id == kind.cell_id)
    )


def _score(section: str, maximum: float, person: Any, marks: LearnerMarks) -> Score:
    points = [value for notebook in marks.notebooks.values() for value in notebook.points.values()]
    return Score(
        student=person.id,
        last_name=person.last_name or "",
        first_name=person.first_name or "",
        email=person.email or "",
        lms_user_id=person.lms_user_id or "",
        section=section,
        submitted=marks.submitted,
        seconds_late=marks.seconds_late,
        score=sum(value or 0.0 for value in points),
        late_penalty=sum(notebook.late_penalty for notebook in marks.notebooks.values()),
        maximum=maximum,
        is_complete=None not in points,
    )


def _graded_cells(notebook: nbformat.NotebookNode) -> dict[str, Any]:
    """The cells that nbgrader records: source, type, whether locked, and points, by name."""
    return {
        cell.metadata.nbgrader["grade_id"]: (
            cell.source,
            cell.cell_type,
            is_locked(cell),
            float(cell.metadata.nbgrader["points"]) if is_grade(cell) else None,
        )
        for cell in notebook.cells
        if is_grade(cell) or is_solution(cell) or is_locked(cell)
    }


def _seconds_late(submitted: datetime | None, due: datetime | None, extension: timedelta | None) -> float:
    if submitted is None or due is None:
        return 0.0
    return max(0.0, (submitted - due - (extension or timedelta())).total_seconds())
