"""base_conversion (through decimal: multiply and add, then divide digit by digit) and count_bits (halving). One path."""

from __future__ import annotations

from journeyman.tasks.entries import Entry
from journeyman.tasks.solvers.columns import divide
from journeyman.tasks.solvers.steps import Written, one_path

_DIGITS = "0123456789abcdefghijklmnopqrstuvwxyz"


def _base_conversion(entry: Entry) -> Written:
    m = entry["metadata"]
    source, target, shown = m["source_base"], m["target_base"], m["source_repr"]
    lines, value = [], 0
    if source != 10:
        lines.append(" ".join(str(_DIGITS.index(d)) for d in shown))
        value = _DIGITS.index(shown[0])
        for d in shown[1:]:
            following = value * source + _DIGITS.index(d)
            lines.append(f"{value}*{source}={value * source} {value * source}+{_DIGITS.index(d)}={following}")
            value = following
    else:
        value = int(shown)
    if target == 10:
        return lines, str(value)
    out = ""
    while value or not out:
        d = _DIGITS[value % target]
        work = divide(value, target) if value >= target else "=0"
        lines.append(f"{value}/{target}: {work} r{value % target}" + (f" {d}" if value % target > 9 else ""))
        value, out = value // target, d + out
    return lines, out


def _count_bits(entry: Entry) -> Written:
    """Lines of number, its last bit, ones so far; the next number is half of it."""
    n, count, lines = entry["metadata"]["number"], 0, []
    while n:
        count += n % 2
        lines.append(f"{n} {n % 2} {count}")
        n //= 2
    return lines, str(count)


base_conversion = one_path(_base_conversion)
count_bits = one_path(_count_bits)
