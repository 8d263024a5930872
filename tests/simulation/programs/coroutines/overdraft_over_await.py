"""A balance is checked before an await and lowered after it, so two withdrawals both pass: wallets behind an API."""

from __future__ import annotations

import asyncio
from contextlib import nullcontext

KIND = "invariant"


async def withdraw_twice(guard: asyncio.Lock | nullcontext[None]) -> None:
    balance, paid = 100, []

    async def withdraw(amount: int) -> None:
        nonlocal balance
        async with guard:
            if balance >= amount:
                await asyncio.sleep(0)
                balance -= amount
                paid.append(amount)

    await asyncio.gather(withdraw(60), withdraw(60))
    assert sum(paid) <= 100, f"a wallet of 100 paid out {sum(paid)}"


async def buggy() -> None:
    await withdraw_twice(nullcontext())


async def fixed() -> None:
    await withdraw_twice(asyncio.Lock())
