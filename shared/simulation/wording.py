"""Plain words about the threads of a run: who waits where, for what, and held by whom.

Invariant: reads the state of a run and changes nothing in it.
"""

from __future__ import annotations

import linecache
import os
import re
import sys
import sysconfig
import threading
from collections.abc import Iterable, Iterator
from functools import cache
from types import CodeType, FrameType
from typing import TYPE_CHECKING, Any

from shared.simulation.outcomes import Failure, Switch

if TYPE_CHECKING:
    from shared.simulation.scheduler import ControlledThread, Scheduler

_HERE = os.path.dirname(os.path.abspath(__file__)) + os.sep
_LIBRARIES = tuple(
    {os.path.join(sysconfig.get_paths()[key], "") for key in ("stdlib", "platstdlib", "purelib", "platlib")}
)
_THREAD_INIT = threading.Thread.__init__.__code__
_THREAD_BODY = {getattr(threading.Thread, name).__code__ for name in ("_bootstrap", "_bootstrap_inner", "run")}
_JOIN = threading.Thread.join.__code__
_STDLIB = sysconfig.get_paths()["stdlib"]
_MACHINERY = tuple(os.path.join(_STDLIB, name, "") for name in ("asyncio", "concurrent", "importlib", "logging"))
_POLLS = "Virtual time stands still while a thread runs: a loop that polls must wait"
_PROJECT_CHECKS = os.path.join(os.path.dirname(os.path.dirname(_HERE.rstrip(os.sep))), "graders", "")


@cache
def is_library(filename: str) -> bool:
    """Whether a file belongs to Python, an installed package, this package or the checks, and not to an answer."""
    if filename.startswith("<frozen"):
        return True
    path = os.path.abspath(filename)
    return path.startswith((_HERE, _PROJECT_CHECKS, *_LIBRARIES)) or f"{os.sep}dist-packages{os.sep}" in path


def creation_site(depth: int) -> tuple[tuple[str, int] | None, bool]:
    """File and line of the nearest caller outside the libraries, and whether Python's own machinery is in between."""
    frame: FrameType | None = sys._getframe(depth)
    machinery = False
    for _ in range(12):
        if frame is None:
            break
        code = frame.f_code
        if not is_library(code.co_filename):
            return (code.co_filename, frame.f_lineno), machinery
        machinery = machinery or code is _THREAD_INIT or code.co_filename.startswith(_MACHINERY)
        frame = frame.f_back
    return None, machinery


def place(at: tuple[str, int] | None) -> str:
    """`pool.py:12`, or in a notebook `cell line 12`, or while an answer is graded `cell find-deadlock, line 12`."""
    if at is None:
        return "unknown place"
    filename, line = at
    if filename.startswith("<cell "):
        return f"{filename[1:-1]}, line {line}"
    if "ipykernel_" in filename or filename.startswith("<ipython"):
        return f"cell line {line}"
    return f"{os.path.basename(filename)}:{line}"


def source_of(at: tuple[str, int] | None) -> str:
    return linecache.getline(*at).strip() if at is not None else ""


def answer_line(ident: int) -> tuple[str, int] | None:
    """Where a thread is in the code under test: its innermost line that is not a library's."""
    for frame in _frames(ident):
        if not is_library(frame.f_code.co_filename):
            return frame.f_code.co_filename, frame.f_lineno
    return None


def waiting_operation(ident: int) -> str:
    """The call of the code under test that a thread waits in, such as `Queue.get()`."""
    called = None
    for frame in _frames(ident):
        code = frame.f_code
        if not is_library(code.co_filename) or code in _THREAD_BODY:
            break
        if code in _SPOKEN or not code.co_filename.startswith(_HERE):
            called = frame
    if called is None:
        return "a wait"
    code = called.f_code
    if code is _JOIN:
        return f"Thread.join() of {called.f_locals['self'].name}"
    module = called.f_globals.get("__name__", "").partition(".")[0]
    return f"{_SPOKEN.get(code) or (code.co_qualname if '.' in code.co_qualname else f'{module}.{code.co_name}')}()"


_SPOKEN: dict[CodeType, str] = {}


def speak_of(code: CodeType, name: str) -> None:
    """Let messages call a function of this package by the name that the code under test knows it by."""
    _SPOKEN[code] = name


def stop_reason(thread: ControlledThread) -> str:
    """Why a thread that blocks gives up the baton."""
    label = thread.waits_for.label() if thread.waits_for is not None else ""
    if label:
        return f"waited for {label}"
    operation = waiting_operation(thread.ident)
    return "started a thread" if operation == "Thread.start()" else f"waited in {operation}"


def error_text(error: BaseException) -> str:
    """The error and the line of the code under test that raised it."""
    text = f"{type(error).__name__}: {error}".removesuffix(": ").partition("\n")[0]
    at, traceback = None, error.__traceback__
    while traceback is not None:
        code = traceback.tb_frame.f_code
        if not is_library(code.co_filename):
            at = (code.co_filename, traceback.tb_lineno)
        traceback = traceback.tb_next
    return f"{text}, at {place(at)}{_quoted(at)}" if at else text


def deadlock(scheduler: Scheduler) -> Failure:
    threads = _describe(scheduler)
    tasks = [line for thread in scheduler.threads if not thread.done for line in _tasks(thread)]
    lines = [_sentence(thread, threads) for thread in threads]
    head = "deadlock: every thread waits and nothing can wake one"
    if tasks and len(threads) == 1:
        head, lines = "deadlock: every task waits and nothing can wake one", []
    return Failure("deadlock", "\n  ".join([head, *lines, *tasks]), None, threads)


def livelock(scheduler: Scheduler, spinning: ControlledThread) -> Failure:
    threads = _describe(scheduler)
    at = answer_line(spinning.ident)
    message = (
        f"livelock: no end after {scheduler.step:,} steps; {spinning.name} was running at {place(at)}"
        f"{_quoted(at)}. {_POLLS}"
    )
    return Failure("livelock", message, None, threads)


def stalled(scheduler: Scheduler, holder: ControlledThread, *, busy: bool, seconds: float) -> Failure:
    threads = _describe(scheduler)
    at = answer_line(holder.ident)
    if busy:
        message = f"livelock: {holder.name} computed for over {seconds:g} s without waiting"
    else:
        message = f"hang: {holder.name} is blocked outside control for over {seconds:g} real seconds"
    frame = next(_frames(holder.ident), None)
    inside = (frame.f_code.co_filename, frame.f_lineno) if frame is not None else None
    within = f", inside {frame.f_code.co_qualname} ({place(inside)})" if frame is not None and inside != at else ""
    advice = f". {_POLLS}" if busy else ""
    kind = "livelock" if busy else "hang"
    return Failure(kind, f"{message}, at {place(at)}{_quoted(at)}{within}{advice}", None, threads)


def interleaving(switches: Iterable[Switch], limit: int = 14) -> list[str]:
    """The story of a run, one line per passing of the baton; ordinary ones far from a deviation are counted only."""
    switches = list(switches)
    told = {near for index, switch in enumerate(switches) if switch.chosen for near in range(index - 1, index + 3)}
    if len(switches) <= limit:
        told = set(range(len(switches)))
    lines, skipped = [], 0
    for index, switch in enumerate(switches):
        if index not in told:
            skipped += 1
            continue
        if skipped:
            lines.append(f"… {skipped} switches in the default order")
            skipped = 0
        lines.append(_told(switch))
    if skipped:
        lines.append(f"… {skipped} switches in the default order")
    return lines


def _told(switch: Switch) -> str:
    where = f" ({place(switch.at)})" if switch.at else ""
    code = source_of(switch.at)
    if switch.reason == "preempted":
        stop = f"stopped before `{code}`{where}" if code else f"stopped{where}" if where else "was not let begin"
    elif switch.reason == "ended":
        stop = "ended"
    else:
        stop = f"{switch.reason}{where}"
    return f"{'→' if switch.chosen else ' '} {switch.stopped} {stop}, {switch.resumed} ran on"


def _describe(scheduler: Scheduler) -> tuple[dict[str, Any], ...]:
    labels = _lock_labels(scheduler)
    described = []
    for thread in scheduler.threads:
        if thread.done or not thread.ident:
            continue
        waits = thread.waits_for
        waiting = thread.blocked
        named = waits is not None and id(waits) in labels
        described.append(
            {
                "name": thread.name,
                "state": "waiting" if waiting else "ready",
                "operation": waiting_operation(thread.ident) if waiting else "",
                "at": place(answer_line(thread.ident)),
                "waits_for": labels[id(waits)] if named else None,
                "held_by": waits.holder.name if named and waits.holder is not None else None,
                "holds": [
                    labels[id(other.waits_for)]
                    for other in scheduler.threads
                    if id(other.waits_for) in labels and other.waits_for.holder is thread
                ],
            }
        )
    return tuple(described)


def _lock_labels(scheduler: Scheduler) -> dict[int, str]:
    """A readable name for each lock that a thread waits for; the internal locks of `threading` have none."""
    locks = {id(thread.waits_for): thread.waits_for for thread in scheduler.threads if not thread.done}
    labels = {key: lock.label() for key, lock in locks.items() if lock is not None and lock.label()}
    for text in set(labels.values()):
        twins = [key for key, label in labels.items() if label == text]
        if len(twins) > 1:
            labels.update({key: locks[key].label(number) for number, key in enumerate(twins, 1)})
    return labels


def _sentence(thread: dict[str, Any], threads: tuple[dict[str, Any], ...]) -> str:
    if thread["state"] == "ready":
        return f"{thread['name']} is ready at {thread['at']}"
    holds = dict.fromkeys(thread["holds"])
    held = f"holds {' and '.join(holds)}, " if holds else ""
    if thread["waits_for"] is None and thread["at"] == place(None):
        return f"{thread['name']} {held}waits outside the code under test"
    if thread["waits_for"] is None:
        return f"{thread['name']} {held}waits in {thread['operation']} at {thread['at']}"
    by = thread["held_by"]
    owner = "itself" if by == thread["name"] else by
    held_by = f", held by {owner}" if by else ""
    return f"{thread['name']} {held}waits for {thread['waits_for']} at {thread['at']}{held_by}"


def _tasks(thread: ControlledThread) -> Iterator[str]:
    asyncio = sys.modules.get("asyncio")
    if asyncio is None or thread.thread is None:
        return
    for frame in _frames(thread.ident):
        loop = frame.f_locals.get("self")
        if frame.f_code.co_name == "_run_once" and isinstance(loop, asyncio.AbstractEventLoop):
            tasks = [task for task in asyncio.all_tasks(loop) if not task.done()]
            for task in sorted(tasks, key=lambda task: (len(task.get_name()), task.get_name())):
                at = task_line(task)
                yield f"task {task.get_name()} ({_task_code(task)}) waits at {place(at)}{_quoted(at)}"
            return


def _task_code(task: Any) -> str:
    return getattr(task.get_coro(), "__qualname__", "?").replace("<locals>.", "").rpartition(".")[2]


def task_line(task: Any) -> tuple[str, int] | None:
    """The innermost line of the code under test that a task is suspended at."""
    awaited, at = task.get_coro(), None
    while awaited is not None:
        frame = getattr(awaited, "cr_frame", None) or getattr(awaited, "gi_frame", None)
        if frame is not None and (at is None or not is_library(frame.f_code.co_filename)):
            at = (frame.f_code.co_filename, frame.f_lineno)
        awaited = getattr(awaited, "cr_await", None) or getattr(awaited, "gi_yieldfrom", None)
    return at


def _frames(ident: int) -> Iterator[FrameType]:
    frame = sys._current_frames().get(ident)
    while frame is not None:
        yield frame
        frame = frame.f_back


def _quoted(at: tuple[str, int] | None) -> str:
    code = source_of(at)
    return f" `{code}`" if code else ""


def assigned_name(at: tuple[str, int] | None) -> str:
    """`self._lock`, in backquotes, for a line that reads `self._lock = Lock()`; else nothing."""
    match = re.fullmatch(r"([A-Za-z_][\w.]*)\s*(?::[^=]+)?=[^=;]*", source_of(at))
    return f"`{match.group(1)}`" if match else ""
