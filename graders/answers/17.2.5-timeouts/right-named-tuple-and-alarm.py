# right: the deadline is a named tuple; a timer of its own cancels the task, and uncancel() tells it from others' cancellation
# %% solution="deadline"
from asyncio import CancelledError, current_task, get_running_loop
from time import monotonic
from typing import Any, Callable, NamedTuple


class Deadline(NamedTuple):
    instant: float
    now: Callable[[], float]
    setter: str

    @classmethod
    def after(cls, seconds, clock=monotonic, name="anonymous"):
        return cls(instant=clock() + seconds, now=clock, setter=name)

    def remaining(self):
        return self.instant - self.now()


class LevelTimeout(TimeoutError):
    def __init__(self, level: str) -> None:
        self.level = level
        TimeoutError.__init__(self, f"[{level}] no time left")


class _Alarm:
    """Cancels the current task when the time is over, and turns that cancellation, and no other, into LevelTimeout."""

    def __init__(self, deadline: Deadline) -> None:
        self.deadline = deadline
        self.rang = False

    def __enter__(self) -> "_Alarm":
        self.task = current_task()
        self.cancelling = self.task.cancelling()
        self.timer = get_running_loop().call_later(max(self.deadline.remaining(), 0), self.ring)
        return self

    def ring(self) -> None:
        self.rang = True
        self.task.cancel()

    def __exit__(self, kind: Any, error: Any, trace: Any) -> None:
        self.timer.cancel()
        if not self.rang:
            return
        alone = self.task.uncancel() <= self.cancelling
        if alone and (kind is None or issubclass(kind, CancelledError)):
            raise LevelTimeout(self.deadline.setter) from None


async def call_with_deadline(fn, timeout, parent=None, *, name=None):
    candidates = [Deadline.after(timeout, name=name or fn.__name__)]
    if parent is not None:
        if parent.remaining() <= 0:
            raise LevelTimeout(parent.setter)
        candidates.append(parent)
    deadline = min(candidates, key=lambda candidate: candidate.remaining())
    with _Alarm(deadline):
        return await fn(deadline)


# %% solution="hierarchy"
def _edges(parent, prefix=""):
    here = prefix + parent["name"]
    for child in parent.get("children", []):
        yield parent["timeout"], child["timeout"], here + "/" + child["name"]
        yield from _edges(child, here + "/")


def validate_hierarchy(tree):
    offender = next((path for above, below, path in _edges(tree) if below >= above), None)
    if offender is not None:
        raise InvalidHierarchy(offender)
