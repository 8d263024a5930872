"""A batch on a Dask cluster: the same verdicts as here, whatever happens to the workers."""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import psutil
import pytest
from fake_grader import FakeGrader, log_of
from fake_site import grade_there, pipe_of
from tiny_class import RIGHT

from graders.course import find
from graders.engine import Engine, read_answer
from graders.engine.batch import ClassFolder, handed_in
from graders.engine.classroom import Report, grade_class, register
from graders.engine.cluster import ClusterPool, ClusterUnavailable

pytest.importorskip("distributed", reason='Dask is not installed: pip install -e ".[dask]"')

from distributed import Client, LocalCluster

HandIn = Callable[..., Path]


def local_cluster(workers: int, folder: Path) -> LocalCluster:
    """Workers that are processes of their own, reachable from this machine alone."""
    return LocalCluster(
        n_workers=workers,
        threads_per_worker=1,
        processes=True,
        host="127.0.0.1",
        dashboard_address="127.0.0.1:0",
        scheduler_kwargs={"dashboard": False},
        worker_dashboard_address=None,
        local_directory=str(folder),
        memory_limit=0,
        silence_logs=False,
    )


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalCluster]:
    """Two workers. A killed one is started again. When they end, nothing of them is left."""
    scratch = tmp_path_factory.mktemp("workers")
    environment = dict(os.environ)
    before = set(psutil.Process().children(recursive=True))
    with local_cluster(2, scratch) as cluster:
        yield cluster
        family = set(psutil.Process().children(recursive=True)) - before
    # Dask leaves what it sets for its workers, a hash seed among it, in this process too.
    os.environ.clear()
    os.environ.update(environment)
    # The tracker of multiprocessing is this process's own and stays.
    family = {each for each in family if each.is_running() and "resource_tracker" not in " ".join(each.cmdline())}
    assert psutil.wait_procs(family, timeout=30)[1] == [], "a process outlives its worker"
    # Dask's own lock files stay.
    assert [path for path in scratch.rglob("*") if path.is_file() and not path.name.endswith("lock")] == []
    assert [path for path in scratch.rglob("worker-*") if path.is_dir()] == []


def pool(cluster: LocalCluster, folder: ClassFolder, *, course: Path | None = None, **options: Any) -> ClusterPool:
    there = partial(grade_there, str(course or folder.course))
    return ClusterPool(folder, cluster.scheduler_address, grade_there=there, **options)


def scores(report: Report) -> dict[str, float]:
    return {outcome.handed.student: outcome.score for outcome in report.outcomes}


def log(folder: ClassFolder) -> list[str]:
    return log_of(folder.course).read_text().splitlines()


def written(folder: ClassFolder) -> dict[str, bytes]:
    """All files that grading leaves, but the gradebook."""
    parts = (folder.verdicts, folder.autograded, folder.feedback)
    files = [path for part in parts for path in part.rglob("*") if path.is_file()]
    return {str(path.relative_to(folder.root)): path.read_bytes() for path in files}


def until(holds: Callable[[], bool], seconds: float = 10) -> bool:
    """Whether it comes to hold within that time."""
    deadline = time.monotonic() + seconds
    pause = threading.Event()
    while not holds() and time.monotonic() < deadline:
        pause.wait(0.01)
    return holds()


def test_a_cluster_leaves_the_files_that_this_machine_leaves(
    cluster: LocalCluster, folder: ClassFolder, hand_in: HandIn, new_gradebook: Path
) -> None:
    hand_in("ada", why="because"), hand_in("ada", number="1.1.2"), hand_in("twin")
    hand_in("bob", "# fails: keeps-zero\n" + RIGHT)
    hand_in("cyd", "# is flagged\n# \ud800\n" + RIGHT)
    hand_in("dan").write_text("no notebook")
    hand_in("eve", "# breaks the grader\n" + RIGHT)
    here = ClassFolder(folder.course / "here", folder.course)
    grade_class(folder, pool=pool(cluster, folder))
    shutil.copytree(folder.submitted, here.submitted)
    shutil.copy(new_gradebook, here.gradebook)
    here.verdicts.mkdir()
    shutil.copy(folder.verdicts / ".seed", here.verdicts)
    lines = log(folder)
    grade_class(here, workers=1, make_grader=FakeGrader)

    assert len(lines) == len(set(lines)) == 5, "each answer was graded once"
    assert sorted(log(folder)[5:]) == sorted(lines)
    assert written(folder) == written(here)
    assert len(list(folder.verdicts.glob("*/*.json"))) == 4

    again = grade_class(folder, pool=pool(cluster, folder))
    assert all(outcome.reused for outcome in again.outcomes if outcome.verdict)
    assert scores(again)["twin"] == 3


def test_the_seed_is_in_no_log(cluster: LocalCluster, folder: ClassFolder, hand_in: HandIn) -> None:
    for name in ("ada", "eve"):
        hand_in(name, f"# {name}: breaks the grader\n" + RIGHT)
    hand_in("bob")
    report = grade_class(folder, pool=pool(cluster, folder))

    assert scores(report)["bob"] == 3
    with Client(cluster.scheduler_address, set_as_default=False) as client:
        logs = json.dumps([client.get_scheduler_logs(), client.get_worker_logs()])
    assert "Register worker" in logs
    assert str(folder.seed(find("1.1.1", folder.course))) not in logs


def test_a_worker_killed_in_the_middle_loses_nothing_and_doubles_nothing(
    cluster: LocalCluster, folder: ClassFolder, hand_in: HandIn
) -> None:
    for number in range(6):
        mark = "  # waits to be killed" if number == 2 else ""
        hand_in(f"student-{number}", f"# answer {number}{mark}\n" + RIGHT)
    os.mkfifo(pipe_of(folder.course))

    def kill() -> None:
        with open(pipe_of(folder.course)) as pipe:
            os.kill(int(pipe.read()), signal.SIGKILL)

    killer = threading.Thread(target=kill, daemon=True)
    killer.start()
    report = grade_class(folder, pool=pool(cluster, folder))
    killer.join(timeout=30)

    assert [outcome.score for outcome in report.outcomes] == [3] * 6
    assert len({outcome.handed.student for outcome in report.outcomes}) == 6
    assert not any(outcome.reused for outcome in report.outcomes)
    assert sorted(line.split()[3] for line in log(folder)) == list("012345"), "the others were graded once"
    assert len(list(folder.verdicts.glob("*/*.json"))) == 6
    assert not list(folder.root.rglob(".*.graded"))


def test_an_answer_that_kills_its_worker_twice_harms_no_classmate(
    cluster: LocalCluster, folder: ClassFolder, hand_in: HandIn
) -> None:
    for student in ("ada", "bob", "cyd"):
        hand_in(student, f"# {student}\n{RIGHT}")
    hand_in("aaa", "# ends the worker\n" + RIGHT)

    report = grade_class(folder, pool=pool(cluster, folder))

    assert scores(report) == {"aaa": 0, "ada": 3, "bob": 3, "cyd": 3}
    assert "died on this notebook twice" in report.outcomes[0].problem
    assert sum("ends the worker" in line for line in log(folder)) == 2


def test_a_worker_with_another_course_refuses(
    cluster: LocalCluster, folder: ClassFolder, hand_in: HandIn, tmp_path: Path
) -> None:
    hand_in("ada")
    other = tmp_path / "other"
    shutil.copytree(folder.course, other)
    checks = find("1.1.1", other).checks
    checks.write_text(checks.read_text() + "\n# stricter\n")

    with pytest.raises(ClusterUnavailable, match=r"course of the worker tcp://127.* would grade 1\.1\.1 differently"):
        grade_class(folder, pool=pool(cluster, folder, course=other))
    with pytest.raises(ClusterUnavailable, match="differently"):
        grade_class(folder, pool=pool(cluster, folder, course=tmp_path / "none"))

    assert not log_of(other).exists() and not list(folder.verdicts.glob("*/*.json"))
    assert scores(grade_class(folder, pool=pool(cluster, folder))) == {"ada": 3}


def test_a_reply_that_is_no_verdict_of_the_answer_gives_no_points(
    cluster: LocalCluster, folder: ClassFolder, hand_in: HandIn
) -> None:
    hand_in("ada"), hand_in("eve", "# forges\n" + RIGHT)

    report = grade_class(folder, pool=pool(cluster, folder))

    assert scores(report) == {"ada": 3, "eve": 0}
    assert "no verdict of this answer" in report.outcomes[1].problem


def test_a_stopped_batch_leaves_the_cluster_and_goes_on_from_there(
    cluster: LocalCluster, folder: ClassFolder, hand_in: HandIn
) -> None:
    for number in range(5):
        hand_in(f"student-{number}", f"# answer {number}\n" + RIGHT)
    with pytest.raises(KeyboardInterrupt), pool(cluster, folder) as stopped:
        for _ in stopped.grade(handed_in(folder)):
            raise KeyboardInterrupt
    assert until(lambda: not cluster.scheduler.tasks), "an answer is still to be graded"
    kept = {path: path.read_bytes() for path in folder.verdicts.glob("*/*.json")}

    assert kept
    assert list(scores(grade_class(folder, pool=pool(cluster, folder))).values()) == [3] * 5
    assert {path: path.read_bytes() for path in folder.verdicts.glob("*/*.json")}.items() >= kept.items()


def test_the_engine_gives_the_same_verdict_there(cluster: LocalCluster, tmp_path: Path, new_gradebook: Path) -> None:
    exercise = find("17.2.4")
    folder = ClassFolder(tmp_path)
    folder.gradebook.write_bytes(new_gradebook.read_bytes())
    solution = read_answer(min(exercise.answers.glob("wrong-*.py")), exercise)
    notebook = json.loads(exercise.notebook.read_text())
    for cell in notebook["cells"]:
        if cell["id"] in solution.cells:
            cell["source"] = solution.cells[cell["id"]]
    path = folder.submitted / "ada" / exercise.section / exercise.notebook.name
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps(notebook))

    report = grade_class(folder, pool=ClusterPool(folder, cluster.scheduler_address, isolation="process"))

    (found,) = folder.verdicts.glob("*/*.json")
    with Engine(isolation="process") as engine:
        expected = engine.grade(exercise, read_answer(path, exercise), seed=folder.seed(exercise))

    def without_seconds(text: str) -> str:
        return re.sub(r'"seconds": [\d.]+', "", text)

    assert without_seconds(found.read_text()) == without_seconds(expected.dumps(printed=True))
    assert report.outcomes[0].verdict is not None and report.outcomes[0].verdict.isolation == "process"


def test_what_is_missing_is_told_in_a_sentence(
    folder: ClassFolder, hand_in: HandIn, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hand_in("ada")
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        address = f"tcp://127.0.0.1:{taken.getsockname()[1]}"
        with pytest.raises(ClusterUnavailable, match=f"No Dask scheduler answered at {address} within 0.2 s"):
            grade_class(folder, pool=ClusterPool(folder, address, patience=0.2))
    with (
        local_cluster(0, tmp_path / "workers") as empty,
        pytest.raises(ClusterUnavailable, match=r"has had no worker for 1 s. Start some with `dask worker tcp://"),
    ):
        grade_class(folder, pool=pool(empty, folder, patience=1))
    monkeypatch.setattr("distributed.Client.get_versions", _of_another_dask)
    with (
        local_cluster(0, tmp_path / "workers") as other,
        pytest.raises(ClusterUnavailable, match="distributed 2 is installed here and 1 at tcp://"),
    ):
        grade_class(folder, pool=pool(other, folder))


def _of_another_dask(_: Client) -> dict[str, Any]:
    ours, theirs = ({"packages": {"distributed": version}} for version in ("2", "1"))
    return {"client": ours, "scheduler": theirs, "workers": {}}


def test_the_command_says_what_it_cannot_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    exercise = find("17.2.4")
    path = tmp_path / "submitted" / "ada" / exercise.section / exercise.notebook.name
    path.parent.mkdir(parents=True)
    shutil.copy(exercise.notebook, path)
    monkeypatch.setitem(sys.modules, "distributed", None)
    here = ("--folder", str(tmp_path))

    assert _run("batch", exercise.section, "--scheduler", "tcp://127.0.0.1:8786", *here) == 3
    assert capsys.readouterr().err.startswith("Grading on a cluster needs Dask, which is not installed here.")
    for wrong in ("127.0.0.1:8786", "tcp://", "http://127.0.0.1:8786"):
        with pytest.raises(SystemExit, match="2"):
            _run("autograde", "--scheduler", wrong, *here)
        assert "is no address of a scheduler, such as tcp://" in capsys.readouterr().err


def _run(*arguments: str) -> int:
    parser = argparse.ArgumentParser()
    register(parser.add_subparsers(required=True))
    options = parser.parse_args(arguments)
    code: int = options.run(options)
    return code
