"""The tiny course in a temporary folder, and a class that hands in its notebooks."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from graders.course import COURSE_ROOT
from graders.engine.batch import ClassFolder
from graders.engine.gradebook import ClassGradebook

# Grading processes import the fake grader by its name.
sys.path.insert(0, str(Path(__file__).parent))

import tiny_class


@pytest.fixture(scope="session")
def new_gradebook(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An empty gradebook. Making one runs alembic, which is slow, so that each test copies it."""
    path = tmp_path_factory.mktemp("gradebook") / "gradebook.db"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PATH", "/nowhere")
        with ClassGradebook(f"sqlite:///{path}", COURSE_ROOT):
            pass
    return path


@pytest.fixture
def folder(tmp_path: Path, new_gradebook: Path) -> ClassFolder:
    """An empty class of the tiny course."""
    folder = tiny_class.make_course(tmp_path / "course")
    shutil.copy(new_gradebook, folder.gradebook)
    return folder


@pytest.fixture
def hand_in(folder: ClassFolder) -> Callable[..., Path]:
    """Hand in one notebook: `hand_in("ada", RIGHT)`."""
    return partial(tiny_class.hand_in, folder)


@pytest.fixture
def environment() -> dict[str, str]:
    """For programs that a test starts in the tiny course."""
    paths = [str(Path(__file__).parent), str(COURSE_ROOT)]
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    return {**os.environ, "PATH": path, "PYTHONPATH": os.pathsep.join(paths)}
