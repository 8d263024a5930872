"""Shutdown puts one sentinel for two consumers, so the group that awaits both never ends: async worker groups."""

from __future__ import annotations

import asyncio

KIND = "deadlock"


async def drain(sentinels: int) -> None:
    jobs: asyncio.Queue[int | None] = asyncio.Queue(maxsize=2)
    done: list[int] = []

    async def work() -> None:
        while (job := await jobs.get()) is not None:
            done.append(job)

    async with asyncio.TaskGroup() as group:
        for n in range(2):
            group.create_task(work(), name=f"worker {n}")
        for job in [1, 2, 3] + [None] * sentinels:
            await jobs.put(job)
    assert sorted(done) == [1, 2, 3], f"jobs 1, 2, 3 were put and {sorted(done)} were done"


async def buggy() -> None:
    await drain(sentinels=1)


async def fixed() -> None:
    await drain(sentinels=2)
