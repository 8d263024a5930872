"""A coroutine tests `if` instead of `while` around Condition.wait and pops what another one took: async mailboxes."""

from __future__ import annotations

import asyncio

KIND = "exception"


async def share(waits_again: bool) -> None:
    items, changed, taken = [], asyncio.Condition(), []

    async def put(item: str) -> None:
        async with changed:
            items.append(item)
            changed.notify_all()

    async def get() -> None:
        async with changed:
            if waits_again:
                await changed.wait_for(lambda: items)
            elif not items:
                await changed.wait()
            taken.append(items.pop())

    await asyncio.gather(get(), get(), put("first"), put("second"))
    assert sorted(taken) == ["first", "second"], f"two items were put and {taken} were taken"


async def buggy() -> None:
    await share(waits_again=False)


async def fixed() -> None:
    await share(waits_again=True)
