"""A check's grade id is its class name in words, one-letter words and abbreviations included."""

from __future__ import annotations

import pytest

from graders.kit import Check


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("WindowForgets", "window-forgets"),
        ("RetryAfterIsAFloor", "retry-after-is-a-floor"),
        ("ACallWaits", "a-call-waits"),
        ("HTTPErrorsPass", "http-errors-pass"),
        ("P99IsLow", "p99-is-low"),
    ],
)
def test_a_class_name_is_split_into_its_words(name: str, expected: str) -> None:
    check = type(name, (Check,), {})()
    assert check.id == expected
    assert check.attribute == expected.replace("-", "_")
