"""Two replicas settle one Future, each an await after its look at done(), and the slower raises: hedged reads."""

from __future__ import annotations

import asyncio

KIND = "exception"


async def hedge(looks_last: bool) -> None:
    answer: asyncio.Future[str] = asyncio.get_running_loop().create_future()

    async def replica(name: str, hops: int) -> None:
        for _ in range(hops):
            await asyncio.sleep(0)
        if answer.done():
            return
        await asyncio.sleep(0)
        if not (looks_last and answer.done()):
            answer.set_result(name)

    await asyncio.gather(replica("replica-1", hops=0), replica("replica-2", hops=2))
    assert answer.result().startswith("replica-"), "the answer came from no replica"


async def buggy() -> None:
    await hedge(looks_last=False)


async def fixed() -> None:
    await hedge(looks_last=True)
