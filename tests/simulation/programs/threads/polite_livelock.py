"""Two nodes hand the leadership to each other as long as the other one wants it, and nobody leads: polite back-off."""

from __future__ import annotations

import threading
import time

KIND = "livelock"
MAX_STEPS = 5_000


class Node:
    def __init__(self, rank: int) -> None:
        self.rank, self.wants = rank, False


def lead_in_turn(stubborn: bool) -> None:
    nodes = [Node(1), Node(2)]
    owner = {"lease": nodes[0]}
    led: list[int] = []

    def campaign(me: Node, other: Node) -> None:
        me.wants = True
        while me.wants:
            if owner["lease"] is not me:
                time.sleep(0.001)
            elif other.wants and not (stubborn and me.rank > other.rank):
                owner["lease"] = other
            else:
                led.append(me.rank)
                me.wants = False
                owner["lease"] = other

    threads = [threading.Thread(target=campaign, args=pair) for pair in (nodes, nodes[::-1])]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(led) == [1, 2], f"nodes 1 and 2 wanted to lead and {led} did"


def buggy() -> None:
    lead_in_turn(stubborn=False)


def fixed() -> None:
    lead_in_turn(stubborn=True)
