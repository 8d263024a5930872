"""Two tasks run in the one context that was copied once, which only one of them may enter: trace propagation."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from contextvars import ContextVar, copy_context

KIND = "exception"
request_id: ContextVar[str] = ContextVar("request_id", default="none")


def fan_out(copy_per_task: bool) -> None:
    seen: list[str] = []

    def step() -> None:
        label = request_id.get()
        seen.append(label)

    token = request_id.set("req-7")
    try:
        once = copy_context()
        with ThreadPoolExecutor(max_workers=2) as pool:
            tasks = [pool.submit((copy_context() if copy_per_task else once).run, step) for _ in range(2)]
            for task in tasks:
                task.result()
    finally:
        request_id.reset(token)
    assert seen == ["req-7"] * 2, f"the tasks of req-7 ran as {seen}"


def buggy() -> None:
    fan_out(copy_per_task=False)


def fixed() -> None:
    fan_out(copy_per_task=True)
