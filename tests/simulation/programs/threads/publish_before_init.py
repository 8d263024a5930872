"""A routing table says that it is loaded before its routes are there, and an early reader finds none: reloads."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

KIND = "exception"


class PublishesFirst:
    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.loaded = False
        self.routes: dict[str, str] = {}

    def load(self) -> None:
        self.loaded = True
        self.routes = {"shop": "10.0.0.7"}

    def lookup(self, host: str) -> str:
        if not self.loaded:
            with self.lock:
                if not self.loaded:
                    self.load()
        return self.routes[host]


class PublishesLast(PublishesFirst):
    def load(self) -> None:
        self.routes = {"shop": "10.0.0.7"}
        self.loaded = True


def route(table: PublishesFirst) -> None:
    with ThreadPoolExecutor(max_workers=2) as pool:
        addresses = list(pool.map(table.lookup, ["shop", "shop"]))
    assert addresses == ["10.0.0.7"] * 2, f"requests were routed to {addresses}"


def buggy() -> None:
    route(PublishesFirst())


def fixed() -> None:
    route(PublishesLast())
