"""A request that leaves early forgets to cancel its heartbeat, which beats on for ever: streaming handlers."""

from __future__ import annotations

import asyncio
from contextlib import suppress

KIND = "leak"
LEAKS = True


async def stream(cancels_in_finally: bool) -> None:
    gone = asyncio.Event()

    async def beat() -> None:
        while True:
            await asyncio.sleep(0.01)

    async def disconnect() -> None:
        await asyncio.sleep(0)
        gone.set()

    client = asyncio.create_task(disconnect())
    heartbeat = asyncio.create_task(beat(), name="heartbeat")
    await asyncio.sleep(0)
    if gone.is_set() and not cancels_in_finally:
        return
    await client
    heartbeat.cancel()
    with suppress(asyncio.CancelledError):
        await heartbeat


async def buggy() -> None:
    await stream(cancels_in_finally=False)


async def fixed() -> None:
    await stream(cancels_in_finally=True)
