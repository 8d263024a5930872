"""A timed-out call gives its permit back twice, and the limit grows with every timeout: async HTTP clients."""

from __future__ import annotations

import asyncio
from itertools import accumulate

KIND = "invariant"


async def limit_to_one(releases_on_timeout: bool) -> None:
    permits, running = asyncio.Semaphore(1), []

    async def call(hangs: bool) -> None:
        await permits.acquire()
        try:
            if hangs:
                async with asyncio.timeout(0.01):
                    await asyncio.sleep(1)
            running.append(1)
            await asyncio.sleep(0)
            running.append(-1)
        except TimeoutError:
            if releases_on_timeout:
                permits.release()
        finally:
            permits.release()

    await asyncio.gather(call(hangs=False), call(hangs=True), call(hangs=False), call(hangs=False))
    peak = max(accumulate(running))
    assert peak == 1, f"{peak} calls ran at once under a limit of 1"


async def buggy() -> None:
    await limit_to_one(releases_on_timeout=True)


async def fixed() -> None:
    await limit_to_one(releases_on_timeout=False)
