"""A Thread subclass starts itself inside its constructor, before a later line has set what run() needs: watchdogs."""

from __future__ import annotations

import threading

KIND = "thread-exception"


class StartsInside(threading.Thread):
    def __init__(self, seen: list[str]) -> None:
        super().__init__(name="watchdog")
        self.start()
        self.seen = seen

    def run(self) -> None:
        self.seen.append("tick")


class StartsLast(StartsInside):
    def __init__(self, seen: list[str]) -> None:
        threading.Thread.__init__(self, name="watchdog")
        self.seen = seen
        self.start()


def buggy() -> None:
    StartsInside([]).join()


def fixed() -> None:
    watchdog = StartsLast([])
    watchdog.join()
    assert watchdog.seen == ["tick"], "the watchdog never ticked"
