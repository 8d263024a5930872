"""The examiner's side of the warm process: start it, ask it for runners, start it again where it was lost."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Callable

from graders.engine.isolation import Isolation, IsolationUnavailable, Started
from graders.engine.limits import Limits
from graders.engine.material import Material
from graders.engine.wire import Channel, Closed, Garbled, Late

__all__ = ["Warm"]

_REPLY_BYTES = 4 << 20
_READY_SECONDS = 120.0


class Warm:
    """The warm process of one exercise. It is started at once and made ready while the examiner goes on."""

    def __init__(self, material: Material, isolation: Isolation, limits: Limits) -> None:
        self.material = material
        self.limits = limits
        self._isolation = isolation
        self._started: Started | None = None
        self._ready = False
        self._start()

    def fork(self) -> tuple[Channel, Channel]:
        """Connections to a new runner and to its keeper. Raises IsolationUnavailable."""
        order = json.dumps({"limits": self.limits.as_json()}).encode()
        for _ in range(2):  # once more, where an answer ended the warm process itself
            control = self._ready_control()
            runner, runner_end = socket.socketpair()
            keeper, keeper_end = socket.socketpair()
            try:
                socket.send_fds(control, [order], [runner_end.fileno(), keeper_end.fileno()])
            except OSError:
                runner.close()
                keeper.close()
                self.close()
            else:
                return Channel(runner, limit=_REPLY_BYTES), Channel(keeper, limit=_REPLY_BYTES)
            finally:
                runner_end.close()
                keeper_end.close()
        raise self.unavailable("the process that runs answers ends as soon as it is started")

    def unavailable(self, reason: str) -> IsolationUnavailable:
        """What to raise where the isolation turns out not to hold."""
        return self._isolation.unavailable(reason)

    def close(self) -> None:
        """End the warm process and whatever was forked from it. The next fork starts a new one."""
        if self._started is not None:
            self._started.close()
            self._started = None
        self._ready = False

    def _start(self) -> None:
        self._started = self._isolation.start(self.material.withheld)
        preparation = {
            "confinement": self._isolation.confinement.as_json(),
            "withheld": list(self.material.withheld),
            "imports": self.material.imports,
            "source": self.material.source,
            "module": self.material.exercise.module,
            "file": str(self.material.exercise.checks),
        }
        self._exchange(lambda control, deadline: control.send(preparation, deadline=deadline))

    def _ready_control(self) -> socket.socket:
        if self._started is None:
            self._start()
        if not self._ready:
            self._exchange(lambda control, deadline: control.receive(deadline=deadline))
            self._ready = True
        assert self._started is not None
        return self._started.control

    def _exchange(self, step: Callable[[Channel, float], object]) -> None:
        """One step of the first exchange with a warm process; where it ends instead, refuse with its last words."""
        assert self._started is not None
        try:
            step(Channel(self._started.control, limit=_REPLY_BYTES), time.monotonic() + _READY_SECONDS)
        except (Closed, Late, Garbled):
            complaint = self._started.complaint()
            self.close()
            raise self.unavailable(complaint) from None
