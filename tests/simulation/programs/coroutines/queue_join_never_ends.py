"""A worker that fails a job leaves before task_done, and join waits for that job for ever: async job runners."""

from __future__ import annotations

import asyncio
from contextlib import suppress

KIND = "deadlock"


async def drain(marks_failures: bool) -> None:
    jobs: asyncio.Queue[int] = asyncio.Queue()
    outage = asyncio.Event()

    async def store() -> None:
        if outage.is_set():
            raise ConnectionError("no database")

    async def work() -> None:
        while True:
            await jobs.get()
            try:
                await store()
            except ConnectionError:
                if not marks_failures:
                    continue
            jobs.task_done()

    async def fail_over() -> None:
        outage.set()
        await asyncio.sleep(0)
        outage.clear()

    worker = asyncio.create_task(work(), name="worker")
    outside = asyncio.create_task(fail_over(), name="fail-over")
    jobs.put_nowait(1)
    await jobs.join()
    await outside
    worker.cancel()
    with suppress(asyncio.CancelledError):
        await worker


async def buggy() -> None:
    await drain(marks_failures=False)


async def fixed() -> None:
    await drain(marks_failures=True)
