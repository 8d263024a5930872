"""A missing program skips its tests by name, with the command that helps; where all is required, a skip fails."""

from __future__ import annotations

from pathlib import Path

import pytest

from tools import system_programs
from tools.system_programs import PROGRAMS, find, how_to_install, install, missing

CONFTEST = (Path(__file__).parent.parent / "conftest.py").read_text()
INI = "[pytest]\nmarkers = needs(*programs): system programs\naddopts = --strict-markers -ra\n"

pytest_plugins = ["pytester"]


def run(pytester: pytest.Pytester, test: str, **files: str) -> pytest.RunResult:
    pytester.makeconftest(CONFTEST)
    pytester.makefile(".ini", pytest=INI)
    pytester.makepyfile(test_it=test, **files)
    return pytester.runpytest_inprocess()


NEEDS = """
    import pytest

    @pytest.mark.needs("bwrap")
    def test_sandbox():
        pass
"""


@pytest.fixture
def bare_machine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A PATH without any program."""
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("COURSE_REQUIRE", raising=False)


@pytest.mark.usefixtures("bare_machine")
def test_a_missing_program_skips_the_test_and_says_what_would_help(pytester: pytest.Pytester):
    result = run(pytester, NEEDS)
    assert result.ret == 0
    result.assert_outcomes(skipped=1)
    result.stdout.fnmatch_lines(["*bwrap is missing: *"])


@pytest.mark.usefixtures("bare_machine")
def test_where_everything_is_required_a_missing_program_fails_the_test(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("COURSE_REQUIRE", "all")
    result = run(pytester, NEEDS)
    assert result.ret == 1
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(["*bwrap is missing: *"])


@pytest.mark.parametrize(
    "test",
    [
        "import pytest\n@pytest.mark.skip(reason='later')\ndef test_it(): pass",
        "import pytest\ndef test_it(): pytest.skip('in the middle')",
        "import pytest\npytest.importorskip('no_such_module_at_all')",
    ],
    ids=["mark", "call", "module"],
)
@pytest.mark.parametrize(("required", "code"), [("all", 1), ("", None)])
def test_where_everything_is_required_any_skip_fails_the_session(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch, test: str, required: str, code: int | None
):
    monkeypatch.setenv("COURSE_REQUIRE", required)
    result = run(pytester, test, test_other="def test_passes(): pass")
    assert result.ret == (code or 0)
    assert ("COURSE_REQUIRE=all: 1 skipped" in result.stdout.str()) == (code == 1)


def test_where_everything_is_required_an_expected_failure_is_no_skip(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("COURSE_REQUIRE", "all")
    assert run(pytester, "import pytest\n@pytest.mark.xfail\ndef test_it(): assert False").ret == 0


def test_a_program_is_found_under_any_of_its_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    assert find("chromium") is None
    browser = tmp_path / "google-chrome"
    browser.touch(mode=0o755)
    assert find("chromium") == browser
    assert "chromium" not in missing()


def test_help_is_a_command_of_this_system(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(system_programs.sys, "platform", "linux")
    assert how_to_install("promtool") == "sudo apt-get install prometheus"
    monkeypatch.setattr(system_programs.sys, "platform", "darwin")
    assert how_to_install("promtool") == "brew install prometheus"
    assert how_to_install("bwrap") == "bwrap exists on Linux only"


@pytest.mark.usefixtures("bare_machine")
def test_a_machine_that_may_not_install_is_told_what_is_missing(capsys: pytest.CaptureFixture[str]):
    install(missing())
    said = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in said] == list(PROGRAMS)


def test_where_nothing_is_missing_nothing_is_installed(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(system_programs, "missing", list)
    monkeypatch.setattr(system_programs.subprocess, "run", None)
    install([])
