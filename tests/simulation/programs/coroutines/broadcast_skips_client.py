"""A broadcast awaits inside a loop over the live list of clients, and a leaving one shifts the rest: chat servers."""

from __future__ import annotations

import asyncio

KIND = "invariant"


async def broadcast_while_leaving(live_view: bool) -> None:
    clients, reached = ["ana", "luis", "eva"], []

    async def broadcast() -> None:
        for client in clients if live_view else list(clients):
            reached.append(client)
            await asyncio.sleep(0)

    async def leave() -> None:
        await asyncio.sleep(0)
        clients.remove("ana")

    await asyncio.gather(broadcast(), leave())
    missed = {"luis", "eva"} - set(reached)
    assert not missed, f"clients who stayed were skipped: {', '.join(sorted(missed))}"


async def buggy() -> None:
    await broadcast_while_leaving(live_view=True)


async def fixed() -> None:
    await broadcast_while_leaving(live_view=False)
