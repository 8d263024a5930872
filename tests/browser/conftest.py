"""A real JupyterLab on a copy of the course and a real Chromium that looks at it; both are gone when the session ends.

Waiting asks JupyterLab itself (its shell, contexts and sessions) and the server; no style sheet class says when a
kernel is idle.
"""

from __future__ import annotations

import json
import os
import re
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, sync_playwright

from graders.course import COURSE_ROOT
from tools.lab import lab_environment
from tools.system_programs import find

SCREENSHOTS = COURSE_ROOT / "build" / "screenshots"
COPIED = ("chapters", "solutions", "tools/jupyter", "nbgrader_config.py")
CHROMIUM_OPTIONS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
START_SECONDS = 60.0
KERNEL_SECONDS = 90.0


@dataclass(frozen=True)
class Lab:
    """A running JupyterLab: its folder, its address and the token that opens it."""

    folder: Path
    url: str
    token: str

    def get(self, path: str) -> Any:
        """What the server's JSON interface says at `path`."""
        request = urllib.request.Request(self.url + path, headers={"Authorization": f"token {self.token}"})
        with urllib.request.urlopen(request, timeout=10) as answer:
            return json.load(answer)


class Notebook:
    """One notebook that is open in the browser."""

    def __init__(self, page: Page, lab: Lab, path: str) -> None:
        self.page, self.lab, self.path = page, lab, path
        page.goto(f"{lab.url}/lab/tree/{path}?reset&token={lab.token}")
        page.wait_for_function(_NOTEBOOK_IS_OPEN, arg=path, timeout=START_SECONDS * 1000)
        page.evaluate(_READY)
        self.wait_until_idle()

    def run_all(self) -> None:
        """Run the cells in order, up to the first that raises, and wait for the kernel."""
        self.page.evaluate("() => window.jupyterapp.commands.execute('notebook:run-all-cells')")
        self.wait_until_idle()

    def run(self, index: int, source: str | None = None) -> None:
        """Run the cell at `index`, with `source` in it where one is given, and wait for the kernel."""
        self.page.evaluate(_RUN_CELL, [index, source])
        self.wait_until_idle()

    def save(self) -> None:
        """Write the notebook to its file."""
        self.page.evaluate("() => window.jupyterapp.shell.currentWidget.context.save()")

    def wait_until_idle(self) -> None:
        """Until the kernel has nothing to do, by JupyterLab's word and the server's."""
        self.page.wait_for_function(_IDLE, timeout=KERNEL_SECONDS * 1000)
        _wait(lambda: self._kernel()["execution_state"] == "idle", KERNEL_SECONDS, f"the kernel of {self.path} is idle")

    def cells(self) -> list[dict[str, Any]]:
        """The cells as the notebook's model holds them now, outputs included."""
        return self.page.evaluate("() => window.jupyterapp.shell.currentWidget.context.model.toJSON().cells")

    def find_cell(self, **metadata: str) -> int:
        """The index of the cell whose nbgrader metadata are these. Raises LookupError."""
        for index, cell in enumerate(self.cells()):
            if metadata.items() <= cell["metadata"].get("nbgrader", {}).items():
                return index
        raise LookupError(f"{self.path} has no cell with {metadata}")

    def show(self, index: int) -> None:
        """Scroll the cell at `index` to the top."""
        self.page.evaluate(_SHOW_CELL, index)

    def theme(self, name: str) -> None:
        """Change JupyterLab's theme and wait until the page has its colours."""
        self.page.evaluate("name => window.jupyterapp.commands.execute('apputils:change-theme', { theme: name })", name)
        self.page.wait_for_function("name => document.body.dataset.jpThemeName === name", arg=name)
        self.page.wait_for_function(_THEME_IS_LOADED, arg="dark" in name.lower())

    def screenshot(self, name: str) -> Path:
        """A picture of the window as build/screenshots/NAME.png."""
        SCREENSHOTS.mkdir(parents=True, exist_ok=True)
        path = SCREENSHOTS / f"{name}.png"
        self.page.screenshot(path=path)
        return path

    def _kernel(self) -> dict[str, Any]:
        sessions = self.lab.get("/api/sessions")
        return next(session["kernel"] for session in sessions if session["path"] == self.path)


@pytest.fixture(scope="session")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """JupyterLab with the course's settings, on a copy of the course that tests may write into."""
    folder = tmp_path_factory.mktemp("course")
    for name in COPIED:
        source, target = COURSE_ROOT / name, folder / name
        if source.is_dir():
            shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__", ".ipynb_checkpoints"))
        elif source.exists():
            shutil.copy(source, target)
    (folder / "build" / "exchange").mkdir(parents=True)  # as `make lab` does
    home = tmp_path_factory.mktemp("jupyter")
    port, token = _free_port(), secrets.token_hex(16)
    log = (home / "jupyterlab.log").open("w")
    server = subprocess.Popen(
        _command(port, token, home),
        cwd=folder,
        env=_environment(folder, home),
        stdout=log,
        stderr=log,
        start_new_session=True,
    )
    running = Lab(folder, f"http://127.0.0.1:{port}", token)
    try:
        _wait(lambda: _started(running, server, home), START_SECONDS, "JupyterLab has started")
        yield running
    finally:
        _stop(server)
        log.close()


@pytest.fixture(scope="session")
def chromium() -> Iterator[Browser]:
    """Debian's Chromium, headless."""
    program = find("chromium")
    assert program is not None, "mark the test with needs('chromium')"
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=CHROMIUM_OPTIONS)
        try:
            yield browser
        finally:
            browser.close()


@pytest.fixture
def page(chromium: Browser, lab: Lab) -> Iterator[Page]:
    """A window that reaches the course's server and nothing else. Kernels that were started through it end with it."""
    context = chromium.new_context(viewport={"width": 1280, "height": 1000}, device_scale_factor=2)
    context.route(re.compile(r"^https?://(?!127\.0\.0\.1)"), lambda route: route.abort())
    page = context.new_page()
    try:
        yield page
    finally:
        context.close()
        for kernel in lab.get("/api/kernels"):
            request = urllib.request.Request(
                f"{lab.url}/api/kernels/{kernel['id']}",
                headers={"Authorization": f"token {lab.token}"},
                method="DELETE",
            )
            urllib.request.urlopen(request, timeout=30).close()


@pytest.fixture
def open_notebook(page: Page, lab: Lab) -> Callable[[str], Notebook]:
    """Open the notebook at a path below the course's folder: its kernel is started and idle."""
    return lambda path: Notebook(page, lab, path)


@pytest.fixture
def count_pixels(page: Page) -> Callable[[str], int]:
    """How many pixels of the live chart have exactly this CSS colour."""
    return lambda colour: page.evaluate(_COUNT_PIXELS, colour)


@pytest.fixture
def comes_to_show(page: Page, count_pixels: Callable[[str], int]) -> Callable[[str, int], bool]:
    """Whether the live chart has more than so many pixels of this CSS colour within 20 s: it draws when it can."""
    canvas = page.locator(".course-live-chart canvas")

    def wait(colour: str, pixels: int) -> bool:
        for _ in range(200):
            # It draws where it is seen, and what loads late above it can push it out of the window.
            canvas.scroll_into_view_if_needed()
            if count_pixels(colour) > pixels:
                return True
            page.wait_for_timeout(100)
        return False

    return wait


_CURRENT = "const notebook = window.jupyterapp?.shell.currentWidget;"
_NOTEBOOK_IS_OPEN = f"path => {{ {_CURRENT} return notebook?.context?.path === path; }}"
_READY = f"async () => {{ {_CURRENT} await notebook.context.ready; await notebook.sessionContext.ready; }}"
_IDLE = f"() => {{ {_CURRENT} return notebook.sessionContext.session?.kernel?.status === 'idle'; }}"
_SHOW_CELL = f"async index => {{ {_CURRENT} await notebook.content.scrollToItem(index, 'start'); }}"
_RUN_CELL = f"""async ([index, source]) => {{
  {_CURRENT}
  notebook.content.activeCellIndex = index;
  if (source !== null) notebook.content.activeCell.model.sharedModel.setSource(source);
  notebook.content.deselectAll();
  await window.jupyterapp.commands.execute('notebook:run-cell');
}}"""
_THEME_IS_LOADED = """dark => {
  const probe = document.body.appendChild(document.createElement('div'));
  probe.style.color = 'var(--jp-layout-color0)';
  const [red] = getComputedStyle(probe).color.match(/\\d+/);
  probe.remove();
  return (Number(red) < 128) === dark;
}"""


_COUNT_PIXELS = """colour => {
  const probe = document.body.appendChild(document.createElement('div'));
  probe.style.color = colour;
  const [red, green, blue] = getComputedStyle(probe).color.match(/\\d+/g).map(Number);
  probe.remove();
  const canvas = document.querySelector('.course-live-chart canvas');
  const { data } = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height);
  let count = 0;
  for (let i = 0; i < data.length; i += 4)
    count += data[i] === red && data[i + 1] === green && data[i + 2] === blue && data[i + 3] === 255;
  return count;
}"""


def _command(port: int, token: str, home: Path) -> list[str]:
    options = [
        "--no-browser",
        "--expose-app-in-browser",
        f"--ServerApp.port={port}",
        f"--IdentityProvider.token={token}",
        f"--LabApp.user_settings_dir={home / 'settings'}",
        f"--LabApp.workspaces_dir={home / 'workspaces'}",
    ]
    if os.geteuid() == 0:
        options.append("--allow-root")
    return [sys.executable, "-m", "jupyterlab", *options]


def _environment(folder: Path, home: Path) -> dict[str, str]:
    own = {"JUPYTER_CONFIG_DIR": "config", "JUPYTER_DATA_DIR": "data", "JUPYTER_RUNTIME_DIR": "runtime", "HOME": "home"}
    for name in own.values():
        (home / name).mkdir()
    return lab_environment({**os.environ, **{variable: str(home / name) for variable, name in own.items()}}, folder)


def _started(lab: Lab, server: subprocess.Popen[bytes], home: Path) -> bool:
    if server.poll() is not None:
        pytest.fail("JupyterLab ended at once:\n" + (home / "jupyterlab.log").read_text()[-2000:], pytrace=False)
    try:
        lab.get("/api/status")
    except OSError:
        return False
    return True


def _stop(server: subprocess.Popen[bytes]) -> None:
    """End the server as Ctrl-C twice would, so that it ends its kernels; then whatever is left of its process group."""
    server.send_signal(signal.SIGTERM)
    try:
        server.wait(20)
    except subprocess.TimeoutExpired:
        pass
    finally:
        with suppress(ProcessLookupError):
            os.killpg(server.pid, signal.SIGKILL)
        server.wait()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def _wait(condition: Callable[[], bool], seconds: float, what: str) -> None:
    give_up = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > give_up:
            pytest.fail(f"After {seconds:.0f} s still not true: {what}.", pytrace=False)
        time.sleep(0.1)
