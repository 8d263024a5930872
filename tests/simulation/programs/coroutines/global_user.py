"""The user of a request sits in a module global that another request sets during an await: request state in globals."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextvars import ContextVar

KIND = "invariant"
current_user = ""
user_of_request: ContextVar[str] = ContextVar("user_of_request")


async def serve(remember: Callable[[str], object], recall: Callable[[], str]) -> None:
    mixed: list[str] = []

    async def handle(user: str, hops: int) -> None:
        for _ in range(hops):
            await asyncio.sleep(0)
        remember(user)
        await asyncio.sleep(0)
        if recall() != user:
            mixed.append(f"{user} was served as {recall()}")

    await asyncio.gather(handle("ana", hops=0), handle("luis", hops=3))
    assert not mixed, f"users were mixed up: {', '.join(mixed)}"


async def buggy() -> None:
    def remember(user: str) -> None:
        global current_user
        current_user = user

    await serve(remember, lambda: current_user)


async def fixed() -> None:
    await serve(user_of_request.set, user_of_request.get)
