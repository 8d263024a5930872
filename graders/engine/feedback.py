"""What people read about a graded notebook: the notebook with its cards, for Formgrader, and one page per learner.

Nothing that an answer produced reaches a page unescaped, and no page holds a seed or the source of a check.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from functools import cache
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

from graders.course import Exercise
from graders.engine.release import ExerciseBroken, cell_source
from graders.engine.verdict import CheckVerdict, Verdict
from graders.kit.card import Card
from shared.palette import COLOURS, PAPER

if TYPE_CHECKING:
    from jinja2 import Template

__all__ = [
    "GRADING",
    "GradedNotebook",
    "LearnerMarks",
    "Marks",
    "NotebookMarks",
    "feedback_page",
    "graded_notebook",
    "marks_of",
    "named_verdict",
    "written_answers",
]

GRADING = "grading"
"""The metadata of a graded notebook that name its verdict (`verdict`), or tell why there is none (`problem`)."""

_PRINTED = 20_000
_FLAGS = 12
_FLAG_LENGTH = 200


@dataclass(frozen=True)
class Marks:
    """What the gradebook is told about one graded notebook.

    `points` by grade cell, None where a person must grade; `comments` by solution cell, None where there is none;
    `rewritten` are the hand-graded cells whose text is not what was graded before.
    """

    points: Mapping[str, float | None]
    comments: Mapping[str, str | None]
    rewritten: frozenset[str] = frozenset()
    flagged: bool = False


@dataclass(frozen=True)
class NotebookMarks:
    """One notebook as the gradebook has it, what people have added included.

    `points` by grade cell, None while it waits for a person; `comments` are people's own, in the order of their cells.
    """

    points: Mapping[str, float | None] = field(default_factory=dict)
    comments: Sequence[str] = ()
    late_penalty: float = 0.0


@dataclass(frozen=True)
class LearnerMarks:
    """One learner's section as the gradebook has it. `submitted` is UTC."""

    notebooks: Mapping[str, NotebookMarks] = field(default_factory=dict)
    submitted: datetime | None = None
    seconds_late: float = 0.0


@dataclass(frozen=True)
class GradedNotebook:
    """One exercise on a learner's page. `was_handed_in` is False for a notebook that is missing."""

    exercise: Exercise
    verdict: Verdict | None = None
    problem: str = ""
    was_handed_in: bool = True


# --- the graded notebook --------------------------------------------------------------------------------------------


def graded_notebook(
    exercise: Exercise, sources: Mapping[str, str], verdict: Verdict | None, *, key: str = "", problem: str = ""
) -> dict[str, Any]:
    """The release notebook with a learner's `sources` in its solution cells, and what each check found as its output.

    A notebook of format 4 as plain data. Without a verdict, every check shows `problem`. Raises ExerciseBroken.
    """
    notebook: dict[str, Any] = json.loads(_release_text(exercise))
    notebook["metadata"][GRADING] = {"verdict": key, "problem": _sound(problem)}
    checks = {check.id: check for check in verdict.checks} if verdict else {}
    for cell in notebook["cells"]:
        role = _role(cell)
        if role.get("solution") and role["grade_id"] in sources:
            cell["source"] = _sound(sources[role["grade_id"]])
        elif role.get("grade") and not role.get("solution") and cell["cell_type"] == "code":
            cell["outputs"] = [_output(checks.get(role["grade_id"]), problem)]
    return notebook


def marks_of(
    exercise: Exercise, notebook: Mapping[str, Any], verdict: Verdict | None, before: Mapping[str, Any] | None = None
) -> Marks:
    """What the gradebook is told about a notebook that `graded_notebook` made; `before` is the one that it replaces.

    A check has the examiner's points, and none without an entry. A hand-graded cell that was left as released has 0.
    """
    graded_before = {_role(cell).get("grade_id"): cell_source(dict(cell)) for cell in before["cells"]} if before else {}
    problem = notebook["metadata"][GRADING]["problem"]
    earned = {check.id: float(check.points) for check in verdict.checks} if verdict else {}
    points: dict[str, float | None] = {}
    comments: dict[str, str | None] = {}
    rewritten = set()
    for cell, released in zip(notebook["cells"], json.loads(_release_text(exercise))["cells"], strict=True):
        role = _role(released)
        untouched = cell_source(dict(cell)) == cell_source(released)
        if role.get("grade") and role.get("solution"):
            points[role["grade_id"]] = 0.0 if untouched else None
            if not untouched and cell_source(dict(cell)) != graded_before.get(role["grade_id"]):
                rewritten.add(role["grade_id"])
        elif role.get("grade"):
            points[role["grade_id"]] = earned.get(role["grade_id"], 0.0)
        if role.get("solution"):
            comments[role["grade_id"]] = "No response." if untouched else None
    words = f"Not graded. {problem}" if problem else _words(verdict.flags if verdict else ())
    if words and comments:
        comments[next(iter(comments))] = words
    return Marks(points, comments, frozenset(rewritten), flagged=bool(words))


def named_verdict(path: Path) -> tuple[str, str] | None:
    """The key of the verdict that a graded notebook shows, and the problem that it tells; None without it."""
    try:
        grading = json.loads(path.read_bytes())["metadata"][GRADING]
        return grading["verdict"], grading["problem"]
    except (OSError, ValueError, KeyError, TypeError):
        return None


def written_answers(path: Path, exercise: Exercise) -> dict[str, str]:
    """The hand-graded answers of a submitted notebook that `read_answer` has accepted, by grade id."""
    wanted = {
        _role(cell)["grade_id"]
        for cell in json.loads(_release_text(exercise))["cells"]
        if _role(cell).get("grade") and _role(cell).get("solution")
    }
    found: dict[str, list[str]] = {}
    for cell in json.loads(path.read_text(encoding="utf-8-sig"))["cells"]:
        grade_id = _submitted_id(cell)
        if grade_id is not None and grade_id in wanted and isinstance(cell.get("source"), str | list):
            found.setdefault(grade_id, []).append("".join(part for part in cell["source"] if isinstance(part, str)))
    return {grade_id: "\n\n".join(parts) for grade_id, parts in found.items()}


def _release_text(exercise: Exercise) -> str:
    try:
        return exercise.notebook.read_text(encoding="utf-8")
    except OSError:
        raise ExerciseBroken(f"{exercise.slug} has no release notebook. Run `make build`.") from None


def _role(cell: Mapping[str, Any]) -> Mapping[str, Any]:
    """nbgrader's metadata of a trusted cell."""
    return cell["metadata"].get("nbgrader", {})


def _submitted_id(cell: Any) -> str | None:
    """The grade id of an untrusted cell."""
    for key in ("metadata", "nbgrader", "grade_id"):
        cell = cell.get(key) if isinstance(cell, dict) else None
    return cell if isinstance(cell, str) else None


def _output(check: CheckVerdict | None, problem: str) -> dict[str, Any]:
    if check is not None and check.status == "passed":
        return {"output_type": "stream", "name": "stdout", "text": f"✓ {check.title}\n"}
    if check is None:
        words = f"Not graded. {_sound(problem)}" if problem else "Not graded: the examiner has no record of this check."
        return {"output_type": "stream", "name": "stdout", "text": words + "\n"}
    html, text = _card(check)
    return {"output_type": "display_data", "metadata": {}, "data": {"text/html": html, "text/plain": text}}


def _card(check: CheckVerdict) -> tuple[str, str]:
    """A failed check as HTML and as plain text."""
    text = _sound(check.message or check.status)
    if check.card is not None:
        # A history is a runner's word for word: what cannot be drawn is told.
        with suppress(ValueError, TypeError, KeyError, AttributeError, ArithmeticError):
            card = Card.from_json(check.card)
            return _sound(card.html()), _sound(card.text())
    return f"<pre>{escape(text)}</pre>", text


def _words(flags: Sequence[str]) -> str:
    """Flags as a comment for Formgrader, which shows comments as Markdown."""
    if not flags:
        return ""
    shown = [re.sub(r"[<>&`\[\]]", "", _sound(flag))[:_FLAG_LENGTH] for flag in flags[:_FLAGS]]
    more = [f"and {len(flags) - _FLAGS} more"] if len(flags) > _FLAGS else []
    return "Worth a look; the score does not depend on it:\n\n" + "\n".join(f"- {flag}" for flag in [*shown, *more])


def _sound(text: str) -> str:
    """Text that can be written as UTF-8: a submitted notebook can hold half of a surrogate pair."""
    return text.encode("utf-8", "replace").decode("utf-8")


# --- the learner's page ---------------------------------------------------------------------------------------------


def feedback_page(student: str, section: str, graded: Sequence[GradedNotebook], marks: LearnerMarks) -> str:
    """One learner's section as an HTML page that needs nothing else: no server, no script, no other file."""
    parts = [_part(each, marks.notebooks.get(each.exercise.slug, NotebookMarks())) for each in graded]
    return _template().render(
        student=student,
        section=section,
        parts=parts,
        score=_number(sum(part["score"] for part in parts)),
        maximum=_number(sum(part["maximum"] for part in parts)),
        waiting=any(part["waiting"] for part in parts),
        submitted=f"{marks.submitted:%Y-%m-%d %H:%M} UTC" if marks.submitted else "",
        late=_duration(marks.seconds_late) if marks.seconds_late else "",
        colours=COLOURS,
        paper=PAPER,
    )


def _part(graded: GradedNotebook, marks: NotebookMarks) -> dict[str, Any]:
    released = json.loads(_release_text(graded.exercise))["cells"]
    verdict = graded.verdict
    checks = {check.id: check for check in verdict.checks} if verdict else {}
    rows, written = [], []
    score = maximum = 0.0
    for cell in released:
        role = _role(cell)
        if not role.get("grade"):
            continue
        points = marks.points.get(role["grade_id"])
        score += points or 0.0
        maximum += role["points"]
        shown = {"points": "–" if points is None else _number(points), "maximum": _number(role["points"])}
        if role.get("solution"):
            written.append({**shown, "title": role["grade_id"].replace("-", " "), "waiting": points is None})
        else:
            rows.append({**shown, **_row(role["grade_id"], checks.get(role["grade_id"]))})
    return {
        "title": _title(released, graded.exercise),
        "anchor": graded.exercise.slug,
        "problem": graded.problem if graded.was_handed_in else "This notebook was not handed in.",
        "rows": rows if verdict else [],
        "written": written if graded.was_handed_in else [],
        "comments": marks.comments,
        "printed": verdict.printed[:_PRINTED] if verdict else "",
        "printed_more": len(verdict.printed) > _PRINTED if verdict else False,
        "late_penalty": _number(marks.late_penalty) if marks.late_penalty else "",
        "score": max(0.0, score - marks.late_penalty),
        "maximum": maximum,
        "score_shown": _number(max(0.0, score - marks.late_penalty)),
        "maximum_shown": _number(maximum),
        "waiting": graded.was_handed_in and any(each["waiting"] for each in written),
    }


def _row(grade_id: str, check: CheckVerdict | None) -> dict[str, Any]:
    if check is None:
        return {
            "title": grade_id.replace("-", " "),
            "status": "error",
            "words": "not graded",
            "seconds": "",
            "card": "",
        }
    return {
        "title": check.title,
        "status": check.status,
        "words": check.status.replace("_", " "),
        "seconds": f"{check.seconds:.2f} s",
        "card": "" if check.status == "passed" else _card(check)[0],
    }


def _title(released: Sequence[Mapping[str, Any]], exercise: Exercise) -> str:
    for cell in released:
        if cell["cell_type"] == "markdown" and (heading := re.match(r"# (.+)", cell_source(dict(cell)))):
            return heading[1].replace("*", "").strip()
    return exercise.slug


def _number(points: float) -> str:
    return f"{points:.2f}".rstrip("0").rstrip(".")


def _duration(seconds: float) -> str:
    for size, name in ((86_400, "day"), (3_600, "hour"), (60, "minute")):
        if seconds >= size:
            count = int(seconds // size)
            return f"{count} {name}{'s' if count != 1 else ''}"
    return "less than a minute"


@cache
def _template() -> Template:
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template("feedback.html")
