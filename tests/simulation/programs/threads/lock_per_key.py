"""A dictionary of locks is filled by check-then-act, and two threads hold two locks for one key: keyed locking."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

KIND = "invariant"


def edit_one_document(lock_for: Callable[[str], threading.Lock]) -> None:
    log: list[str] = []

    def edit() -> None:
        with lock_for("report.txt"):
            log.append("open")
            time.sleep(0.01)
            log.append("save")

    editors = [threading.Thread(target=edit) for _ in range(2)]
    for editor in editors:
        editor.start()
    for editor in editors:
        editor.join()
    assert log == ["open", "save"] * 2, f"two edits of one document overlapped: {' '.join(log)}"


def buggy() -> None:
    locks: dict[str, threading.Lock] = {}

    def lock_for(key: str) -> threading.Lock:
        if key not in locks:
            locks[key] = threading.Lock()
        return locks[key]

    edit_one_document(lock_for)


def fixed() -> None:
    locks: dict[str, threading.Lock] = {}
    edit_one_document(lambda key: locks.setdefault(key, threading.Lock()))
