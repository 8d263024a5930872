"""A standby ignores what Condition.wait returned and takes over when it only timed out: leader hand-over."""

from __future__ import annotations

import threading
import time

KIND = "invariant"


def hand_over(heeds_timeout: bool) -> None:
    changed = threading.Condition()
    free: list[bool] = []
    log: list[str] = []

    def standby() -> None:
        with changed:
            stepped_down = changed.wait_for(lambda: free, timeout=0.02)
            if stepped_down or not heeds_timeout:
                log.append("standby leads")

    thread = threading.Thread(target=standby, name="standby")
    thread.start()
    time.sleep(0.02)
    with changed:
        log.append("primary stops")
        free.append(True)
        changed.notify()
    thread.join()
    assert log in (["primary stops"], ["primary stops", "standby leads"]), f"two leaders at once: {', '.join(log)}"


def buggy() -> None:
    hand_over(heeds_timeout=False)


def fixed() -> None:
    hand_over(heeds_timeout=True)
