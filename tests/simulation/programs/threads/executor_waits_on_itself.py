"""Tasks wait for tasks that they submitted to the same full pool, which has no worker left: nested fan-out."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

KIND = "deadlock"


def render(pages: ThreadPoolExecutor, images: ThreadPoolExecutor) -> None:
    def image(number: int) -> str:
        return f"image {number}"

    def page(number: int) -> str:
        return images.submit(image, number).result()

    rendered = [future.result() for future in [pages.submit(page, number) for number in range(2)]]
    assert rendered == ["image 0", "image 1"], f"the pages came out as {rendered}"


def buggy() -> None:
    with ThreadPoolExecutor(max_workers=2) as pool:
        render(pool, pool)


def fixed() -> None:
    with ThreadPoolExecutor(max_workers=2) as images, ThreadPoolExecutor(max_workers=2) as pages:
        render(pages, images)
