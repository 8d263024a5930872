"""What all tests share: files that tools leave behind go under build/, and a missing program is told by name.

`@pytest.mark.needs("chromium")` skips a test where the program is missing. With COURSE_REQUIRE=all, as in continuous
integration, a skipped test of any kind fails the session: a green run there means that everything ran.
"""

from __future__ import annotations

import os

import pytest

from tools.build import kernel_environment
from tools.system_programs import find, how_to_install

# Notebooks below tests/ are material for tests, not golden notebooks for nbval.
collect_ignore_glob = ["*.ipynb"]


def pytest_configure(config: pytest.Config) -> None:
    # Set here and not in a fixture: Hypothesis reads its folder at import, and nbval starts kernels without fixtures.
    os.environ.update(kernel_environment())


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    # The browser's driver keeps an event loop in the main thread, where asyncio.run then refuses to work.
    items.sort(key=lambda item: "browser" in item.path.parent.parts)


def pytest_runtest_setup(item: pytest.Item) -> None:
    for mark in item.iter_markers("needs"):
        for program in mark.args:
            if find(program) is None:
                sentence = f"{program} is missing: {how_to_install(program)}"
                if _everything_is_required():
                    pytest.fail(sentence, pytrace=False)
                pytest.skip(sentence)


def pytest_sessionfinish(session: pytest.Session) -> None:
    if _everything_is_required() and _skipped(session.config):
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    if _everything_is_required() and (count := _skipped(config)):
        terminalreporter.write_line(f"COURSE_REQUIRE=all: {count} skipped, so this run has failed.", red=True)


def _everything_is_required() -> bool:
    return os.environ.get("COURSE_REQUIRE") == "all"


def _skipped(config: pytest.Config) -> int:
    """How many tests or whole files were skipped (an expected failure is no skip)."""
    reporter = config.pluginmanager.get_plugin("terminalreporter")
    return len(reporter.stats.get("skipped", [])) if reporter else 0
