"""Two saves start one after the other with equal delays and are trusted to land in that order: debounced autosaves."""

from __future__ import annotations

import asyncio

KIND = "invariant"


async def autosave(numbered: bool) -> None:
    saved = {"version": 0}

    async def save(version: int) -> None:
        await asyncio.sleep(0.01)
        if not numbered or version > saved["version"]:
            saved["version"] = version

    await asyncio.gather(save(1), save(2))
    assert saved["version"] == 2, f"version 2 was the last edit and version {saved['version']} is kept"


async def buggy() -> None:
    await autosave(numbered=False)


async def fixed() -> None:
    await autosave(numbered=True)
