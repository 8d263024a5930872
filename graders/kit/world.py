"""The world that a driver acts in: virtual time, named threads, and the history of what happened.

Every event holds plain data only, whatever the answer returned or raised: a history crosses to the examiner as JSON.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

from graders.kit.check import Event, History

__all__ = ["World"]

_DEPTH = 6
_LENGTH = 2_000


class World:
    """What `Check.drive` is given. Valid inside one controlled run; seconds throughout."""

    def __init__(self) -> None:
        self.history: History = []
        self._start = time.monotonic()
        self._threads: list[threading.Thread] = []
        self._escaped: list[BaseException] = []

    @property
    def now(self) -> float:
        """Virtual seconds since this world began, rounded to the nanosecond."""
        return round(time.monotonic() - self._start, 9)

    def clock(self) -> float:
        """A monotonic clock to hand to the answer: it agrees with `time.monotonic`."""
        return time.monotonic()

    def sleep(self, seconds: float) -> None:
        """Let `seconds` pass, and everything that happens in them."""
        time.sleep(seconds)

    def record(self, what: str, kind: str = "note", **fields: Any) -> Event:
        """Add one event, now, by this thread. `kind` colours it on the timeline."""
        event: Event = {"t": self.now, "who": threading.current_thread().name, "what": what, "kind": kind}
        event.update((name, plain(value)) for name, value in fields.items())
        self.history.append(event)
        return event

    def call(
        self,
        what: str,
        fn: Callable[..., Any],
        *args: Any,
        catch: type[BaseException] | tuple[type[BaseException], ...] = Exception,
        **kwargs: Any,
    ) -> Event:
        """Call `fn` and record when it began and ended, and what it returned or raised.

        The event gets `until`, `outcome` ("returned" or "raised"), and `value`, or `error` (the type's name), `bases`
        and `message`. It stands in the history from the start of the call; without an `outcome` the call has not ended.
        NotImplementedError passes through: it means that this part is not written yet.
        """
        event = self.record(what, "waiting")
        try:
            value = fn(*args, **kwargs)
        except NotImplementedError:
            raise
        except catch as error:
            event.update(
                outcome="raised",
                kind="failed",
                error=type(error).__name__,
                bases=[base.__name__ for base in type(error).__mro__],
                message=text(error),
            )
        else:
            event.update(outcome="returned", kind="accepted", value=plain(value))
        event["until"] = self.now
        return event

    def start(self, fn: Callable[..., Any], *args: Any, name: str | None = None) -> threading.Thread:
        """Start a thread of the driver. What escapes from it is raised again by `join`."""

        def body() -> None:
            try:
                fn(*args)
            except Exception as error:
                self._escaped.append(error)

        thread = threading.Thread(target=body, name=name, daemon=True)
        self._threads.append(thread)
        thread.start()
        return thread

    def join(self) -> None:
        """Wait for every thread that `start` started; raise the first exception that escaped from one."""
        while self._threads:
            self._threads.pop(0).join()
        if self._escaped:
            raise self._escaped[0]


def text(error: BaseException) -> str:
    """The message of an exception, whatever its `__str__` does."""
    try:
        return str(error)[:_LENGTH]
    except Exception:
        return f"<{type(error).__name__}>"


def plain(value: Any, depth: int = _DEPTH) -> Any:
    """`value` as plain data: exact built-in types as they are, anything else as its type's name in angle brackets."""
    kind = type(value)
    if value is None or kind in (bool, int):
        return value
    if kind is float:
        return value if value - value == 0 else str(value)
    if kind is str:
        return value[:_LENGTH]
    if depth and kind in (list, tuple):
        return [plain(item, depth - 1) for item in value[:_LENGTH]]
    if depth and kind is dict:
        return {str(key)[:_LENGTH]: plain(item, depth - 1) for key, item in list(value.items())[:_LENGTH]}
    return f"<{kind.__name__}>"
