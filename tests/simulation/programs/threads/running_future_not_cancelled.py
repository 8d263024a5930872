"""The loser of a hedge is cancelled, but a running Future cannot be, so the card is charged twice: hedged writes."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import FIRST_COMPLETED, ThreadPoolExecutor, wait

KIND = "invariant"


def pay(charge: Callable[[str], None], ledger: list[str]) -> None:
    with ThreadPoolExecutor(max_workers=2) as pool:
        attempts = [pool.submit(charge, f"attempt {n}") for n in range(2)]
        _, late = wait(attempts, return_when=FIRST_COMPLETED)
        for attempt in late:
            attempt.cancel()
    assert len(ledger) == 1, f"one payment was charged {len(ledger)} times"


def buggy() -> None:
    ledger: list[str] = []
    pay(ledger.append, ledger)


def fixed() -> None:
    ledger: list[str] = []
    by_key: dict[str, str] = {}

    def charge(attempt: str) -> None:
        if by_key.setdefault("payment-1", attempt) == attempt:
            ledger.append(attempt)

    pay(charge, ledger)
