"""An order is acknowledged while a fire-and-forget task has still to store it, and its error is lost: web hooks."""

from __future__ import annotations

import asyncio

KIND = "invariant"


async def take_order(waits_for_store: bool) -> None:
    stored, disk_full = [], asyncio.Event()

    async def store() -> None:
        if disk_full.is_set():
            raise OSError("disk full")
        stored.append("order-1")

    async def fill_disk() -> None:
        await asyncio.sleep(0)
        disk_full.set()

    async def handle() -> str:
        task = asyncio.create_task(store())
        if not waits_for_store:
            task.add_done_callback(lambda done: done.exception())
            return "accepted"
        try:
            await task
        except OSError:
            return "refused"
        return "accepted"

    answer, _ = await asyncio.gather(handle(), fill_disk())
    await asyncio.sleep(0.01)
    assert answer == "refused" or stored, "an accepted order was not stored and nobody saw the error"


async def buggy() -> None:
    await take_order(waits_for_store=False)


async def fixed() -> None:
    await take_order(waits_for_store=True)
