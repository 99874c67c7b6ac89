"""Reading tool calls from a text, and how near they come to those that were wanted."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

import msgspec

TAGS = ("think", "tool_call", "response")


class Call(msgspec.Struct, frozen=True):
    """One call: ``{"name": "weather", "parameters": {"city": "Oslo"}}``."""

    name: str
    parameters: dict[str, Any]


class Wanted(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The answer of a task: the calls to make, and whether a response in words is to be given."""

    calls: list[Call] = []
    response: bool = False


_decoder = msgspec.json.Decoder(Call)


def laid_out(text: str, wanted: Wanted) -> bool:
    """Whether a text is thoughts, then calls and a response where they are wanted, each between its tags, on lines of their own,
    and no tag is there twice or without need."""
    layout = {"think": ".*", "tool_call": "\n.*\n" if wanted.calls else None, "response": ".*" if wanted.response else None}
    once = all(
        text.count(tag) == (layout[name] is not None) for name in TAGS for tag in (f"<{name}>", f"</{name}>")
    )  # so that the pattern matches in one way at most
    pattern = "\n".join(f"<{name}>{inside}</{name}>" for name, inside in layout.items() if inside is not None)
    return once and re.fullmatch(pattern, text.strip(), re.DOTALL) is not None


def read_calls(text: str) -> list[Call] | None:
    """The calls in the one <tool_call> block of a text, a JSON object a line; None where there is not exactly one block, or a line
    of it is no call."""
    before, opening, rest = text.partition("<tool_call>")
    inside, closing, after = rest.partition("</tool_call>")
    if not opening or not closing or any(tag in before + inside + after for tag in ("<tool_call>", "</tool_call>")):
        return None
    try:
        return [_decoder.decode(line) for line in inside.splitlines() if line.strip()] or None
    except (msgspec.DecodeError, UnicodeEncodeError, RecursionError):  # no JSON, no call, a lone surrogate, or nested too deep
        return None


def match(wanted: Sequence[Call], found: Sequence[Call]) -> float:
    """S / S_max in [0, 1]: S = overlap of the tools' names + sum over wanted calls of the worth of the best call of that name that
    is not taken yet, S_max = 1 + sum over wanted calls of (1 + number of parameters)."""
    score, left = overlap([c.name for c in wanted], [c.name for c in found]), list(found)
    for call in wanted:
        worths = [worth(call, x) if x.name == call.name else 0.0 for x in left]
        best = max(worths, default=0.0)
        score += best
        if best > 0:
            del left[worths.index(best)]
    return score / (1 + sum(1 + len(c.parameters) for c in wanted))


def worth(wanted: Call, found: Call) -> float:
    """Overlap of the parameters' names + number of parameters whose values are the same."""
    same = sum(k in found.parameters and alike(v, found.parameters[k]) for k, v in wanted.parameters.items())
    return overlap(wanted.parameters, found.parameters) + same


def overlap(a: Iterable[str], b: Iterable[str]) -> float:
    """Intersection over union of two collections, repeats counted; 1 where both are empty."""
    one, other = Counter(list(a)), Counter(list(b))  # of a mapping its names, not its values as counts
    return (one & other).total() / (one | other).total() if one or other else 1.0


def alike(a: Any, b: Any) -> bool:
    """Whether two JSON values are the same: 1 is 1.0, but true is not 1."""
    if isinstance(a, bool) or isinstance(b, bool):
        return a is b
    if isinstance(a, dict) and isinstance(b, dict):
        return a.keys() == b.keys() and all(alike(a[k], b[k]) for k in a)
    if isinstance(a, list) and isinstance(b, list):
        return len(a) == len(b) and all(map(alike, a, b))
    return a == b
