"""Two handlers take the cache's and the database's lock in opposite orders over an await: write-through caches."""

from __future__ import annotations

import asyncio

KIND = "deadlock"


async def read_and_write(same_order: bool) -> None:
    cache, database, done = asyncio.Lock(), asyncio.Lock(), []

    async def hold(name: str, hops: int, first: asyncio.Lock, second: asyncio.Lock) -> None:
        for _ in range(hops):
            await asyncio.sleep(0)
        async with first:
            await asyncio.sleep(0)
            async with second:
                done.append(name)

    async with asyncio.TaskGroup() as group:
        group.create_task(hold("read", 0, cache, database), name="read")
        order = (cache, database) if same_order else (database, cache)
        group.create_task(hold("write", 3, *order), name="write")
    assert sorted(done) == ["read", "write"], f"only {done} came through"


async def buggy() -> None:
    await read_and_write(same_order=False)


async def fixed() -> None:
    await read_and_write(same_order=True)
