"""gather raises the first error and leaves its siblings running, who charge after the rollback: order pipelines."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

KIND = "invariant"


async def reserve(log: list[str]) -> None:
    await asyncio.sleep(0)
    raise ConnectionError("out of stock")


async def charge(log: list[str]) -> None:
    await asyncio.sleep(0)
    log.append("charge")


async def place_order(both: Callable[[list[str]], Awaitable[None]]) -> None:
    log: list[str] = []
    try:
        await both(log)
    except (ConnectionError, ExceptionGroup):
        if "charge" in log:
            log.append("refund")
        log.append("rolled back")
    await asyncio.sleep(0.01)
    assert log[-1] == "rolled back", f"the order was rolled back and went on: {', '.join(log)}"


async def buggy() -> None:
    async def both(log: list[str]) -> None:
        await asyncio.gather(reserve(log), charge(log))

    await place_order(both)


async def fixed() -> None:
    async def both(log: list[str]) -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(reserve(log))
            group.create_task(charge(log))

    await place_order(both)
