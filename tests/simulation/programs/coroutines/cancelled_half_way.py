"""A shutdown cancels a transfer between its two writes, and the money is in neither account: graceful stops."""

from __future__ import annotations

import asyncio
from contextlib import suppress

KIND = "invariant"


async def stop_during_transfer(shielded: bool) -> None:
    balances = {"ana": 100, "luis": 100}

    async def move() -> None:
        balances["ana"] -= 30
        await asyncio.sleep(0)
        balances["luis"] += 30

    async def transfer() -> None:
        if not shielded:
            await move()
            return
        moving = asyncio.create_task(move(), name="move")
        try:
            await asyncio.shield(moving)
        except asyncio.CancelledError:
            await moving
            raise

    task = asyncio.create_task(transfer(), name="transfer")
    for _ in range(3):
        await asyncio.sleep(0)
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task
    total = sum(balances.values())
    assert total == 200, f"the accounts held 200 and hold {total} after the stop"


async def buggy() -> None:
    await stop_during_transfer(shielded=False)


async def fixed() -> None:
    await stop_during_transfer(shielded=True)
