"""Compare-and-swap sees the same head after a pop and a push, and hands a block out twice: lock-free free lists."""

from __future__ import annotations

import threading

KIND = "invariant"


class Block:
    def __init__(self, name: str, below: Block | None) -> None:
        self.name, self.below = name, below


class FreeList:
    """A stack whose head moves by compare-and-swap; `tag` makes a new stamp for every move."""

    def __init__(self, tag: type) -> None:
        self.tag, self.cas = tag, threading.Lock()
        self.head: tuple[Block | None, object] = (Block("a", Block("b", Block("c", None))), tag())

    def swing(self, seen: tuple[Block | None, object], block: Block | None) -> bool:
        with self.cas:
            if self.head != seen:
                return False
            self.head = (block, self.tag())
            return True

    def pop(self) -> Block | None:
        while True:
            seen = self.head
            block = seen[0]
            if block is None or self.swing(seen, block.below):
                return block

    def push(self, block: Block) -> None:
        while True:
            seen = self.head
            block.below = seen[0]
            if self.swing(seen, block):
                return


def allocate(free: FreeList) -> None:
    held: list[str] = []

    def churn() -> None:
        first, second = free.pop(), free.pop()
        assert first and second, "the free list ran out of blocks"
        free.push(first)
        held.append(second.name)

    churner = threading.Thread(target=churn, name="churn")
    churner.start()
    mine = free.pop()
    churner.join()
    while mine is not None:
        held.append(mine.name)
        mine = free.pop()
    assert sorted(held) == ["a", "b", "c"], f"blocks a, b, c were handed out as {' '.join(sorted(held))}"


def buggy() -> None:
    allocate(FreeList(tag=type(None)))


def fixed() -> None:
    allocate(FreeList(tag=object))
