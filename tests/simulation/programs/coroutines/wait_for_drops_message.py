"""wait_for cancels a receive that already took its message, and the message is gone: polling consumers."""

from __future__ import annotations

import asyncio

KIND = "invariant"


async def consume(decodes_outside: bool) -> None:
    inbox: asyncio.Queue[str] = asyncio.Queue()
    inbox.put_nowait("order")
    received: list[str] = []

    async def decode() -> None:
        await asyncio.sleep(0.02)

    async def receive() -> str:
        message = await inbox.get()
        if not decodes_outside:
            await decode()
        return message

    for _ in range(2):
        try:
            received.append(await asyncio.wait_for(receive(), timeout=0.02))
        except TimeoutError:
            continue
        if decodes_outside:
            await decode()
    assert received == ["order"], "a message left the queue and reached nobody"


async def buggy() -> None:
    await consume(decodes_outside=False)


async def fixed() -> None:
    await consume(decodes_outside=True)
