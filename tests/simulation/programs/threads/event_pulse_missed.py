"""A reload sets an event and clears it at once, and a poller that looks later polls for ever: config watchers."""

from __future__ import annotations

import threading
import time

KIND = "livelock"
MAX_STEPS = 5_000


def reload_once(pulse: bool) -> None:
    reloaded = threading.Event()

    def reload() -> None:
        reloaded.set()
        if pulse:
            reloaded.clear()

    reloader = threading.Thread(target=reload, name="reloader")
    reloader.start()
    while not reloaded.is_set():
        time.sleep(0.001)
    reloader.join()


def buggy() -> None:
    reload_once(pulse=True)


def fixed() -> None:
    reload_once(pulse=False)
