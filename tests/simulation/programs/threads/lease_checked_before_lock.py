"""A writer checks its lease, waits for the disk, and writes when the lease has run out: leases and deadlines."""

from __future__ import annotations

import time
from threading import Lock, Thread

KIND = "invariant"


def write_under_lease(checks_inside: bool) -> None:
    ends = time.monotonic() + 0.02
    disk, written = Lock(), []

    def compact() -> None:
        with disk:
            time.sleep(0.04)

    def write() -> None:
        if time.monotonic() < ends:
            with disk:
                now = time.monotonic()
                if now < ends or not checks_inside:
                    written.append(now)

    threads = [Thread(target=write, name="writer"), Thread(target=compact, name="compaction")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(at < ends for at in written), "a write landed after its lease had run out"


def buggy() -> None:
    write_under_lease(checks_inside=False)


def fixed() -> None:
    write_under_lease(checks_inside=True)
