"""Two doctors check that someone else is on call, each under the lock of their own row, and both leave: row locks."""

from __future__ import annotations

import threading

KIND = "invariant"


def go_home(locks: dict[str, threading.Lock]) -> None:
    on_call = {"ana": True, "luis": True}

    def leave(doctor: str) -> None:
        with locks[doctor]:
            if sum(on_call.values()) > 1:
                on_call[doctor] = False

    threads = [threading.Thread(target=leave, args=(doctor,), name=doctor) for doctor in on_call]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert any(on_call.values()), "nobody is on call"


def buggy() -> None:
    go_home({"ana": threading.Lock(), "luis": threading.Lock()})


def fixed() -> None:
    go_home(dict.fromkeys(("ana", "luis"), threading.Lock()))
