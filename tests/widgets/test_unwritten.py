"""A part that is not written yet is told in one sentence, which keeps the author's own words."""

from __future__ import annotations

import pytest

from shared.widgets.unwritten import needs


@pytest.mark.parametrize(("raised", "told"), [((), "retry is not written yet. Fill"), (("soon",), "yet (soon). Fill")])
def test_one_sentence_says_what_is_missing_and_what_to_do(raised: tuple[str, ...], told: str) -> None:
    with pytest.raises(NotImplementedError) as caught, needs("retry"):
        raise NotImplementedError(*raised)
    (line,) = caught.value._render_traceback_()
    assert told in line and line.endswith("then run this cell again.")
    assert caught.value.__suppress_context__


def test_other_errors_pass_as_they_are() -> None:
    with pytest.raises(KeyError), needs("retry"):
        raise KeyError("key")
