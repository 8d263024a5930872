"""17.2.1 in a real JupyterLab: a learner plays, answers wrongly and rightly; an instructor opens Formgrader."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from playwright.sync_api import Locator, Page, expect

from graders.course import COURSE_ROOT
from graders.source_format import AnswerFile, read_answer
from shared.palette import COLOURS

pytestmark = [pytest.mark.needs("chromium"), pytest.mark.timeout(600)]

SECTION, SLUG = "17.2-resilience", "17.2.1-circuit-breaker"
CHECK = "opens-on-error-rate"
PATIENCE = 120_000  # milliseconds: Validate runs the whole notebook in a kernel of its own
CARD = ".stl-card[aria-label='Failed check']"


@pytest.fixture
def chapter(open_notebook: Callable[[str], Any], lab: Any) -> Any:
    """The untouched chapter, whatever the test before it saved."""
    path = f"chapters/{SECTION}/{SLUG}.ipynb"
    (lab.folder / path).write_bytes((COURSE_ROOT / path).read_bytes())
    return open_notebook(path)


def answer(name: str) -> AnswerFile:
    return read_answer((COURSE_ROOT / "graders" / "answers" / SLUG / name).read_text(encoding="utf-8"))


def write(chapter: Any, solution: AnswerFile) -> None:
    """Type an answer into the solution cells and run them, the setup cell before them."""
    chapter.run(chapter.find_cell(grade_id="setup"))
    for name, source in solution.solutions.items():
        chapter.run(chapter.find_cell(grade_id=name), source)


def validate(chapter: Any, page: Page) -> Locator:
    """Save, press Validate, and give the dialog with the results."""
    chapter.save()
    page.get_by_role("button", name="Validate").click()
    dialog = page.locator(".jp-Dialog")
    expect(dialog).to_contain_text("Validation Results", timeout=PATIENCE)
    return dialog


def test_an_untouched_chapter_runs_up_to_the_first_unwritten_answer(chapter: Any, page: Page) -> None:
    chapter.run_all()
    errors = [
        output for cell in chapter.cells() for output in cell.get("outputs", []) if output["output_type"] == "error"
    ]
    assert [error["ename"] for error in errors] == ["NotImplementedError"]
    expect(page.locator(".course-live-words")).to_contain_text("CLOSED: calls flow.", timeout=30_000)


def test_a_slider_changes_the_picture_in_both_themes(
    chapter: Any, page: Page, count_pixels: Callable[[str], int], comes_to_show: Callable[[str, int], bool]
) -> None:
    chapter.run_all()
    chapter.show(next(index for index, cell in enumerate(chapter.cells()) if cell["id"] == "play"))
    words = page.locator(".course-live-words")
    expect(words).to_contain_text("CLOSED: calls flow.", timeout=30_000)
    healthy = count_pixels(COLOURS["rejected"])
    page.get_by_role("slider").nth(1).press("End")
    expect(words).to_contain_text("OPEN for", timeout=30_000)
    assert comes_to_show(COLOURS["rejected"], healthy + 1_000)
    chapter.screenshot("chapter-play-light")
    chapter.theme("JupyterLab Dark")
    page.wait_for_timeout(1000)
    chapter.screenshot("chapter-play-dark")
    chapter.theme("JupyterLab Light")


def test_a_wrong_answer_shows_its_failure_card_in_both_themes(chapter: Any, page: Page) -> None:
    write(chapter, answer("wrong-consecutive-failures.py"))
    check = chapter.find_cell(grade_id=CHECK)
    chapter.run(check)
    card = page.locator(CARD)
    expect(card).to_be_visible()
    expect(card).to_contain_text("expected")
    for words in answer("wrong-consecutive-failures.py").says:
        expect(card).to_contain_text(words)
    assert "Traceback" not in page.locator(".jp-OutputArea").filter(has=card).inner_text()
    chapter.show(check)
    chapter.screenshot("chapter-card-light")
    chapter.theme("JupyterLab Dark")
    page.wait_for_timeout(500)
    chapter.screenshot("chapter-card-dark")
    chapter.theme("JupyterLab Light")


def test_validate_names_the_check_that_a_wrong_answer_fails(chapter: Any, page: Page) -> None:
    write(chapter, answer("wrong-consecutive-failures.py"))
    dialog = validate(chapter, page)
    expect(dialog).to_contain_text("The following cell failed")
    expect(dialog).to_contain_text("check.opens_on_error_rate(CircuitBreaker)")
    chapter.screenshot("chapter-validate-wrong")


def test_validate_passes_a_right_answer(chapter: Any, page: Page) -> None:
    write(chapter, answer("right-one-lock-and-ring.py"))
    chapter.run(
        chapter.find_cell(grade_id="explain-flapping"), "Half of the calls fail, so the window is at its limit."
    )
    dialog = validate(chapter, page)
    expect(dialog).to_contain_text("Success! Your notebook passes all the tests.")
    chapter.screenshot("chapter-validate-right")


def test_formgrader_lists_the_section(chapter: Any, page: Page) -> None:
    page.evaluate("() => window.jupyterapp.commands.execute('nbgrader:open-formgrader')")
    frame = page.frame_locator("iframe[src*='formgrader']")
    expect(frame.get_by_role("heading", name="Manage Assignments")).to_be_visible(timeout=PATIENCE)
    expect(frame.get_by_role("link", name=SECTION)).to_be_visible(timeout=PATIENCE)
    chapter.screenshot("formgrader")
