"""The live panel in a real JupyterLab: it draws, it obeys, it follows the theme, it ends."""

from __future__ import annotations

from collections.abc import Callable

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_notebook
from playwright.sync_api import Page

pytestmark = pytest.mark.needs("chromium")

CELLS = [
    "from shared.widgets.circuit_breaker import breaker_playground\npanel = breaker_playground()\npanel",
    "panel.simulation.now",
    "import threading\n[t.name for t in threading.enumerate() if t.name.startswith('live-panel')]",
]


@pytest.fixture
def notebook(lab, open_notebook: Callable):
    path = "stand-in.ipynb"
    kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
    nbformat.write(
        new_notebook(cells=[new_code_cell(cell) for cell in CELLS], metadata={"kernelspec": kernel}), lab.folder / path
    )
    return open_notebook(path)


def test_look(notebook, page: Page):
    notebook.run(0)
    page.wait_for_selector(".course-live-chart canvas")
    page.wait_for_timeout(3000)
    notebook.screenshot("look-1")
    page.get_by_role("button", name="Break it: errors").click()
    page.wait_for_timeout(1200)
    notebook.screenshot("look-2")
    page.wait_for_timeout(1500)
    notebook.screenshot("look-3")
    notebook.theme("JupyterLab Dark")
    page.wait_for_timeout(3000)
    notebook.screenshot("look-4")
    page.get_by_role("button", name="Heal it").click()
    page.wait_for_timeout(6000)
    notebook.screenshot("look-5")
