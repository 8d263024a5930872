"""Grades a class on a Dask cluster: answers go out, verdicts come back, and every file is written by the instructor.

A worker shares nothing with the instructor but an installed course. One whose course would judge differently refuses,
and a reply becomes a verdict only where it is one of the exercise, seed and isolation that were asked for.

The cluster must be trusted and on a private network. Dask moves tasks and results as pickles: whoever controls the
scheduler or a worker can run code as the instructor, and whoever reaches their ports can run code there. What is sent
from here is plain text, but that bounds honest machines only. TLS is Dask's own: address the scheduler as `tls://…` and
set `distributed.comm.tls`. The class's seed is in each task; it is kept out of names and logs.
"""

from __future__ import annotations

import atexit
import json
import platform
import time
import warnings
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import CancelledError
from contextlib import suppress
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path
from queue import Empty, SimpleQueue
from threading import Lock
from typing import TYPE_CHECKING, Any, Self
from uuid import uuid4

from graders.course import COURSE_ROOT, Exercise, UnknownExercise, find
from graders.engine.answer import Answer, BadAnswer, read_answer
from graders.engine.batch import (
    GRADER_FAILED,
    WORKER_DIED,
    ClassFolder,
    Grader,
    GradingPool,
    Handed,
    Outcome,
    Verdicts,
    default_grader,
    grounds,
    machinery,
    once_each,
    without_verdict,
)
from graders.engine.isolation import DEFAULT_ISOLATION, IsolationUnavailable
from graders.engine.release import ExerciseBroken, Release
from graders.engine.verdict import Verdict

if TYPE_CHECKING:
    from distributed import Client, Future

__all__ = ["ClusterPool", "ClusterUnavailable", "Site", "grade_here"]

_PATIENCE = 20.0
_LOOK_SECONDS = 1.0
"""How often the workers are counted; a worker's death is seen this much later at most."""
_FETCH_SECONDS = 10.0
"""For a reply that a worker has ready."""
_CLOSE_SECONDS = 5.0
_CHANGED = "{} or its exercise was changed while it was graded. The next batch grades it again."
_KEPT = "What was graded is kept: the same command goes on from here."


class ClusterUnavailable(Exception):
    """The cluster cannot grade this class. The text is a sentence for the instructor."""


# --- in a worker ----------------------------------------------------------------------------------------------------


class Site:
    """What a worker process has: an installed course, and one warm grader until the process ends. Thread-safe.

    It holds one grader for all threads, so that answers are graded one at a time.
    """

    def __init__(self, course: Path = COURSE_ROOT, make_grader: Callable[[str], Grader] = default_grader) -> None:
        self._course = course
        self._make_grader = make_grader
        self._lock = Lock()
        self._grader: Grader | None = None
        self._grounds = ""
        self._machinery = ""
        """What judges, when this process imported it."""

    def grade(self, job: str) -> str:
        """Grade one answer; job and reply are JSON. Never raises: Dask logs what a task that raises was given."""
        with self._lock:
            try:
                reply = self._reply(json.loads(job))
            except (IsolationUnavailable, ExerciseBroken) as error:
                reply = {"refused": str(error)}
            except Exception as error:
                self.close()
                reply = {"failed": f"{type(error).__name__}: {error}"}
        return json.dumps(reply)

    def close(self) -> None:
        """End the grader. The next answer makes a new one."""
        grader, self._grader = self._grader, None
        if grader is not None:
            grader.close()

    def _reply(self, job: dict[str, Any]) -> dict[str, Any]:
        try:
            exercise = find(job["exercise"], self._course)
            ours = grounds(exercise, job["seed"], job["isolation"])
        except (UnknownExercise, ExerciseBroken, OSError):
            return {"differs": _versions()}
        self._machinery = self._machinery or machinery()
        if ours != job["grounds"] or machinery() != self._machinery:
            return {"differs": _versions()}
        if self._grader is None or ours != self._grounds:
            # A grader knows the exercise as it was when it was first asked about it.
            self.close()
            self._grader, self._grounds = self._make_grader(job["isolation"]), ours
        verdict = self._grader.grade(exercise, Answer(job["cells"], tuple(job["flags"])), seed=job["seed"])
        return {"verdict": verdict.as_json(printed=True)}


_site = Site()
atexit.register(_site.close)


def grade_here(job: str) -> str:
    """Grade one answer by the course that is installed in this process. See `Site.grade`."""
    return _site.grade(job)


def _versions() -> str:
    return f"Python {platform.python_version()} and Hypothesis {version('hypothesis')}"


# --- at the instructor's --------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Place:
    """One worker process: one that is started again has the address of the old one, in a folder of its own."""

    address: str
    folder: str


@dataclass(frozen=True)
class _Sent:
    """A notebook that is being graded somewhere."""

    handed: Handed
    key: str
    place: _Place
    future: Future[str]


class ClusterPool:
    """Grades on the workers of a Dask scheduler. Use as a context manager, from one thread.

    Each worker process has one answer at a time, so that no other is under suspicion where it dies. Such an answer is
    graded once more, after the others. Notebooks are read and handed back by processes of this machine.
    """

    def __init__(
        self,
        folder: ClassFolder,
        scheduler: str,
        *,
        isolation: str = DEFAULT_ISOLATION,
        patience: float = _PATIENCE,
        grade_there: Callable[[str], str] = grade_here,
    ) -> None:
        """`grade_there`, of a module, is called in the workers.

        `patience`: seconds to wait for a scheduler that does not answer, and for a first worker.
        """
        self._folder = folder
        self._scheduler = scheduler
        self._isolation = isolation
        self._patience = patience
        self._grade_there = grade_there
        self._verdicts = Verdicts(folder, isolation)
        self._desk = GradingPool(folder, isolation=isolation)
        self._client: Client | None = None
        self._sent: dict[_Place, _Sent] = {}
        self._done: SimpleQueue[Future[str]] = SimpleQueue()
        self._waiting: deque[Handed] = deque()
        self._suspects: set[Handed] = set()
        """Notebooks at which a worker died once."""
        self._free: set[_Place] = set()
        """Workers that take answers, when they were looked at last."""
        self._looked = self._worker_seen = 0.0

    def __enter__(self) -> Self:
        """Raises ClusterUnavailable."""
        self._client = _connected(self._scheduler, self._patience)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        self.close(at_once=kind is not None)

    def close(self, *, at_once: bool = False) -> None:
        """Leave the cluster; nothing that was sent to it is graded any more, but for what a worker is at."""
        client, self._client = self._client, None
        if client is not None:
            with suppress(Exception):  # a scheduler that is gone has forgotten them already
                client.cancel([sent.future for sent in self._sent.values()], force=True)
            client.close(timeout=_CLOSE_SECONDS)
        self._sent.clear()
        self._desk.close(at_once=at_once)

    def grade(self, handed: Iterable[Handed]) -> Iterator[Outcome]:
        """One settled outcome for each notebook, known verdicts first. Equal answers are graded once.

        Raises ClusterUnavailable, IsolationUnavailable or ExerciseBroken where the rest cannot be graded.
        """
        return once_each(handed, self._desk.look_up, self._grade)

    def _grade(self, handed: Iterable[Handed]) -> Iterator[Outcome]:
        self._waiting = deque(handed)
        self._worker_seen = time.monotonic()
        replies: list[tuple[_Sent, dict[str, Any]]] = []
        while self._waiting or self._sent or replies:
            for lost in self._lost():
                yield from self._once_more(lost)
            # Before the replies are dealt with, so that no worker waits for that.
            for place in self._free - self._sent.keys():
                yield from self._send(place)
            for sent, reply in replies:
                yield from self._settled(sent, reply)
            replies = self._replies() if self._sent or self._waiting else []

    def _send(self, place: _Place) -> Iterator[Outcome]:
        """Have the next notebook graded there. Settles it where it cannot be read any more."""
        assert self._client is not None
        if not self._waiting:
            return
        handed = self._waiting.popleft()
        exercise = handed.exercise
        try:
            answer = read_answer(handed.path, exercise)
        except BadAnswer as refusal:
            yield without_verdict(self._folder, handed, str(refusal))
            return
        job = {
            "exercise": exercise.number,
            "cells": dict(answer.cells),
            "flags": list(answer.flags),
            "seed": self._folder.seed(exercise),
            "isolation": self._isolation,
            "grounds": self._verdicts.grounds(exercise),
        }
        future = self._client.submit(
            self._grade_there,
            json.dumps(job),
            # A name that says nothing: names are logged, and in a digest of the job one could search for the seed.
            key=f"grade-{exercise.number}-{uuid4().hex}",
            pure=False,
            workers=[place.address],
            allow_other_workers=False,
        )
        self._sent[place] = _Sent(handed, self._verdicts.key(exercise, answer), place, future)
        future.add_done_callback(self._done.put)

    def _lost(self) -> list[Handed]:
        """Look at the workers, about once a second: the notebooks whose workers are gone."""
        assert self._client is not None
        if time.monotonic() - self._looked < _LOOK_SECONDS:
            return []
        try:
            known = self._client.sync(self._client.scheduler.identity, n_workers=-1)["workers"]
        except Exception as error:
            raise ClusterUnavailable(
                f"The connection to the scheduler at {self._scheduler} is lost ({type(error).__name__}). {_KEPT}"
            ) from None
        self._looked = time.monotonic()
        status = {_Place(address, worker["local_directory"]): worker["status"] for address, worker in known.items()}
        self._free = {place for place in status if status[place] == "running"}
        if status:
            self._worker_seen = self._looked
        elif self._looked - self._worker_seen > self._patience:
            raise ClusterUnavailable(
                f"The scheduler at {self._scheduler} has had no worker for {self._patience:g} s. "
                f"Start some with `dask worker {self._scheduler} --nthreads 1`. {_KEPT}"
            )
        gone = [self._sent.pop(place) for place in self._sent.keys() - status.keys()]
        for sent in gone:
            sent.future.cancel()
        return [sent.handed for sent in gone]

    def _replies(self) -> list[tuple[_Sent, dict[str, Any]]]:
        """What has come back, waited for no longer than until the workers are looked at again."""
        replies = []
        with suppress(Empty):
            future = self._done.get(timeout=_LOOK_SECONDS)
            while True:
                sent = next((each for each in self._sent.values() if each.future is future), None)
                if sent is not None:  # else it was given up before
                    del self._sent[sent.place]
                    replies.append((sent, self._fetched(sent)))
                future = self._done.get_nowait()
        return replies

    def _fetched(self, sent: _Sent) -> dict[str, Any]:
        from distributed import KilledWorker

        try:
            reply = json.loads(sent.future.result(timeout=_FETCH_SECONDS))
            return reply if isinstance(reply, dict) else {}
        except (KilledWorker, TimeoutError):
            # The worker is gone, perhaps with the reply. Look before anything else is sent there.
            self._looked = 0.0
            return {"died": True}
        except CancelledError:
            # The connection was lost for a while.
            self._looked = 0.0
            return {"forgotten": True}
        except ValueError:
            return {}
        except Exception as error:
            raise ClusterUnavailable(
                f"The worker {sent.place.address} cannot run the course ({type(error).__name__}: {error}). "
                f"Install the same version of it for the scheduler and for every worker. {_KEPT}"
            ) from None

    def _settled(self, sent: _Sent, reply: dict[str, Any]) -> Iterator[Outcome]:
        handed = sent.handed
        match reply:
            case {"verdict": document}:
                verdict = self._verdict_of(handed.exercise, document)
                if verdict is None:
                    words = "what the worker returned is no verdict of this answer"
                    yield without_verdict(self._folder, handed, GRADER_FAILED.format(words))
                    return
                self._verdicts.save(handed.exercise, sent.key, verdict)
                (outcome,) = self._desk.look_up([handed])
                if outcome.is_settled:
                    yield replace(outcome, reused=False)
                else:
                    yield without_verdict(self._folder, handed, _CHANGED.format(handed.path.name))
            case {"died": True}:
                yield from self._once_more(handed)
            case {"forgotten": True}:
                self._waiting.append(handed)
            case {"differs": versions}:
                also = "" if versions == _versions() else f", with {_versions()} (there: {versions})"
                raise ClusterUnavailable(
                    f"The course of the worker {sent.place.address} would grade {handed.exercise.number} differently. "
                    f"Install the version that is here{also}, and start the worker again. {_KEPT}"
                )
            case {"refused": str(sentence)}:
                raise ClusterUnavailable(f"The worker {sent.place.address} refuses. {sentence} {_KEPT}")
            case _:
                words = reply.get("failed", "the worker returned nothing that can be read")
                yield without_verdict(self._folder, handed, GRADER_FAILED.format(words))

    def _once_more(self, handed: Handed) -> Iterator[Outcome]:
        """Grade it again after the others; settle it where that was done before."""
        if handed in self._suspects:
            yield without_verdict(self._folder, handed, WORKER_DIED.format(handed.path.name))
        else:
            self._suspects.add(handed)
            self._waiting.append(handed)

    def _verdict_of(self, exercise: Exercise, document: Any) -> Verdict | None:
        """The verdict in a reply; None where it is none of that exercise, seed and isolation."""
        try:
            verdict = Verdict.from_json(document)
        except (KeyError, TypeError, ValueError):
            return None
        tests = [(test.id, test.points) for test in Release.load(exercise).tests]
        fits = (
            (verdict.exercise, verdict.seed, verdict.isolation)
            == (exercise.slug, self._folder.seed(exercise), self._isolation)
            and [(check.id, check.max) for check in verdict.checks] == tests
            and all(check.points in (0, check.max) for check in verdict.checks)
        )
        return verdict if fits else None


def _connected(scheduler: str, patience: float) -> Client:
    try:
        from distributed import Client
        from distributed.versions import VersionMismatchWarning
    except ImportError:
        raise ClusterUnavailable(
            "Grading on a cluster needs Dask, which is not installed here. Install the course's extra of that name: "
            'pip install -e ".[dask]"'
        ) from None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", VersionMismatchWarning)
            client = Client(scheduler, timeout=patience, set_as_default=False, direct_to_workers=False)
    except (OSError, ValueError) as error:
        raise ClusterUnavailable(
            f"No Dask scheduler answered at {scheduler} within {patience:g} s ({type(error).__name__}). "
            "Start one with `dask scheduler`, or correct the address."
        ) from None
    try:
        _check_versions(client, scheduler)
    except BaseException:
        client.close(timeout=_CLOSE_SECONDS)
        raise
    return client


def _check_versions(client: Client, scheduler: str) -> None:
    """Dask talks to its own version only."""
    versions: Any = client.get_versions()
    ours = versions["client"]["packages"]["distributed"]
    for address, found in {scheduler: versions["scheduler"], **versions["workers"]}.items():
        theirs = found["packages"]["distributed"]
        if theirs != ours:
            raise ClusterUnavailable(
                f"Dask's versions differ: distributed {ours} is installed here and {theirs} at {address}. "
                "Install the same one everywhere."
            )
