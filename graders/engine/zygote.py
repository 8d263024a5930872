"""The warm process that runners are forked from: it has imported what they need, and never runs a line of an answer.

It starts no threads, so a fork is a clean copy. `python -m graders.engine.zygote` is started by an `Isolation`.
"""

from __future__ import annotations

import gc
import importlib
import json
import os
import signal
import socket
import sys
import threading
import traceback
from functools import partial
from typing import NoReturn

from graders import kit
from graders.engine import confine, runner
from graders.engine.keeper import Confinement, end_descendants, keep
from graders.engine.limits import Limits
from graders.engine.pristine import Pristine
from graders.engine.wire import Channel

__all__ = ["main"]

_ORDER_BYTES = 1 << 16
_REQUEST_BYTES = 1 << 26
_GRACE = 10.0


def main(descriptor: int) -> None:
    """Serve the examiner on a socket until it closes: a first message prepares, each later one forks a runner."""
    control = socket.socket(fileno=descriptor)
    confine.become_subreaper()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    channel = Channel(control, limit=_REQUEST_BYTES)
    preparation = channel.receive()
    confinement = Confinement(**preparation["confinement"])
    _prepare(preparation)
    pristine = Pristine()
    channel.send({"ready": True})
    # Keepers are not waited for: each reports to the examiner itself.
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    gc.collect()
    gc.freeze()
    while True:
        order, descriptors, *_ = socket.recv_fds(control, _ORDER_BYTES, 2)
        if not order:
            end_descendants(_GRACE)
            return
        if os.fork() == 0:
            control.close()
            _keep(json.loads(order), descriptors, confinement, pristine)
        for one in descriptors:
            os.close(one)


def _prepare(preparation: dict) -> None:
    """Import what the set-up cells and the checks import, without what is withheld, and compile the sources once."""
    vars(kit).update(checks_for=runner.ChecksElsewhere)
    sys.meta_path.insert(0, runner.Withheld(preparation["withheld"]))
    for name in preparation["imports"]:
        importlib.import_module(name)
    runner.driver_module(preparation["source"], preparation["module"], preparation["file"])
    del sys.modules[preparation["module"]]
    if threading.active_count() > 1:
        names = ", ".join(thread.name for thread in threading.enumerate())
        raise RuntimeError(f"importing the modules of this exercise started threads ({names}); they cannot be forked")


def _keep(order: dict, descriptors: list[int], confinement: Confinement, pristine: Pristine) -> NoReturn:
    try:
        runner_socket, examiner = (socket.socket(fileno=one) for one in descriptors)
        limits, run = Limits(**order["limits"]), partial(_run, pristine)
        keep(runner_socket, Channel(examiner, limit=_ORDER_BYTES), limits, confinement, run)
    except BaseException:
        traceback.print_exc()
    os._exit(1)


def _run(pristine: Pristine, runner_socket: socket.socket, home: str) -> NoReturn:
    signal.signal(signal.SIGINT, signal.default_int_handler)
    runner.enter(Channel(runner_socket, limit=_REQUEST_BYTES), home, pristine)


if __name__ == "__main__":
    main(int(sys.argv[1]))
