"""Setting up and opening JupyterLab: whatever goes wrong is one clear sentence."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from graders.course import COURSE_ROOT
from tools import set_up
from tools.lab import lab_environment


def lab(**variables: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "tools.lab"]
    return subprocess.run(command, cwd=COURSE_ROOT, env={**os.environ, **variables}, capture_output=True, text=True)


def make(*arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, **variables}
    return subprocess.run(["make", *arguments], cwd=COURSE_ROOT, env=environment, capture_output=True, text=True)


def test_a_taken_port_is_one_sentence_with_another_to_try():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        done = lab(PORT=str(port))
    assert done.returncode == 1
    assert done.stderr == (
        f"Port {port} is taken, perhaps by a JupyterLab that still runs; stop it, "
        f"or choose another: make lab PORT={port + 1}.\n"
    )


@pytest.mark.parametrize("port", ["http", "0", "70000", "-1"])
def test_a_port_that_is_none_is_one_sentence(port: str):
    done = lab(PORT=port)
    assert (done.returncode, done.stderr) == (1, f"PORT={port} is not a port: give a number from 1 to 65535.\n")


def test_jupyterlab_finds_the_environments_own_programs_and_the_courses_settings_first():
    environment = lab_environment({"PATH": "/usr/bin", "JUPYTER_CONFIG_PATH": "/mine", "PYTHONDONTWRITEBYTECODE": "1"})
    assert environment["PATH"] == f"{Path(sys.executable).parent}:/usr/bin"
    assert environment["JUPYTER_CONFIG_PATH"] == f"{COURSE_ROOT / 'tools' / 'jupyter'}:/mine"
    assert "PYTHONDONTWRITEBYTECODE" not in environment


def test_jupyterlab_asks_for_no_news_and_no_updates():
    settings = json.loads((COURSE_ROOT / "tools/jupyter/labconfig/default_setting_overrides.json").read_text())
    assert settings["@jupyterlab/apputils-extension:notification"] == {"fetchNews": "false", "checkForUpdates": False}


def test_an_old_python_is_one_sentence():
    done = make("setup", "PYTHON=")
    assert done.returncode != 0
    assert done.stderr.startswith("The course needs Python 3.11 or newer, and here is Python ")


def test_help_lists_every_command():
    # Below another make, as in `make test`, it also says which folder it enters.
    listed = {line.split()[1] for line in make("help").stdout.splitlines() if line.startswith("  make ")}
    wanted = "help lab test build course-check autograde feedback services bench bench-grading clean"
    assert listed == set(wanted.split())


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project of one empty package and no pins, so that setting up needs no package index."""
    for name in set_up.PACKAGES:
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.py").write_text("")
    (tmp_path / "requirements.txt").write_text("")
    (tmp_path / "pyproject.toml").write_text("[project]\nname = 'tiny'\nversion = '1'\n")
    monkeypatch.setattr(set_up, "ROOT", tmp_path)
    monkeypatch.setattr(set_up, "LOG", tmp_path / "build" / "setup.log")
    return tmp_path


def test_setting_up_twice_does_the_work_once(project: Path, monkeypatch: pytest.MonkeyPatch):
    ran: list[tuple[str, ...]] = []
    monkeypatch.setattr(set_up, "_make", lambda environment: environment.mkdir(exist_ok=True))
    monkeypatch.setattr(set_up, "_pip", lambda python, *arguments: ran.append(arguments))
    monkeypatch.setattr(set_up, "_compile", lambda python: None)
    set_up.main(project / ".venv")
    first = len(ran)
    set_up.main(project / ".venv")
    assert (first, len(ran)) == (2, 2)

    (project / "requirements.txt").write_text("# moved\n")
    set_up.main(project / ".venv")
    assert len(ran) == 4


def test_a_failed_installation_leaves_no_stamp(project: Path, monkeypatch: pytest.MonkeyPatch):
    def fails(python: Path, *arguments: str) -> None:
        raise set_up.SetUpFailed("no network")

    monkeypatch.setattr(set_up, "_make", lambda environment: environment.mkdir(exist_ok=True))
    monkeypatch.setattr(set_up, "_pip", fails)
    with pytest.raises(set_up.SetUpFailed):
        set_up.main(project / ".venv")
    assert not (project / ".venv" / set_up.STAMP).exists()


def test_without_the_venv_package_the_sentence_names_it(project: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(set_up.importlib.util, "find_spec", lambda name: None)
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    with pytest.raises(set_up.SetUpFailed, match=f"apt-get install python{version}-venv"):
        set_up.main(project / ".venv")


def test_without_a_network_the_sentence_says_so(project: Path):
    (project / "requirements.txt").write_text("surely-not-a-package==1\n")
    with pytest.raises(set_up.SetUpFailed, match=r"^pip cannot reach the package index: check the network"):
        _install_from("http://127.0.0.1:9/simple", project)


def test_a_pin_that_does_not_exist_is_told_with_pips_own_words(project: Path):
    (project / "index").mkdir()
    with pytest.raises(set_up.SetUpFailed, match="No matching distribution found for surely-not-a-package==1"):
        _install_from((project / "index").as_uri(), project)


def _install_from(index: str, project: Path) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PIP_CONFIG_FILE", os.devnull)
        patch.setenv("PIP_INDEX_URL", index)
        patch.setenv("PIP_RETRIES", "1")
        patch.delenv("PIP_FIND_LINKS", raising=False)
        set_up._pip(Path(sys.executable), "--target", str(project / "target"), "surely-not-a-package==1")
