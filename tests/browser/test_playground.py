"""The live panel in a real JupyterLab: it draws, obeys its controls, follows the theme, can be read out, and ends."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_notebook
from playwright.sync_api import Page, expect

from shared.palette import COLOURS

pytestmark = pytest.mark.needs("chromium")

PLAY, THREADS = (
    "from shared.widgets.circuit_breaker import breaker_playground\n\nbreaker_playground()",
    "import threading\n\nsum(thread.name.startswith('live-panel') for thread in threading.enumerate())",
)
ERROR_RATE = 1  # the second slider
Count = Callable[[str], int]


@pytest.fixture
def notebook(lab: Any, open_notebook: Callable[[str], Any]) -> Any:
    kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
    cells = [new_code_cell(PLAY), new_code_cell(THREADS)]
    nbformat.write(new_notebook(cells=cells, metadata={"kernelspec": kernel}), lab.folder / "stand-in.ipynb")
    opened = open_notebook("stand-in.ipynb")
    opened.run(0)
    return opened


def words(page: Page) -> Any:
    return page.locator(".course-live-words")


def test_a_slider_breaks_the_backend_and_a_button_heals_it(notebook: Any, page: Page, count_pixels: Count) -> None:
    expect(words(page)).to_contain_text("CLOSED: calls flow.", timeout=30_000)
    healthy = count_pixels(COLOURS["failed"])
    assert count_pixels(COLOURS["accepted"]) > 10_000
    page.get_by_role("slider").nth(ERROR_RATE).press("End")
    expect(words(page)).to_contain_text("OPEN for", timeout=30_000)
    assert count_pixels(COLOURS["failed"]) > healthy + 1_000
    notebook.screenshot("playground-open-light")
    page.get_by_role("button", name="Heal it").click()
    expect(words(page)).to_contain_text("CLOSED: calls flow.", timeout=60_000)
    notebook.screenshot("playground-healed-light")


def test_the_chart_takes_the_colours_of_the_theme_while_it_runs(notebook: Any, page: Page, count_pixels: Count) -> None:
    expect(words(page)).to_contain_text("CLOSED", timeout=30_000)
    page.get_by_role("button", name="Break it").click()
    for theme, name in (("JupyterLab Dark", "dark"), ("JupyterLab Light", "light")):
        notebook.theme(theme)
        page.wait_for_timeout(1000)  # the chart reads the colours again when the style sheet has settled
        assert count_pixels("var(--jp-layout-color2)") > 1_000
        notebook.screenshot(f"playground-{name}")


def test_the_picture_stands_still_while_paused(notebook: Any, page: Page) -> None:
    expect(words(page)).to_contain_text("CLOSED", timeout=30_000)
    page.get_by_role("button", name="Playing").click()
    expect(page.get_by_role("button", name="Paused")).to_be_visible()
    notebook.wait_until_idle()
    page.wait_for_timeout(1000)
    canvas = page.locator(".course-live-chart canvas")
    first = canvas.screenshot()
    page.wait_for_timeout(500)
    assert canvas.screenshot() == first
    page.get_by_role("button", name="Paused").click()
    for _ in range(100):
        page.wait_for_timeout(100)
        if canvas.screenshot() != first:
            return
    pytest.fail("the picture stands still although it plays again")


def test_the_keyboard_reads_the_chart(notebook: Any, page: Page) -> None:
    expect(words(page)).to_contain_text("CLOSED", timeout=30_000)
    canvas = page.locator(".course-live-chart canvas")
    assert "circuit breaker" in canvas.get_attribute("aria-label")
    spoken = page.locator(".course-live-spoken")
    heard: list[str] = []
    for _ in range(160):  # nothing to read before the first picture; a change of state is spoken too, in between
        canvas.press("Escape")
        canvas.press("PageUp")
        heard.append(spoken.text_content() or "")
        if "10 s ago" in heard[-1] and "served" in heard[-1]:
            break
        page.wait_for_timeout(250)
    else:
        pytest.fail(f"never read ten seconds back, only {sorted(set(heard))}")
    notebook.screenshot("playground-cursor")


def test_one_panel_at_a_time_and_none_after_close(notebook: Any, page: Page) -> None:
    notebook.run(0)
    notebook.run(1)
    assert notebook.cells()[1]["outputs"][0]["data"]["text/plain"] == "1"
    page.get_by_title("Stop and remove this panel").click()
    expect(page.get_by_text("Closed. Run the cell again to play.")).to_be_visible()
    notebook.run(1)
    assert notebook.cells()[1]["outputs"][0]["data"]["text/plain"] == "0"


def test_a_narrow_page_stacks_the_panes(notebook: Any, page: Page) -> None:
    page.set_viewport_size({"width": 760, "height": 1400})
    expect(words(page)).to_contain_text("CLOSED", timeout=30_000)
    page.wait_for_timeout(500)
    notebook.screenshot("playground-narrow")
    box = page.locator(".course-live-chart canvas").bounding_box()
    assert box["height"] > 700
