"""The lock guards the read, the write comes after an await outside it, and a visit is lost: stored counters."""

from __future__ import annotations

import asyncio

KIND = "invariant"


async def count_visits(whole: bool) -> None:
    store, lock = {"visits": 0}, asyncio.Lock()

    async def save(visits: int) -> None:
        await asyncio.sleep(0)
        store["visits"] = visits

    async def visit(hops: int) -> None:
        for _ in range(hops):
            await asyncio.sleep(0)
        async with lock:
            visits = store["visits"]
            if whole:
                await save(visits + 1)
                return
        await save(visits + 1)

    await asyncio.gather(visit(hops=0), visit(hops=3))
    assert store["visits"] == 2, f"2 visits were made and {store['visits']} is stored"


async def buggy() -> None:
    await count_visits(whole=False)


async def fixed() -> None:
    await count_visits(whole=True)
