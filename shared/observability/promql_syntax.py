"""PromQL text turned into a small typed tree; what Prometheus 2.42 would refuse, or the evaluator lacks, never gets in.

Invariant: `parse` returns a tree whose types fit, of bounded size and depth, or raises QueryError with one sentence.
The grammar is promql-parser's; this module adds the limits and takes away what only newer versions understand.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import promql_parser
import re2  # type: ignore[import-untyped]

__all__ = [
    "Aggregate", "At", "Binary", "Call", "Expression", "Matcher", "Matching", "Negate", "Number", "QueryError", "Range",
    "Selector", "Subquery", "Text", "children", "compile_regex", "kind", "parse",
]  # fmt: skip

MAX_LENGTH = 4000  # characters of one expression
MAX_TOKENS = 600
MAX_NESTING = 40
MAX_RANGE = 100 * 365 * 86_400_000  # ms: beyond it, Prometheus' own int64 nanoseconds overflow sooner or later

COMPARISONS = frozenset({"==", "!=", ">", "<", ">=", "<="})
SET_OPERATORS = frozenset({"and", "or", "unless"})
LABEL_NAME = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*\Z")


class QueryError(ValueError):
    """The expression is refused, or cannot be evaluated; the message is one sentence for its author."""


@dataclass(frozen=True, slots=True)
class At:
    """The @ modifier: a fixed instant (`moment`, unix ms) or the "start" or "end" of the query."""

    kind: str
    moment: int = 0


@dataclass(frozen=True, slots=True)
class Number:
    value: float


@dataclass(frozen=True, slots=True)
class Text:
    value: str


@dataclass(frozen=True, slots=True)
class Matcher:
    """`op` is one of = != =~ !~; a regular expression must match the whole value."""

    label: str
    op: str
    value: str


@dataclass(frozen=True, slots=True)
class Selector:
    """An instant selector. `offset` in ms; the metric's name is a matcher of `__name__`."""

    matchers: tuple[Matcher, ...]
    offset: int = 0
    at: At | None = None


@dataclass(frozen=True, slots=True)
class Range:
    """A range selector; `length` in ms."""

    selector: Selector
    length: int


@dataclass(frozen=True, slots=True)
class Subquery:
    """`expr[length:step]`, in ms; a step of None is the server's evaluation interval."""

    expr: Expression
    length: int
    step: int | None
    offset: int = 0
    at: At | None = None


@dataclass(frozen=True, slots=True)
class Call:
    name: str
    args: tuple[Expression, ...]


@dataclass(frozen=True, slots=True)
class Aggregate:
    """`labels` are those kept ("by"), or those dropped when `without`."""

    op: str
    expr: Expression
    param: Expression | None
    labels: tuple[str, ...]
    without: bool


@dataclass(frozen=True, slots=True)
class Matching:
    """How vectors meet. `many` says which side may have several: None, "left", "right" or "both" (set operators)."""

    on: bool
    labels: tuple[str, ...]
    many: str | None
    include: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Binary:
    op: str
    left: Expression
    right: Expression
    returns_bool: bool
    matching: Matching


@dataclass(frozen=True, slots=True)
class Negate:
    expr: Expression


Expression = Number | Text | Selector | Range | Subquery | Call | Aggregate | Binary | Negate


@functools.lru_cache(maxsize=512)
def parse(expr: str) -> Expression:
    """The tree of `expr`. Raises QueryError with one sentence. Thread-safe: trees are immutable and shared."""
    if not isinstance(expr, str):
        raise QueryError(f"An expression is text, not {type(expr).__name__}.")
    text = _checked(expr)
    try:
        parsed = promql_parser.parse(text)
    except ValueError as error:
        raise QueryError(f"This is not PromQL: {_one_line(str(error))} (in {_shown(expr)}).") from None
    except Exception as error:  # the parser is native code: whatever it raises is a refusal of this text
        raise QueryError(f"This is not PromQL: {_one_line(str(error))} (in {_shown(expr)}).") from None
    return _convert(parsed)


def children(node: Expression) -> Iterator[Expression]:
    """The direct subexpressions of `node`."""
    match node:
        case Range(selector, _):
            yield selector
        case Subquery(expr=inner) | Negate(inner):
            yield inner
        case Call(_, args):
            yield from args
        case Aggregate(expr=inner, param=param):
            if param is not None:
                yield param
            yield inner
        case Binary(left=left, right=right):
            yield left
            yield right


def kind(node: Expression) -> str:
    """The type of what `node` evaluates to: "scalar", "string", "vector" or "matrix"."""
    match node:
        case Number():
            return "scalar"
        case Text():
            return "string"
        case Range() | Subquery():
            return "matrix"
        case Call(name, _):
            return "scalar" if name in ("time", "scalar", "pi") else "vector"
        case Negate(inner):
            return kind(inner)
        case Binary(left=left, right=right):
            return "scalar" if kind(left) == kind(right) == "scalar" else "vector"
    return "vector"


@functools.lru_cache(maxsize=512)
def compile_regex(pattern: str) -> Any:
    """The RE2 program that matches whole values as Prometheus does, in time linear in the value's length."""
    options = re2.Options()
    options.log_errors = False
    try:
        return re2.compile(f"^(?:{pattern})$", options)
    except re2.error:
        raise QueryError(f"The regular expression {_shown(pattern)} is not valid RE2 syntax.") from None


# ---- before the parser ---------------------------------------------------------------------------------------------

_TOKEN = re.compile(
    r"""(?P<space>\s+|\#[^\n]*)
      | (?P<string>"(?:[^"\\\n]|\\.)*"|'(?:[^'\\\n]|\\.)*')
      | (?P<raw>`[^`]*`)
      | (?P<number>0[xX][0-9a-fA-F]+(?![0-9a-zA-Z_])|(?:\d+(?:ms|[smhdwy]))+(?![0-9a-zA-Z_.])
                  |(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?(?![0-9a-zA-Z_.]))
      | (?P<word>[a-zA-Z_:][a-zA-Z0-9_:]*)
      | (?P<open>[(\[{])
      | (?P<close>[)\]}])
      | (?P<other>=~|!~|==|!=|<=|>=|.)""",
    re.VERBOSE | re.DOTALL,
)
_BEFORE_NAMES = frozenset({"by", "without", "on", "ignoring", "group_left", "group_right"})
_DURATION = re.compile(r"(?:\d+(?:ms|[smhdwy]))+\Z")


def _checked(expr: str) -> str:
    """`expr` with raw strings rewritten for the parser. Refuses what is too long, too deep, or newer than 2.42."""
    if len(expr) > MAX_LENGTH:
        raise QueryError(f"An expression has at most {MAX_LENGTH} characters, this one has {len(expr)}.")
    if any(ord(char) < 32 and char not in "\t\n\r" for char in expr):
        raise QueryError("The expression contains a control character.")
    depth = count = signs = 0
    brackets: list[str] = []
    openers: list[str] = []  # the word before each open bracket
    before = earlier = ""
    pieces: list[str] = []
    for found in _TOKEN.finditer(expr):
        group, text = found.lastgroup or "", found.group()
        if group == "space":
            pieces.append(" ")
            continue
        count += 1
        pieces.append(_requoted(text) if group == "raw" else text)
        if group == "open":
            brackets.append(text)
            openers.append(before)
            depth = max(depth, len(brackets))
        elif group == "close" and brackets:
            brackets.pop()
            openers.pop()
        signs = signs + 1 if text in "+-" else 0
        within = brackets[-1] if brackets else ""
        names = within == "{" or (within == "(" and openers[-1].lower() in _BEFORE_NAMES)
        if count > MAX_TOKENS or depth > MAX_NESTING or signs > MAX_NESTING:
            raise QueryError(
                f"The expression is too large: at most {MAX_TOKENS} tokens nested {MAX_NESTING} deep are evaluated."
            )
        offset = before == "offset" or (before in ("-", "+") and earlier == "offset")
        _refuse_newer(group, text, within, offset)
        if names and group in ("string", "raw") and before in ("{", "(", ","):
            raise QueryError(
                f"The quoted name {text} is refused: Prometheus 2 knows only plain label and metric names."
            )
        before, earlier = text, before
    return "".join(pieces)


def _refuse_newer(group: str, text: str, within: str, offset: bool) -> None:
    """Prometheus 3 reads numbers as durations and durations as numbers; 2.42 does not."""
    if group == "word" and within == "[" and text.startswith(":"):  # the colon of a subquery is lexed with its step
        group, text = ("number" if text[1:2].isdigit() else "word"), text[1:]
    duration = group == "number" and _DURATION.match(text) is not None
    if group == "number" and not duration and (offset or within == "["):
        raise QueryError(f"A duration needs a unit, such as {text}s instead of {text}.")
    if duration and not offset and within != "[":
        raise QueryError(f"The duration {text} stands where a number is expected.")


def _requoted(raw: str) -> str:
    """A raw string as the double-quoted string of the same value."""
    escaped = raw[1:-1].replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n").replace("\r", "\\r")
    return f'"{escaped}"'


def _shown(text: str) -> str:
    return repr(text if len(text) <= 80 else f"{text[:77]}...")


def _one_line(text: str) -> str:
    return " ".join(text.split()).rstrip(".")


# ---- after the parser ----------------------------------------------------------------------------------------------


def _convert(node: Any, depth: int = 0) -> Expression:
    if depth > MAX_NESTING * 4:
        raise QueryError("The expression is nested too deeply.")
    below = depth + 1
    match type(node).__name__:
        case "NumberLiteral":
            return Number(node.val)
        case "StringLiteral":
            return Text(node.val)
        case "ParenExpr":
            return _convert(node.expr, below)
        case "UnaryExpr":
            return Negate(_convert(node.expr, below))
        case "VectorSelector":
            return _selector(node)
        case "MatrixSelector":
            return Range(_selector(node.vector_selector), _duration(node.range))
        case "SubqueryExpr":
            step = None if node.step is None else _duration(node.step)
            inner = _convert(node.expr, below)
            if kind(inner) != "vector":
                raise QueryError(f"A subquery needs an instant vector, not a {kind(inner)}.")
            return Subquery(inner, _duration(node.range), step, _offset(node.offset), _at(node.at))
        case "Call":
            return Call(node.func.name, tuple(_convert(arg, below) for arg in node.args))
        case "AggregateExpr":
            return _aggregate(node, below)
        case "BinaryExpr":
            return _binary(node, below)
    raise QueryError(f"The evaluator does not support {type(node).__name__}.")


def _selector(node: Any) -> Selector:
    if node.matchers.or_matchers:
        raise QueryError("Matchers joined by 'or' inside braces are not part of Prometheus 2.")
    matchers = [] if node.name is None else [Matcher("__name__", "=", node.name)]
    for one in node.matchers.matchers:
        op = {"Equal": "=", "NotEqual": "!=", "Re": "=~", "NotRe": "!~"}[str(one.op).rpartition(".")[2]]
        if op in ("=~", "!~"):
            compile_regex(one.value)
        matchers.append(Matcher(one.name, op, one.value))
    return Selector(tuple(matchers), _offset(node.offset), _at(node.at))


def _aggregate(node: Any, depth: int) -> Aggregate:
    labels: tuple[str, ...] = ()
    without = False
    if node.modifier is not None:
        labels, without = tuple(node.modifier.labels), str(node.modifier.type).endswith("Without")
    param = None if node.param is None else _convert(node.param, depth)
    op = str(node.op)
    if op == "count_values" and isinstance(param, Text) and not LABEL_NAME.match(param.value):
        raise QueryError(f"count_values names its label {_shown(param.value)}, which is no label name.")
    return Aggregate(op, _convert(node.expr, depth), param, labels, without)


def _binary(node: Any, depth: int) -> Binary:
    on, labels, many, include, returns_bool = False, (), None, (), False
    if (modifier := node.modifier) is not None:
        if modifier.fill_values is not None and (
            modifier.fill_values.lhs is not None or modifier.fill_values.rhs is not None
        ):
            raise QueryError("The modifier fill() is not part of Prometheus 2.")
        returns_bool = modifier.return_bool
        if modifier.matching is not None:
            on, labels = str(modifier.matching.type).endswith("Include"), tuple(modifier.matching.labels)
        card = str(modifier.card).rpartition(".")[2]
        many = {"OneToOne": None, "ManyToOne": "left", "OneToMany": "right", "ManyToMany": "both"}[card]
        include = tuple(modifier.group_labels or ())
    op = str(node.op)
    if op in SET_OPERATORS:
        many = "both"
    if on and set(include) & set(labels):
        raise QueryError(
            f"The label {min(set(include) & set(labels))!r} is named both in on() and in group_left or group_right."
        )
    return Binary(
        op, _convert(node.lhs, depth), _convert(node.rhs, depth), returns_bool, Matching(on, labels, many, include)
    )


def _duration(delta: timedelta) -> int:
    length = delta // timedelta(milliseconds=1)
    if not 0 < length <= MAX_RANGE:
        raise QueryError("A duration lies between 1ms and 100y.")
    return length


def _offset(delta: timedelta | None) -> int:
    length = 0 if delta is None else delta // timedelta(milliseconds=1)
    if abs(length) > MAX_RANGE:
        raise QueryError("An offset is at most 100y.")
    return length


def _at(modifier: Any) -> At | None:
    if modifier is None:
        return None
    which = str(modifier.type).rpartition(".")[2]
    if which != "At":
        return At(which.lower())
    return At("at", (modifier.at - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(milliseconds=1))
