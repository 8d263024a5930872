"""One answer's runners, as the examiner sees them: asked under a deadline, replaced where lost, gone at the end.

Whatever an answer does ends as `RunnerLost`, with a status and words for its author; nothing that it sends is believed.
"""

from __future__ import annotations

import signal
import time
from collections.abc import Sequence
from typing import Any

from graders.engine.answer import Answer
from graders.engine.recordings import BadRecording, checked_recordings
from graders.engine.release import ExerciseBroken
from graders.engine.warm import Warm
from graders.engine.wire import Channel, Closed, Garbled, Late
from graders.kit import Check, Driver, Plan, Recording, RunnerLost, Scenario

__all__ = ["Session"]

_SETUP_SECONDS = 120.0
"""For trusted cells: where they are late, the machine is slow, and no answer pays for it."""
_REPORT_SECONDS = 20.0
_END_SECONDS = 1.0
"""How long a runner that closed its connection may take to end by itself, before it is ended."""
_MIB = 1 << 20
_WORDS = 2_000


class Session:
    """The grading of one answer. A runner that is lost costs the check at hand; the next check has a fresh one."""

    def __init__(self, warm: Warm, answer: Answer) -> None:
        self.flags: list[str] = []
        self.printed = ""
        self._warm = warm
        self._answer = answer
        self._runner: _Runner | None = None
        self._never_starts: RunnerLost | None = None
        self._spent = 0.0
        self._check_began = time.monotonic()
        self._stubs = warm.material.release.stubs
        self._unanswered = [cell for cell, stub in self._stubs.items() if answer.is_unanswered(cell, stub)]

    def unanswered(self) -> str:
        """Words that say so where nothing was written at all; such an answer is not run."""
        if len(self._unanswered) < len(self._stubs):
            return ""
        return f"nothing is written yet in {_listed(self._unanswered)}"

    def driver(self, check: Check, names: tuple[str, ...]) -> Driver:
        """What drives the objects with these names through scenarios of one check."""
        self._check_began = time.monotonic()
        deadline = self._check_began + self._budget * self._warm.limits.wall_factor

        def drive(scenarios: Sequence[Scenario], plan: Plan) -> list[list[Recording]]:
            runner = self._ready_for(check)
            request = {
                "op": "drive",
                "check": check.id,
                "answers": names,
                "scenarios": list(scenarios),
                "plan": {"seed": plan.seed, "schedules": plan.schedules, "schedule": plan.schedule},
            }
            reply = self._asked(runner, request, deadline)
            if (missing := reply.get("missing")) in names:
                raise self._without(missing)
            try:
                return checked_recordings(reply.get("recordings"), len(scenarios))
            except BadRecording as error:
                raise self._lost(runner, "refused", f"what your code sent back is {error}") from None

        return drive

    def close(self) -> None:
        """End the runner that is left."""
        if self._runner is not None:
            self._account(self._runner.end())
            self._runner = None

    @property
    def _budget(self) -> float:
        limits = self._warm.limits
        return max(0.0, min(limits.check_seconds, limits.answer_seconds - self._spent))

    def _ready_for(self, check: Check) -> _Runner:
        """A runner that can drive this check."""
        if self._never_starts:
            raise self._never_starts
        runner = self._runner or self._started()
        if runner.check != check.id:
            material = self._warm.material
            request = {
                "op": "check",
                "check": check.id,
                "source": material.source,
                "module": material.exercise.module,
                "file": str(material.exercise.checks),
            }
            runner.budget(self._budget)
            self._asked(runner, request, self._deadline(self._warm.limits.start_seconds))
            runner.check = check.id
        return runner

    def _started(self) -> _Runner:
        """A runner that has executed the set-up cells and the answer's cells."""
        limits = self._warm.limits
        if not self._budget:
            used_up = f"the {limits.answer_seconds:g} s for all checks of this answer were used up before this one"
            raise RunnerLost("timeout", used_up)
        runner = self._set_up()
        cells = {cell: self._answer.cells[cell] for cell in self._stubs if cell in self._answer.cells}
        runner.budget(limits.start_seconds)
        try:
            reply = self._asked(runner, {"op": "start", "cells": cells}, self._deadline(limits.start_seconds))
            runner.troubles = _checked_troubles(reply.get("troubles"), cells)
            if any(trouble["kind"] == "MemoryError" for trouble in runner.troubles.values()):
                raise self._lost(runner, "out_of_memory", self._memory_words)
        except RunnerLost as lost:
            self._never_starts = lost
            raise
        for cell, trouble in runner.troubles.items():
            self._flag(f"{cell}: {_in_words(trouble)}")
        return runner

    def _set_up(self) -> _Runner:
        """A runner that has executed the set-up cells, which are trusted: no answer pays where they fail."""
        words = "its process was lost"
        for _ in range(2):  # once more, where an earlier answer ended the warm process
            self._runner = runner = _Runner(*self._warm.fork())
            request = {"op": "setup", "cells": list(self._warm.material.release.setup)}
            try:
                trouble = runner.ask(request, time.monotonic() + _SETUP_SECONDS).get("trouble")
            except (Closed, Late, Garbled):
                report = runner.end()
                self._runner = None
                self._account(report)
                if not report:
                    continue
                words = report["printed"].strip().rpartition("\n")[2] or self._end_in_words(report)[1]
                break
            if not trouble:
                return runner
            words = f"{trouble['kind']}: {trouble['message']}"
            break
        exercise = self._warm.material.exercise
        raise ExerciseBroken(f"The set-up cell of {exercise.slug} does not run ({words}); no answer can be graded.")

    def _deadline(self, cpu_seconds: float) -> float:
        return time.monotonic() + cpu_seconds * self._warm.limits.wall_factor

    def _asked(self, runner: _Runner, request: dict[str, Any], deadline: float) -> dict[str, Any]:
        try:
            reply = runner.ask(request, deadline)
        except Late:
            raise self._lost(runner, "timeout", "it did not end in the time that a check has") from None
        except Garbled as error:
            raise self._lost(runner, "refused", f"your code sent {error}") from None
        except Closed:
            raise self._lost(runner) from None
        if reply.get("out_of_memory"):
            raise self._lost(runner, "out_of_memory", self._memory_words)
        return reply

    def _lost(self, runner: _Runner, status: str = "", words: str = "") -> RunnerLost:
        """End the runner; how it was lost, from what the examiner saw or else from the keeper's report."""
        report = runner.end(at_once=bool(status))
        self._runner = None
        self._account(report)
        if status:
            return RunnerLost(status, words)
        return RunnerLost(*self._end_in_words(report))

    def _account(self, report: dict[str, Any]) -> None:
        if "unconfined" in report:
            raise self._warm.unavailable(f"an answer could not be set apart: {report['unconfined']}")
        if not report:
            # Its keeper was killed: only ending the warm process makes sure that nothing is left.
            self._warm.close()
            return
        waited = time.monotonic() - self._check_began
        self._spent += max(report["cpu"], waited / self._warm.limits.wall_factor)
        room = self._warm.limits.output - len(self.printed)
        self.printed += report["printed"][:room]
        if report["dropped"] or len(report["printed"]) > room:
            self._flag(f"it printed more than {self._warm.limits.output / _MIB:g} MiB; the rest was dropped")

    def _flag(self, words: str) -> None:
        if words not in self.flags:
            self.flags.append(words)

    def _without(self, name: str) -> RunnerLost:
        troubles = self._runner.troubles if self._runner else {}
        for cell, trouble in troubles.items():
            return RunnerLost("error", f"the cell {cell} {_in_words(trouble)}, so there is no {name}")
        if self._unanswered:
            return RunnerLost(
                "unanswered", f"there is no {name}: nothing is written yet in {_listed(self._unanswered)}"
            )
        return RunnerLost("error", f"there is no {name} after {_listed(list(self._answer.cells))} ran")

    @property
    def _memory_words(self) -> str:
        return f"it needed more than the {self._warm.limits.memory / _MIB:g} MiB of memory that an answer has"

    def _end_in_words(self, report: dict[str, Any]) -> tuple[str, str]:
        limits = self._warm.limits
        killed, number, code = report.get("killed"), report.get("signal"), report.get("code")
        used_up = report.get("cpu", 0) >= limits.start_seconds + limits.answer_seconds
        if killed == "cpu" or (number in (signal.SIGKILL, signal.SIGXCPU) and used_up):
            return "timeout", f"it was still computing after the {limits.check_seconds:g} s that a check has"
        if killed == "memory" or (number == signal.SIGKILL and report["peak_memory"] > 0.9 * limits.memory):
            return "out_of_memory", self._memory_words
        if killed == "processes":
            return "crashed", f"it started more than {limits.processes} processes"
        if number is not None:
            return "crashed", f"its process ended by {signal.Signals(number).name} while the check ran"
        if killed == "order":
            return "crashed", "it closed the connection to the examiner while the check ran"
        if code is not None:
            return "crashed", f"it ended its own process (exit code {code}) while the check ran"
        return "crashed", "its process was lost while the check ran"


class _Runner:
    """One runner process and its keeper."""

    def __init__(self, connection: Channel, keeper: Channel) -> None:
        self.check = ""
        self.troubles: dict[str, dict[str, Any]] = {}
        self._connection = connection
        self._keeper = keeper
        self._report: dict[str, Any] | None = None

    def ask(self, request: dict[str, Any], deadline: float) -> dict[str, Any]:
        """Raises Closed, Late or Garbled."""
        self._connection.send(request, deadline=deadline)
        reply = self._connection.receive(deadline=deadline)
        if not isinstance(reply, dict):
            raise Garbled("a message that is no reply")
        return reply

    def budget(self, seconds: float) -> None:
        """Let it compute for so many more seconds."""
        try:
            self._keeper.send({"budget": seconds}, deadline=time.monotonic() + _END_SECONDS)
        except (Closed, Late):
            return  # It has ended; the next question finds out how.

    def end(self, *, at_once: bool = False) -> dict[str, Any]:
        """End it and wait until nothing of it is left. The keeper's report, empty where the keeper itself was lost.

        `at_once`: do not wait for it to end by itself now that the connection is closed.
        """
        if self._report is None:
            self._connection.close()
            try:
                self._report = self._final_report(_END_SECONDS if not at_once else 0.0)
            except (Closed, Late, Garbled):
                self._report = {}
            self._keeper.close()
        return self._report

    def _final_report(self, patience: float) -> dict[str, Any]:
        try:
            return self._keeper.receive(deadline=time.monotonic() + patience)
        except Late:
            self._keeper.finish()
            return self._keeper.receive(deadline=time.monotonic() + _REPORT_SECONDS)


def _checked_troubles(value: Any, cells: dict[str, str]) -> dict[str, dict[str, Any]]:
    """What stopped the cells, as the runner tells it; whatever is not in the agreed form is left out."""
    if not isinstance(value, dict):
        return {}
    return {cell: value[cell] for cell in cells if _is_trouble(value.get(cell))}


def _is_trouble(value: Any) -> bool:
    return (
        isinstance(value, dict)
        and all(isinstance(value.get(key), str) and len(value[key]) <= _WORDS for key in ("kind", "message", "text"))
        and (value.get("line") is None or isinstance(value["line"], int))
    )


def _in_words(trouble: dict[str, Any]) -> str:
    line = trouble.get("line")
    where = f" on line {line} (`{trouble.get('text')}`)" if isinstance(line, int) else ""
    message = f": {trouble['message']}" if trouble["message"] else ""
    return f"stopped{where} with {trouble['kind']}{message}"


def _listed(cells: list[str]) -> str:
    kind = "the cell" if len(cells) == 1 else "the cells"
    return f"{kind} {', '.join(cells)}"
