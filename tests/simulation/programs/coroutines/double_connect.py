"""Two first requests both find no connection while the first one awaits the handshake: lazy async clients."""

from __future__ import annotations

import asyncio

KIND = "invariant"


class LazyClient:
    def __init__(self) -> None:
        self.connection: str | None = None
        self.handshakes = 0

    async def get(self) -> str:
        if self.connection is None:
            self.handshakes += 1
            await asyncio.sleep(0.01)
            self.connection = f"connection {self.handshakes}"
        return self.connection


class SharedHandshake(LazyClient):
    def __init__(self) -> None:
        super().__init__()
        self.lock = asyncio.Lock()

    async def get(self) -> str:
        async with self.lock:
            return await super().get()


async def first_requests(client: LazyClient) -> None:
    await asyncio.gather(client.get(), client.get())
    assert client.handshakes == 1, f"{client.handshakes} connections were opened and only one is kept"


async def buggy() -> None:
    await first_requests(LazyClient())


async def fixed() -> None:
    await first_requests(SharedHandshake())
