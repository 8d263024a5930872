"""What is pointed out to a person in the text of an answer, and what is not."""

from __future__ import annotations

import pytest

from graders.engine.scan import suspicious


@pytest.mark.parametrize(
    "text",
    [
        "import graders.kit",
        "from graders.engine import runner",
        "from gc import get_objects",
        "import ctypes as c",
        "import sys\nsys._getframe(1)",
        "from sys import _getframe",
        "import inspect\ninspect.currentframe().f_back.f_locals['world']",
        "import sys\nsys.modules['json'] = None",
        "import sys\ndel sys.modules['json']",
        "import sys\nsys.settrace(print)",
        "import threading\nthreading.setprofile(print)",
        "import sys\nsys.meta_path.insert(0, object())",
        "import json\njson.dumps = lambda *a: '{}'",
        "import time, threading\ntime.sleep, threading.Lock = None, None",
        "import threading as t\nsetattr(t, 'Thread', object)",
        "from shared import simulation\nsimulation.run = None",
        "import builtins",
        "().__class__.__base__.__subclasses__()",
        "exec('x')",
        "__import__('gc')",
        "import os\nos._exit(0)",
        "def f(world=[]):\n    def g():\n        import hypothesis\n    return g",
    ],
)
def test_reaching_for_the_machinery_is_found(text: str) -> None:
    assert suspicious(text)


@pytest.mark.parametrize(
    "text",
    [
        "import time, threading, collections\nfrom dataclasses import dataclass, field",
        "from shared.resilience.contracts import BreakerConfig, State",
        "from shared.simulation import explore",
        "class A:\n    def __init__(self):\n        self.modules = {}\n        self.modules['a'] = self.__dict__",
        "import logging\nlog = logging.getLogger(__name__)\nlog.propagate = False",
        "config = object()\nsetattr(config, 'x', 1)",
        "import sys\nprint('x', file=sys.stderr)",
        "def exec_query(eval_now):\n    return eval_now",
        "class Breaker:\n    def call(self):\n        self._exit(1)",
        "x = (",
        "x = '\0'",
        "'graders gc ctypes sys._getframe()'",
    ],
)
def test_ordinary_code_is_not(text: str) -> None:
    assert suspicious(text) == []


def test_a_finding_names_its_line_once() -> None:
    assert suspicious("x = 1\nimport gc; import gc") == ["line 2 reaches for objects of other code through gc"]


def test_very_many_findings_are_cut() -> None:
    findings = suspicious("import gc\n" * 1000)
    assert len(findings) < 50
    assert findings[-1] == f"and {1000 - len(findings) + 1} more places"


def test_text_that_is_nested_too_deeply_is_no_obstacle() -> None:
    assert isinstance(suspicious("x = " + "-" * 50_000 + "1"), list)
    assert isinstance(suspicious("x = " + "1 + " * 50_000 + "1"), list)
