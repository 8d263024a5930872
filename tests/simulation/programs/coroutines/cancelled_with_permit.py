"""A cancelled call never gives its permit back, and later calls wait for ever: pools under client disconnects."""

from __future__ import annotations

import asyncio
from contextlib import suppress

KIND = "deadlock"


async def disconnect(gives_back: bool) -> None:
    permits, served = asyncio.Semaphore(1), []

    async def query() -> None:
        if gives_back:
            async with permits:
                await asyncio.sleep(0)
        else:
            await permits.acquire()
            await asyncio.sleep(0)
            permits.release()
        served.append(True)

    request = asyncio.create_task(query(), name="request")
    for _ in range(3):
        await asyncio.sleep(0)
    request.cancel()
    with suppress(asyncio.CancelledError):
        await request
    await query()
    assert served, "no query was served after the disconnect"


async def buggy() -> None:
    await disconnect(gives_back=False)


async def fixed() -> None:
    await disconnect(gives_back=True)
