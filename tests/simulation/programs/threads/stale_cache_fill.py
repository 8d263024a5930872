"""A reader caches a row that it read before an update invalidated it, and it is served for ever: cache-aside."""

from __future__ import annotations

import threading

KIND = "invariant"


class CacheAside:
    def __init__(self) -> None:
        self.row, self.version = "old price", 0
        self.cache: dict[str, str] = {}
        self.lock = threading.Lock()

    def read(self) -> None:
        if "price" not in self.cache:
            row = self.row
            self.cache["price"] = row

    def update(self) -> None:
        self.row = "new price"
        with self.lock:
            self.version += 1
            self.cache.pop("price", None)


class VersionedCache(CacheAside):
    def read(self) -> None:
        with self.lock:
            version = self.version
        row = self.row
        with self.lock:
            if version == self.version:
                self.cache["price"] = row


def update_while_reading(shop: CacheAside) -> None:
    reader = threading.Thread(target=shop.read, name="reader")
    reader.start()
    shop.update()
    reader.join()
    cached = shop.cache.get("price", "new price")
    assert cached == "new price", f"after the update was done the cache still serves the {cached}"


def buggy() -> None:
    update_while_reading(CacheAside())


def fixed() -> None:
    update_while_reading(VersionedCache())
