"""A reader fills the cache with a row that it awaited before an update invalidated it: async cache-aside."""

from __future__ import annotations

import asyncio

KIND = "invariant"


async def update_while_reading(numbered: bool) -> None:
    row, version = "old price", 0
    cache: dict[str, str] = {}

    async def read() -> None:
        seen, fetched = version, row
        await asyncio.sleep(0)
        if not numbered or seen == version:
            cache["price"] = fetched

    async def update() -> None:
        nonlocal row, version
        for _ in range(2):
            await asyncio.sleep(0)
        row, version = "new price", version + 1
        cache.pop("price", None)

    await asyncio.gather(read(), update())
    cached = cache.get("price", "new price")
    assert cached == "new price", f"after the update was done the cache still serves the {cached}"


async def buggy() -> None:
    await update_while_reading(numbered=False)


async def fixed() -> None:
    await update_while_reading(numbered=True)
