"""The tenant of a request is kept in a module global that the next request overwrites: request state in globals."""

from __future__ import annotations

import threading
from collections.abc import Callable

KIND = "invariant"
current_tenant = ""
context = threading.local()


def serve(remember: Callable[[str], None], recall: Callable[[], str]) -> None:
    rows: list[tuple[str, str]] = []

    def handle(tenant: str) -> None:
        remember(tenant)
        rows.append((tenant, recall()))

    threads = [threading.Thread(target=handle, args=(tenant,)) for tenant in ("acme", "zeta")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    strays = [f"{asked} got rows of {served}" for asked, served in rows if asked != served]
    assert not strays, f"tenants were mixed up: {', '.join(strays)}"


def buggy() -> None:
    def remember(tenant: str) -> None:
        global current_tenant
        current_tenant = tenant

    serve(remember, lambda: current_tenant)


def fixed() -> None:
    serve(lambda tenant: setattr(context, "tenant", tenant), lambda: context.tenant)
