"""A batch of the real engine that is killed again and again ends as if nobody had touched it.

`KILLS=20 pytest tests/classroom/test_kills.py` kills it more often than the suite has time for.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil
import pytest
import tiny_class

from graders.engine.batch import ClassFolder
from graders.engine.gradebook import ClassGradebook, read_scores

KILLS = int(os.environ.get("KILLS", "4"))
CLASS_SIZE = 12 + 4 * KILLS
ANSWERS = (
    tiny_class.RIGHT,
    "def double(number):\n    return number + 2",
    "def double(number):\n    return number * 2 or 1",
    "import os\n\ndef double(number):\n    os._exit(3)",
)
PROGRAM = """
import sys
from pathlib import Path
from graders.engine.batch import ClassFolder
from graders.engine.classroom import grade_class
if __name__ == "__main__":
    grade_class(ClassFolder(Path(sys.argv[1]), Path(sys.argv[2])), workers=2)
"""


@contextmanager
def batch(folder: ClassFolder, environment: dict[str, str]) -> Iterator[subprocess.Popen[str]]:
    """A batch in a process of its own, ended with this block if it has not ended."""
    script = folder.course / "batch.py"
    script.write_text(PROGRAM)
    with subprocess.Popen(
        [sys.executable, str(script), str(folder.root), str(folder.course)],
        env=environment,
        cwd=folder.course,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def verdict_files(folder: ClassFolder) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.verdicts.glob("*/*.json")}


def without_times(verdicts: dict[str, bytes]) -> dict[str, object]:
    documents = {name: json.loads(text) for name, text in verdicts.items()}
    for document in documents.values():
        for check in document["checks"]:
            del check["seconds"]
    return documents


def scores(folder: ClassFolder) -> dict[str, tuple[float, bool]]:
    with ClassGradebook(f"sqlite:///{folder.gradebook}", folder.course) as gradebook:
        return {each.student: (each.score, each.is_complete) for each in read_scores(gradebook.nbgrader, ())}


def kill_at_some_moment(process: subprocess.Popen[str], folder: ClassFolder, moments: random.Random) -> set[int]:
    """Kill it some time after it has settled a few answers; the processes that it had started."""
    family: set[int] = set()
    enough = len(verdict_files(folder)) + moments.randrange(4)
    while process.poll() is None and len(verdict_files(folder)) < enough:
        with suppress(psutil.NoSuchProcess):
            family |= {each.pid for each in psutil.Process(process.pid).children(recursive=True)}
        with suppress(subprocess.TimeoutExpired):
            process.wait(0.01)
    with suppress(subprocess.TimeoutExpired):
        process.wait(moments.uniform(0, 0.3))
    with suppress(psutil.NoSuchProcess):
        family |= {each.pid for each in psutil.Process(process.pid).children(recursive=True)}
    process.kill()
    process.wait()
    return family


@pytest.mark.needs("bwrap")
def test_after_every_kill_it_goes_on_and_in_the_end_every_verdict_is_there_once_and_equal_to_an_undisturbed_run(
    folder: ClassFolder, environment: dict[str, str], new_gradebook: Path, tmp_path: Path
) -> None:
    for number in range(CLASS_SIZE):
        answer = f"# answer {number}\n{ANSWERS[number % len(ANSWERS)]}"
        tiny_class.hand_in(folder, f"student-{number:02}", answer)
    undisturbed = ClassFolder(tmp_path / "undisturbed", folder.course)
    shutil.copytree(folder.submitted, undisturbed.submitted)
    shutil.copy(new_gradebook, undisturbed.gradebook)
    seed = folder.verdicts / ".seed"
    seed.parent.mkdir()
    seed.write_text("the same for both")
    shutil.copytree(folder.verdicts, undisturbed.verdicts)

    with batch(undisturbed, environment) as process:
        assert process.wait() == 0, process.stderr and process.stderr.read()
    assert len(verdict_files(undisturbed)) == CLASS_SIZE

    moments = random.Random(20)
    killed = 0
    for _ in range(KILLS):
        before = verdict_files(folder)
        with batch(folder, environment) as process:
            family = kill_at_some_moment(process, folder, moments)
            killed += process.returncode == -signal.SIGKILL
        left = psutil.wait_procs([psutil.Process(pid) for pid in family if psutil.pid_exists(pid)], timeout=30)[1]
        assert not left, "a process outlives a killed batch"
        assert verdict_files(folder).items() >= before.items(), "an answer was graded twice"
    before = verdict_files(folder)
    with batch(folder, environment) as process:
        assert process.wait() == 0, process.stderr and process.stderr.read()

    assert killed == KILLS
    assert verdict_files(folder).items() >= before.items(), "an answer was graded twice"
    assert without_times(verdict_files(folder)) == without_times(verdict_files(undisturbed))
    assert scores(folder) == scores(undisturbed)
    assert len(scores(folder)) == CLASS_SIZE
    assert len(list(folder.feedback.glob("*/*.html"))) == CLASS_SIZE
    assert not list(folder.root.rglob(".*.graded")), "a draft is left"
