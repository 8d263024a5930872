"""The examiner's side of the warm process: start it, ask it for runners, start it again where it was lost."""

from __future__ import annotations

import json
import socket
import time

from graders.engine.isolation import Isolation, IsolationUnavailable, Started
from graders.engine.limits import Limits
from graders.engine.material import Material
from graders.engine.wire import Channel, Closed, Garbled, Late

__all__ = ["Warm"]

_REPLY_BYTES = 16 << 20
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
        if self._started is None:
            self._start()
        if not self._ready:
            self._wait_until_ready()
        assert self._started is not None
        runner, runner_end = socket.socketpair()
        keeper, keeper_end = socket.socketpair()
        order = json.dumps({"limits": self.limits.as_json()}).encode()
        try:
            socket.send_fds(self._started.control, [order], [runner_end.fileno(), keeper_end.fileno()])
        except OSError:
            runner.close()
            keeper.close()
            self._refuse()
        finally:
            runner_end.close()
            keeper_end.close()
        return Channel(runner, limit=_REPLY_BYTES), Channel(keeper, limit=_REPLY_BYTES)

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
        try:
            Channel(self._started.control, limit=_REPLY_BYTES).send(
                preparation, deadline=time.monotonic() + _READY_SECONDS
            )
        except (Closed, Late):
            self._refuse()

    def _wait_until_ready(self) -> None:
        assert self._started is not None
        control = Channel(self._started.control, limit=_REPLY_BYTES)
        try:
            control.receive(deadline=time.monotonic() + _READY_SECONDS)
        except (Closed, Late, Garbled):
            self._refuse()
        self._ready = True

    def _refuse(self) -> None:
        assert self._started is not None
        complaint = self._started.complaint()
        self.close()
        raise IsolationUnavailable(f"The process that runs answers could not be started: {complaint}.")
