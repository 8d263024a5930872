"""Grades a whole class on every core: each answer once, whatever is handed in and whenever the machine stops.

A verdict is one file, named by everything that it follows from and written whole or not at all. Whoever needs a grade
looks there first: a batch resumes, twins share a verdict, and a fix of one exercise's checks grades only that again.
"""

from __future__ import annotations

import atexit
import hashlib
import hmac
import json
import multiprocessing
import os
import platform
import secrets
import signal
import threading
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from importlib.metadata import version
from multiprocessing.connection import Connection
from multiprocessing.sharedctypes import Synchronized
from pathlib import Path
from typing import Protocol, Self

from graders.course import COURSE_ROOT, Exercise, exercises
from graders.engine.answer import Answer, BadAnswer, read_answer
from graders.engine.feedback import Marks, graded_notebook, marks_of, written_answers
from graders.engine.isolation import DEFAULT_ISOLATION, IsolationUnavailable
from graders.engine.release import ExerciseBroken, Release
from graders.engine.runner import imports_of
from graders.engine.verdict import Verdict

__all__ = [
    "GRADER_FAILED",
    "WORKER_DIED",
    "AlreadyRunning",
    "ClassFolder",
    "Grader",
    "GradingPool",
    "Handed",
    "Outcome",
    "Pool",
    "Verdicts",
    "default_grader",
    "graded_path",
    "grounds",
    "handed_in",
    "machinery",
    "once_each",
    "publish",
    "without_verdict",
    "write_atomically",
]

GRADER_FAILED = "The grader itself stopped on this notebook ({}). Its classmates are not affected; please report it."
WORKER_DIED = (
    "The grading process died on this notebook twice ({}). Its classmates are not affected; look at it by hand."
)
_INSTRUCTORS_SIDE = {"batch", "classroom", "cluster", "feedback", "gradebook", "nbgrader_plugins"}
"""Modules beside this one that no verdict follows from."""


class Grader(Protocol):
    """What grades one answer; `graders.engine.Engine` is one."""

    def grade(self, exercise: Exercise, answer: Answer, *, seed: int) -> Verdict: ...

    def close(self) -> None: ...


class Pool(Protocol):
    """What grades a class; `GradingPool` does it on this machine. A context manager, for one thread."""

    def grade(self, handed: Iterable[Handed]) -> Iterator[Outcome]:
        """One settled outcome for each notebook, known verdicts first. Equal answers are graded once."""

    def __enter__(self) -> Self: ...

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None: ...


class AlreadyRunning(Exception):
    """Another batch is grading this class. The text is a sentence for the instructor."""


@dataclass(frozen=True)
class ClassFolder:
    """Where a class's work is kept, in nbgrader's layout, and the course that it belongs to."""

    root: Path = COURSE_ROOT / "build"
    course: Path = COURSE_ROOT

    @property
    def submitted(self) -> Path:
        return self.root / "submitted"

    @property
    def autograded(self) -> Path:
        return self.root / "autograded"

    @property
    def feedback(self) -> Path:
        return self.root / "feedback"

    @property
    def verdicts(self) -> Path:
        return self.root / "verdicts"

    @property
    def gradebook(self) -> Path:
        return self.root / "gradebook.db"

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Keep other batches out. Raises AlreadyRunning. A killed batch leaves no lock behind."""
        import fcntl

        self.verdicts.mkdir(parents=True, exist_ok=True)
        with open(self.verdicts / ".lock", "w") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise AlreadyRunning(f"Another batch is grading {self.root}. Wait for it, or stop it.") from None
            yield

    def seed(self, exercise: Exercise) -> int:
        """The seed of the official grading: the same for the whole class, known to nobody outside it."""
        path = self.verdicts / ".seed"
        if not path.exists():
            self.verdicts.mkdir(parents=True, exist_ok=True)
            # Linked into place: of several processes that come first, one wins, and all read the winner's.
            draft = path.with_name(f".seed.{os.getpid()}")
            draft.touch(mode=0o600)
            draft.write_text(secrets.token_hex(32))
            with suppress(FileExistsError):
                os.link(draft, path)
            draft.unlink()
        digest = hmac.digest(path.read_bytes(), exercise.slug.encode(), "sha256")
        return int.from_bytes(digest[:4], "big")


@dataclass(frozen=True)
class Handed:
    """One notebook that somebody handed in."""

    student: str
    exercise: Exercise
    path: Path


@dataclass(frozen=True)
class Outcome:
    """What became of one notebook: a verdict (without cards and prints), or the sentence that says why there is none.

    `reused` says that the verdict had been there before. An outcome without marks waits for its grading.
    """

    handed: Handed
    key: str = ""
    verdict: Verdict | None = None
    marks: Marks | None = None
    problem: str = ""
    reused: bool = False
    draft: Path | None = None
    """The graded notebook, not yet in its place: see `publish`."""

    @property
    def is_settled(self) -> bool:
        return self.marks is not None

    @property
    def score(self) -> float:
        return self.verdict.score if self.verdict else 0.0

    @property
    def seconds(self) -> float:
        return sum(check.seconds for check in self.verdict.checks) if self.verdict else 0.0

    @property
    def endings(self) -> Counter[str]:
        """How its checks ended, by status; `not graded` for a notebook without a verdict."""
        if self.verdict is None:
            return Counter({"not graded": 1})
        return Counter(check.status.replace("_", " ") for check in self.verdict.checks)


class Verdicts:
    """The verdict files of a class. Safe to use from several processes at once."""

    def __init__(self, folder: ClassFolder, isolation: str = DEFAULT_ISOLATION) -> None:
        self._folder = folder
        self._isolation = isolation
        self._grounds: dict[Exercise, str] = {}

    def grounds(self, exercise: Exercise) -> str:
        """See `grounds`; as they were when they were first asked for."""
        if exercise not in self._grounds:
            self._grounds[exercise] = grounds(exercise, self._folder.seed(exercise), self._isolation)
        return self._grounds[exercise]

    def key(self, exercise: Exercise, answer: Answer) -> str:
        """The name of everything that this answer's verdict follows from."""
        return _digest(self.grounds(exercise), json.dumps([dict(answer.cells), list(answer.flags)], sort_keys=True))

    def load(self, exercise: Exercise, key: str) -> Verdict | None:
        """The verdict under that key; None where there is none, or something else has damaged its file."""
        try:
            return Verdict.from_json(json.loads(self._path(exercise, key).read_bytes()))
        except (OSError, ValueError, KeyError, TypeError):
            return None

    def save(self, exercise: Exercise, key: str, verdict: Verdict) -> None:
        """Once this returns, the verdict survives a power cut."""
        write_atomically(self._path(exercise, key), verdict.dumps(printed=True), durable=True)

    def _path(self, exercise: Exercise, key: str) -> Path:
        return self._folder.verdicts / exercise.slug / f"{key}.json"


def grounds(exercise: Exercise, seed: int, isolation: str) -> str:
    """A digest of what all verdicts of an exercise follow from: its release, its checks, how they judge, what is drawn.

    Raises ExerciseBroken.
    """
    release = Release.load(exercise)
    trusted = [
        exercise.slug,
        seed,
        isolation,
        release.setup,
        release.stubs,
        [[test.id, test.source, test.points] for test in release.tests],
        platform.python_version(),
        version("hypothesis"),
    ]
    checks = exercise.checks.read_text(encoding="utf-8")
    return _digest(json.dumps(trusted), checks, *map(_file_digest, _judged_with(checks)), machinery())


def machinery() -> str:
    """A digest of what judges every exercise, as it is on the disk now."""
    engine = Path(__file__).parent
    judges = [
        *(path for path in engine.glob("*.py") if path.stem not in _INSTRUCTORS_SIDE),
        *(engine.parent / "kit").glob("*.py"),
        *(COURSE_ROOT / "shared" / "simulation").glob("*.py"),
        *(COURSE_ROOT / "shared").glob("*/contracts.py"),
    ]
    return _digest(*(path.read_text(encoding="utf-8") for path in sorted(judges)))


def _judged_with(source: str) -> list[Path]:
    """The files below `shared` that a check module imports, directly or not, and the data that lies beside them."""
    found: dict[Path, None] = {}
    sources = [source]
    while sources:
        for name in imports_of([sources.pop()]):
            path = COURSE_ROOT.joinpath(*name.split(".")).with_suffix(".py")
            if name.startswith("shared.") and path.is_file() and path not in found:
                found[path] = None
                sources.append(path.read_text(encoding="utf-8"))
    data = {data for path in found for data in path.parent.rglob("*.npz")}
    return sorted({*found, *data})


def handed_in(folder: ClassFolder, sections: Iterable[str] = (), students: Iterable[str] = ()) -> list[Handed]:
    """Every notebook of the course under `submitted`, by exercise and student; all of them if none is named.

    Whatever lies under an exercise's name is listed, a link or a folder too: grading says what is wrong with it.
    """
    wanted, chosen = set(sections), set(students)
    found = []
    for exercise in exercises(folder.course):
        if wanted and exercise.section not in wanted:
            continue
        for path in folder.submitted.glob(f"*/{exercise.section}/{exercise.slug}.ipynb"):
            student = path.parent.parent.name
            if not student.startswith(".") and (not chosen or student in chosen):
                found.append(Handed(student, exercise, path))
    order = {exercise: number for number, exercise in enumerate(exercises(folder.course))}
    return sorted(found, key=lambda handed: (order[handed.exercise], handed.student))


def default_grader(isolation: str) -> Grader:
    """The engine, with that isolation."""
    from graders.engine.examiner import Engine

    return Engine(isolation=isolation)


def once_each(
    handed: Iterable[Handed],
    look_up: Callable[[Iterable[Handed]], Iterator[Outcome]],
    grade: Callable[[Iterable[Handed]], Iterator[Outcome]],
) -> Iterator[Outcome]:
    """Settle each notebook: by its verdict where there is one, else by grading one of those that are equal.

    `look_up` settles what has a verdict or cannot have one; `grade` settles all that it is given.
    """
    waiting: dict[tuple[str, str], list[Handed]] = {}
    for outcome in look_up(handed):
        if outcome.is_settled:
            yield outcome
        else:
            waiting.setdefault((outcome.handed.exercise.slug, outcome.key), []).append(outcome.handed)
    twins: list[Handed] = []
    for outcome in grade([same[0] for same in waiting.values()]):
        yield outcome
        # A notebook that was handed in again meanwhile has another key, and nobody waits under it.
        twins += waiting.get((outcome.handed.exercise.slug, outcome.key), [])[1:] if outcome.verdict else []
    # A grader that fails on one of equal answers says so for each of them.
    settled = {id(twin) for twin in twins}
    rest = [twin for same in waiting.values() for twin in same[1:] if id(twin) not in settled]
    yield from look_up(twins)
    yield from grade(rest)


class GradingPool:
    """Worker processes, each with a warm grader. Use as a context manager, from one thread.

    A worker ends with this process, however that ends. A notebook that takes a worker down is tried again alone; its
    classmates are graded by fresh workers.
    """

    def __init__(
        self,
        folder: ClassFolder,
        *,
        isolation: str = DEFAULT_ISOLATION,
        workers: int | None = None,
        make_grader: Callable[[str], Grader] = default_grader,
    ) -> None:
        """`make_grader`, of a module, is given the isolation in each worker. `workers`: one per core if None."""
        self._folder = folder
        self._isolation = isolation
        self._workers = workers or _cores()
        self._make_grader = make_grader
        self._pool: ProcessPoolExecutor | None = None
        self._stop: Connection | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        self.close(at_once=kind is not None)

    def close(self, *, at_once: bool = False) -> None:
        """End the workers; `at_once` abandons what they are doing."""
        pool, self._pool = self._pool, None
        if self._stop is not None and at_once:
            self._stop.close()
        if pool is not None:
            pool.shutdown(wait=True, cancel_futures=True)
        if self._stop is not None:
            self._stop.close()
            self._stop = None

    def grade(self, handed: Iterable[Handed]) -> Iterator[Outcome]:
        """One settled outcome for each notebook, known verdicts first. Equal answers are graded once.

        Raises IsolationUnavailable or ExerciseBroken where no notebook of the exercise can be graded.
        """
        return once_each(handed, self.look_up, lambda rest: self._run(_grade, rest))

    def look_up(self, handed: Iterable[Handed]) -> Iterator[Outcome]:
        """Settle each notebook that can be without grading it; the others come back without marks."""
        return self._run(_look_up, handed)

    def _run(self, task: Callable[[Handed], Outcome], handed: Iterable[Handed]) -> Iterator[Outcome]:
        waiting = deque(handed)
        suspects: list[Handed] = []
        running: dict[Future[Outcome], Handed] = {}
        while waiting or running:
            # No more than the workers hold: when one dies, few are under suspicion.
            while waiting and len(running) <= self._workers:
                one = waiting.popleft()
                running[self._submit(task, one)] = one
            done, _ = wait(running, return_when=FIRST_COMPLETED)
            for future in done:
                one = running.pop(future)
                try:
                    yield future.result()
                except BrokenProcessPool:
                    self._drop_pool()
                    suspects.append(one)
        for one in suspects:
            try:
                yield self._submit(task, one).result()
            except BrokenProcessPool:
                self._drop_pool()
                yield without_verdict(self._folder, one, WORKER_DIED.format(one.path.name))

    def _submit(self, task: Callable[[Handed], Outcome], handed: Handed) -> Future[Outcome]:
        for _ in range(2):
            if self._pool is None:
                self._start_pool()
            assert self._pool is not None
            try:
                return self._pool.submit(task, handed)
            except BrokenProcessPool:
                self._drop_pool()
        raise BrokenProcessPool("no worker starts")

    def _start_pool(self) -> None:
        context = multiprocessing.get_context("spawn")
        listener, self._stop = context.Pipe(duplex=False)
        self._pool = ProcessPoolExecutor(
            self._workers,
            mp_context=context,
            initializer=_start_worker,
            initargs=(self._folder, self._isolation, self._make_grader, listener, context.Value("i", 0)),
        )

    def _drop_pool(self) -> None:
        self.close(at_once=True)


# --- in a worker ----------------------------------------------------------------------------------------------------


@dataclass
class _Worker:
    folder: ClassFolder
    isolation: str
    make_grader: Callable[[str], Grader]
    verdicts: Verdicts
    grader: Grader | None = None

    def warm_grader(self) -> Grader:
        if self.grader is None:
            self.grader = self.make_grader(self.isolation)
        return self.grader

    def close(self) -> None:
        grader, self.grader = self.grader, None
        if grader is not None:
            grader.close()


_worker: _Worker


def _start_worker(
    folder: ClassFolder,
    isolation: str,
    make_grader: Callable[[str], Grader],
    stop: Connection,
    started: Synchronized[int],
) -> None:
    global _worker
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with started.get_lock():
        _stay_on_one_core(started.value)
        started.value += 1
    _worker = _Worker(folder, isolation, make_grader, Verdicts(folder, isolation))
    atexit.register(_worker.close)
    threading.Thread(target=_end_with_parent, args=(stop,), daemon=True).start()


def _stay_on_one_core(number: int) -> None:
    """Keep a worker, and the runners that come from it, on the core of that number.

    They take turns, and an answer's threads pass one baton: on one core a turn costs a fifth less than between two.
    """
    if hasattr(os, "sched_setaffinity"):
        cores = sorted(os.sched_getaffinity(0))
        os.sched_setaffinity(0, {cores[number % len(cores)]})


def _end_with_parent(stop: Connection) -> None:
    """The other end of `stop` closes when the batch is told to stop, and when it is killed."""
    with suppress(EOFError, OSError):
        stop.recv()
    os._exit(1)


def _look_up(handed: Handed) -> Outcome:
    """Settle a notebook without grading it, if that is possible."""
    return _settled(handed, may_grade=False)


def _grade(handed: Handed) -> Outcome:
    return _settled(handed, may_grade=True)


def _settled(handed: Handed, *, may_grade: bool) -> Outcome:
    try:
        return _outcome(handed, may_grade)
    except BadAnswer as refusal:
        return without_verdict(_worker.folder, handed, str(refusal))
    except (IsolationUnavailable, ExerciseBroken):
        raise  # nothing that a learner can cause, and true of every other notebook too
    except Exception as error:
        _worker.close()
        return without_verdict(_worker.folder, handed, GRADER_FAILED.format(f"{type(error).__name__}: {error}"))


def _outcome(handed: Handed, may_grade: bool) -> Outcome:
    exercise, verdicts = handed.exercise, _worker.verdicts
    answer = read_answer(handed.path, exercise)
    key = verdicts.key(exercise, answer)
    verdict = verdicts.load(exercise, key)
    known = verdict is not None
    if verdict is None:
        if not may_grade:
            return Outcome(handed, key)
        verdict = _worker.warm_grader().grade(exercise, answer, seed=_worker.folder.seed(exercise))
        verdicts.save(exercise, key, verdict)
    sources = {**answer.cells, **written_answers(handed.path, exercise)}
    marks, draft = _hand_back(_worker.folder, handed, sources, verdict=verdict, key=key)
    bare = replace(verdict, checks=tuple(replace(check, card=None, message="") for check in verdict.checks), printed="")
    return Outcome(handed, key, bare, marks, reused=known, draft=draft)


# --- files ----------------------------------------------------------------------------------------------------------


def graded_path(folder: ClassFolder, handed: Handed) -> Path:
    """Where Formgrader looks for the graded notebook."""
    return folder.autograded / handed.student / handed.exercise.section / handed.path.name


def publish(folder: ClassFolder, outcome: Outcome) -> None:
    """Put a graded notebook in its place, after the gradebook has its marks.

    The next grading compares with it: what was not published before a crash still counts as new, so no person's look is
    ever skipped.
    """
    if outcome.draft is not None:
        os.replace(outcome.draft, graded_path(folder, outcome.handed))


def without_verdict(folder: ClassFolder, handed: Handed, problem: str) -> Outcome:
    marks, draft = _hand_back(folder, handed, {}, problem=problem)
    return Outcome(handed, marks=marks, problem=problem, draft=draft)


def _hand_back(
    folder: ClassFolder,
    handed: Handed,
    sources: dict[str, str],
    *,
    verdict: Verdict | None = None,
    key: str = "",
    problem: str = "",
) -> tuple[Marks, Path]:
    """Write the graded notebook as a draft, and say what belongs into the gradebook."""
    notebook = graded_notebook(handed.exercise, sources, verdict, key=key, problem=problem)
    place = graded_path(folder, handed)
    try:
        before = json.loads(place.read_bytes())
        marks = marks_of(handed.exercise, notebook, verdict, before)
    except (OSError, ValueError, KeyError, TypeError):
        marks = marks_of(handed.exercise, notebook, verdict)
    draft = place.with_name(f".{place.name}.graded")
    write_atomically(draft, json.dumps(notebook, indent=1, sort_keys=True) + "\n")
    return marks, draft


def write_atomically(path: Path, text: str, *, durable: bool = False) -> None:
    """Replace a file whole: a reader sees the old text or the new. `durable`: and it survives a power cut."""
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    with open(draft, "w", encoding="utf-8") as file:
        file.write(text)
        if durable:
            file.flush()
            os.fsync(file.fileno())
    os.replace(draft, path)
    if durable:
        directory = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(directory)
        finally:
            os.close(directory)


def _cores() -> int:
    """The cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _file_digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _digest(*texts: str) -> str:
    digest = hashlib.sha256()
    for text in texts:
        digest.update(text.encode("utf-8", "surrogatepass") + b"\0")
    return digest.hexdigest()[:40]
