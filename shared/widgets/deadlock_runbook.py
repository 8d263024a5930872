"""Advice on a runbook's structure, read from the saved notebook: no points, and no judgement of the prose.

Invariant: it only reads. What a person has to judge stays with the person.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from pathlib import Path

__all__ = ["advice_on", "runbook_advice"]

_CELL = "runbook"
_PLACEHOLDER = "YOUR ANSWER HERE"
_ASKED: Sequence[tuple[str, str]] = (
    (r"^\s*(\d+[.)]|[-*+]\s+\[ \]|[-*+]) ", "number the steps: at night nobody reads prose"),
    (r"```|`[^`]+`", "put exact commands in `code`, so that they can be copied"),
    (
        r"kill -(s )?(SIG)?USR1|py-spy|faulthandler|jstack|SIGQUIT",
        "say how the dump is taken: which command, which signal",
    ),
    (r"0 ?%|cpu|top\b|idle", "say by which symptom one knows that it hangs and is not slow (CPU, requests)"),
    (
        r"waiting to lock|wait-for|cycle|find_deadlock",
        "say what to look for in the dump, and what the cycle looks like",
    ),
    (r"\bif\b|otherwise|\belse\b|no cycle", "give a branch: what to do if there is no cycle"),
    (r"restart", "say when to restart, and that the dump comes first"),
    (r"save|keep|copy|attach|> ?\S+\.(txt|log)|\|\s*tee", "say where the evidence is kept"),
    (r"verif|confirm|check (that|whether)|back to normal|recover", "say how one sees that it is over"),
    (r"escalat|page|call|owner|on-call|team", "say who is told, and after how long"),
)


def runbook_advice(notebook: str | Path = "17.1.5-deadlock.ipynb") -> None:
    """Print what the runbook in the saved notebook still lacks. The notebook's folder is the current one."""
    path = Path(notebook)
    if not path.exists():
        print(f"{path.name} is not in {Path.cwd().name}: save the notebook, and run this cell beside it.")
        return
    text = _runbook_in(json.loads(path.read_text(encoding="utf-8")))
    missing = advice_on(text) if text and _PLACEHOLDER not in text else None
    if missing is None:
        print("There is no runbook yet: write it into the cell above, save the notebook, and run this cell again.")
    elif missing:
        print("Advice (no points depend on it):", *(f"  - {each}" for each in missing), sep="\n")
    else:
        print("All parts are there. Now give it to somebody who has never seen the shop.")


def advice_on(text: str) -> list[str]:
    """What a runbook seems to lack, in words, in the order in which it is needed."""
    return [words for pattern, words in _ASKED if not re.search(pattern, text, re.IGNORECASE | re.MULTILINE)]


def _runbook_in(notebook: dict) -> str:  # type: ignore[type-arg]
    for cell in notebook.get("cells", ()):
        if cell.get("metadata", {}).get("nbgrader", {}).get("grade_id") == _CELL:
            source = cell.get("source", "")
            return source if isinstance(source, str) else "".join(source)
    return ""
