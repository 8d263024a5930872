"""What is handed back: one page that needs nothing else, and a graded notebook for Formgrader."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import datetime
from html.parser import HTMLParser
from pathlib import Path

import nbformat
import pytest

from graders.course import Exercise, find
from graders.engine.batch import ClassFolder
from graders.engine.feedback import (
    GradedNotebook,
    LearnerMarks,
    NotebookMarks,
    feedback_page,
    graded_notebook,
    marks_of,
    written_answers,
)
from graders.engine.verdict import CheckVerdict, Verdict
from graders.kit import Card

EVIL = "<script>alert(1)</script><img src=x onerror=alert(2)>{{ 7*7 }}"


class Page(HTMLParser):
    """Tags, attributes and visible text of a page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.text = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += attrs

    def handle_data(self, data: str) -> None:
        self.text += data


@pytest.fixture
def exercise(folder: ClassFolder) -> Exercise:
    return find("1.1.1", folder.course)


def failed_card(observed: str = "3") -> dict[str, object]:
    history = [{"t": 0.0, "who": EVIL, "what": f"double({EVIL})", "kind": "failed", "outcome": "raised", "error": EVIL}]
    return Card("keeps-zero", "It keeps zero.", expected="0", observed=observed, at=0, history=history).as_json()


def verdict(**changes: object) -> Verdict:
    checks = (
        CheckVerdict("doubles-it", "It doubles any number.", 2, 2, "passed", seconds=0.25),
        CheckVerdict("keeps-zero", "It keeps zero.", 0, 1, "failed", "no", 1.5, failed_card(EVIL)),
    )
    return Verdict(
        **{"exercise": "1.1.1-double", "isolation": "process", "seed": 987654321, "checks": checks, **changes}
    )  # type: ignore[arg-type]


def page_of(exercise: Exercise, graded: GradedNotebook, marks: NotebookMarks | None = None, **learner: object) -> str:
    return feedback_page(
        "ada", "1.1-numbers", [graded], LearnerMarks({exercise.slug: marks or NotebookMarks()}, **learner)
    )  # type: ignore[arg-type]


def test_a_page_shows_points_timings_and_cards(exercise: Exercise) -> None:
    marks = NotebookMarks({"doubles-it": 2.0, "keeps-zero": 0.0, "why": None})
    text = " ".join(Page(page_of(exercise, GradedNotebook(exercise, verdict()), marks)).text.split())

    assert "2 of 6 points so far: a person has not graded everything yet" in text
    assert "1.1.1 — Twice as much 2 / 6" in text
    assert "It doubles any number. 2 / 2 0.25 s" in text
    assert "It keeps zero. failed 0 / 1 1.50 s" in text
    assert "why not graded yet – / 3" in text


def test_a_page_shows_what_people_have_added(exercise: Exercise) -> None:
    marks = NotebookMarks({"doubles-it": 2.0, "keeps-zero": 0.5, "why": 3.0}, ("Well put.",), late_penalty=1.0)
    page = page_of(
        exercise, GradedNotebook(exercise, verdict()), marks, submitted=datetime(2026, 1, 2, 3, 4), seconds_late=7300.0
    )
    text = " ".join(Page(page).text.split())

    assert "4.5 of 6 points" in text and "so far" not in text
    assert "handed in 2026-01-02 03:04 UTC · 2 hours late" in text
    assert "Handed in late: 1 points taken off." in text
    assert "Well put." in text


def test_nothing_that_an_answer_or_a_person_wrote_is_markup(exercise: Exercise) -> None:
    marks = NotebookMarks({"why": 1.0}, (EVIL,))
    for graded in (GradedNotebook(exercise, verdict(printed=EVIL)), GradedNotebook(exercise, None, EVIL)):
        page = Page(page_of(exercise, graded, marks))
        assert not {"script", "img", "iframe", "link", "object"} & set(page.tags)
        assert not [name for name, _ in page.attributes if name.startswith("on")]
        assert EVIL in page.text


def test_a_page_opens_from_a_file_and_loads_nothing(exercise: Exercise) -> None:
    page = Page(page_of(exercise, GradedNotebook(exercise, verdict())))

    assert not [value for name, value in page.attributes if name in ("src", "href", "srcset", "action", "data")]
    assert ("content", "default-src 'none'; style-src 'unsafe-inline'") in page.attributes
    assert ("content", "light dark") in page.attributes


def test_a_page_has_neither_the_seed_nor_the_source_of_a_check(exercise: Exercise) -> None:
    page = page_of(exercise, GradedNotebook(exercise, verdict(flags=("double: line 1 reaches for gc",))))

    assert "987654321" not in page
    assert "scenario" not in page and "check.doubles_it" not in page
    assert "reaches for gc" not in page


def test_long_prints_are_cut_on_a_page(exercise: Exercise) -> None:
    page = page_of(exercise, GradedNotebook(exercise, verdict(printed="x" * 1_000_000)))

    assert len(page) < 50_000
    assert "The rest is left out." in page


def test_a_missing_notebook_is_told(exercise: Exercise) -> None:
    assert "This notebook was not handed in." in page_of(exercise, GradedNotebook(exercise, was_handed_in=False))


def test_a_graded_notebook_is_the_release_with_the_answer_and_cards(exercise: Exercise) -> None:
    made = graded_notebook(exercise, {"double": "mine", "why": "because", "doubles-it": "pass"}, verdict(), key="k")
    nbformat.validate(nbformat.from_dict(made))
    cells = {cell["id"]: cell for cell in made["cells"]}

    assert cells["double"]["source"] == "mine" and cells["why"]["source"] == "because"
    assert cells["doubles-it"]["source"] == "check.doubles_it(double)"
    assert cells["doubles-it"]["outputs"] == [
        {"output_type": "stream", "name": "stdout", "text": "✓ It doubles any number.\n"}
    ]
    card = Page(cells["keeps-zero"]["outputs"][0]["data"]["text/html"])
    assert "script" not in card.tags and "img" not in card.tags
    assert "987654321" not in json.dumps(made)


def test_a_check_without_an_entry_has_no_points(exercise: Exercise) -> None:
    only_one = verdict(checks=verdict().checks[:1])
    made = graded_notebook(exercise, {"double": "mine"}, only_one)

    assert marks_of(exercise, made, only_one).points == {"doubles-it": 2, "keeps-zero": 0, "why": 0}
    assert "no record" in json.dumps(made)


def test_an_answer_that_a_person_grades_is_asked_for_when_it_is_new(exercise: Exercise) -> None:
    first = graded_notebook(exercise, {"why": "because"}, verdict())
    again = graded_notebook(exercise, {"why": "because"}, verdict())
    other = graded_notebook(exercise, {"why": "no, because"}, verdict())

    assert marks_of(exercise, first, verdict()).rewritten == {"why"}
    assert marks_of(exercise, again, verdict(), first).rewritten == set()
    assert marks_of(exercise, other, verdict(), first).rewritten == {"why"}
    assert marks_of(exercise, first, verdict()).points["why"] is None


def test_an_untouched_cell_is_no_response(exercise: Exercise) -> None:
    made = graded_notebook(exercise, {}, verdict())

    assert marks_of(exercise, made, verdict()).comments == {"double": "No response.", "why": "No response."}
    assert marks_of(exercise, made, verdict()).points["why"] == 0


def test_flags_and_problems_are_comments_without_markup(exercise: Exercise) -> None:
    flagged = verdict(flags=(f"double: {EVIL}", *(f"[x](javascript:{n})" for n in range(40))))
    words = marks_of(exercise, graded_notebook(exercise, {"double": "mine"}, flagged), flagged).comments["double"]

    assert words is not None and "Worth a look; the score does not depend on it" in words
    assert not set("<>[]`") & set(words)
    assert words.endswith("and 29 more")
    refused = graded_notebook(exercise, {}, None, problem="It is damaged.")
    assert marks_of(exercise, refused, None).comments["double"] == "Not graded. It is damaged."
    assert marks_of(exercise, refused, None).flagged


def test_a_card_that_cannot_be_drawn_is_told_in_words(exercise: Exercise) -> None:
    broken = CheckVerdict(
        "keeps-zero", "It keeps zero.", 0, 1, "failed", "the words", 0.1, {**failed_card(), "history": [{"t": "x"}]}
    )
    made = graded_notebook(exercise, {}, verdict(checks=(broken,)))

    assert "the words" in json.dumps(made) or "It keeps zero." in json.dumps(made)


def test_written_answers_come_from_their_cells_alone(exercise: Exercise, hand_in: Callable[..., Path]) -> None:
    path = hand_in("ada", why="because")
    notebook = json.loads(path.read_text())
    notebook["cells"] += [None, {"metadata": {"nbgrader": {"grade_id": "why"}}, "source": ["also ", 3, "this"]}]
    path.write_text(json.dumps(notebook))

    assert written_answers(path, exercise) == {"why": "because\n\nalso this"}
