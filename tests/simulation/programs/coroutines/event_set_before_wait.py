"""A subscriber clears the event before it waits, and clears away the message that is already there: pub/sub clients."""

from __future__ import annotations

import asyncio

KIND = "deadlock"


async def subscribe(clears_after: bool) -> None:
    arrived, inbox, read = asyncio.Event(), [], []

    async def publish() -> None:
        inbox.append("price")
        arrived.set()

    async def receive() -> None:
        if not clears_after:
            arrived.clear()
        await arrived.wait()
        arrived.clear()
        read.extend(inbox)

    await asyncio.gather(receive(), publish())
    assert read == ["price"], f"a price was published and {read} was read"


async def buggy() -> None:
    await subscribe(clears_after=False)


async def fixed() -> None:
    await subscribe(clears_after=True)
