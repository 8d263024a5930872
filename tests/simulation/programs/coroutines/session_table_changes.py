"""A sweeper awaits inside a loop over the session table in which a login adds a row: periodic clean-ups."""

from __future__ import annotations

import asyncio

KIND = "exception"


async def sweep_while_login(live_view: bool) -> None:
    sessions, pinged = {"ana": 1, "luis": 2}, []

    async def sweep() -> None:
        for name in sessions if live_view else list(sessions):
            await asyncio.sleep(0)
            pinged.append(name)

    async def login() -> None:
        for _ in range(4):
            await asyncio.sleep(0)
        sessions["eva"] = 3

    await asyncio.gather(sweep(), login())
    assert pinged[:2] == ["ana", "luis"], f"the sweep pinged {pinged}"


async def buggy() -> None:
    await sweep_while_login(live_view=True)


async def fixed() -> None:
    await sweep_while_login(live_view=False)
