"""A status page iterates over a registry in which request threads register themselves: live session tables."""

from __future__ import annotations

import threading

KIND = "exception"


def show(live_view: bool) -> None:
    sessions = {"ana": 1, "luis": 2}
    login = threading.Thread(target=sessions.setdefault, args=("eva", 3), name="login")
    login.start()
    shown = []
    for name in sessions if live_view else list(sessions):
        shown.append(f"{name}: {sessions[name]}")
    login.join()
    assert shown[:2] == ["ana: 1", "luis: 2"], f"the status page shows {shown}"


def buggy() -> None:
    show(live_view=True)


def fixed() -> None:
    show(live_view=False)
